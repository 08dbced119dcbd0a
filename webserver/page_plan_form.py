"""How does a person submit a plan? Steps as fields, one more at a press of a button; or JSON."""

from aiohttp import web

from webserver.api_plans import submit
from webserver.api_tasks import idempotency_key
from webserver.context import MASTER, Caller
from webserver.forms import filters, own_form, see
from webserver.page_frame import framed
from webserver.plan_draft import (
    MAX_STEPS,
    NEEDS,
    PlanDraft,
    change,
    fresh_plan,
    plan_from,
    plan_of_form,
    spec_of,
)
from webserver.plan_secrets import hide_secrets
from wire.errors import Refusal, Unauthenticated
from wire.plans import PlanSpec
from wire.requests import ById


async def show_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Empty, or with `from` what another plan was."""
    given, draft = filters(request, "from"), fresh_plan()
    if "from" in given:
        ask = ById(caller.auth, given["from"])
        draft = plan_from(await request.app[MASTER].call("get_plan_spec", ask, PlanSpec))
    return await _page(request, caller, draft)


async def submit_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = await own_form(request)
    draft = plan_of_form(form)
    if change(draft, form.word("do")):
        return await _again(request, caller, draft)
    spec = spec_of(draft)
    if draft.is_wrong:
        return await _again(request, caller, draft, 422)
    try:
        added = await submit(request.app[MASTER], caller, spec, idempotency_key([draft.key]))
    except Unauthenticated:
        raise
    except Refusal as refusal:
        draft.blame(refusal.field, refusal.message)
        return await _again(request, caller, draft, refusal.status)
    return see(f"/plans/{added.id}")


async def _again(
    request: web.Request, caller: Caller, draft: PlanDraft, status: int = 200
) -> web.Response:
    """With what was typed."""
    await hide_secrets(request.app[MASTER], caller, draft)
    return await _page(request, caller, draft, status)


async def _page(
    request: web.Request, caller: Caller, draft: PlanDraft, status: int = 200
) -> web.Response:
    return await framed(
        request,
        caller,
        "plan_form.html",
        status=status,
        plan=draft,
        needs=NEEDS,
        most=MAX_STEPS,
    )
