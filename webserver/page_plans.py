"""Which plans are there, and how far is each? The list, and the page that shows one whole."""

import msgspec
from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import filters, link, own_form, see
from webserver.offered import may_cancel, resumable
from webserver.page_frame import framed
from wire.plans import ListPlans, PlanLine, PlanView, ResumePlan
from wire.requests import ById
from wire.views import Page

PLANS_ON_A_PAGE = 50
REFRESH_S = 2
GOES_ON = "RUNNING"


async def show_plans(request: web.Request, caller: Caller) -> web.StreamResponse:
    given = filters(request, "cursor")
    ask = ListPlans(caller.auth, PLANS_ON_A_PAGE, given.get("cursor"))
    page = await request.app[MASTER].call("get_plans", ask, Page)
    plans = msgspec.convert(page.items, list[PlanLine])
    more = page.next and link("/plans", {"cursor": page.next})
    return await framed(request, caller, "plans.html", plans=plans, more=more)


async def show_plan(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Refreshed by itself while the plan goes on."""
    ask = ById(caller.auth, identifier(request, "plan"))
    plan = await request.app[MASTER].call("get_plan", ask, PlanView)
    goes_on = plan.state == GOES_ON
    return await framed(
        request,
        caller,
        "plan.html",
        plan=plan,
        goes_on=goes_on,
        may_cancel=may_cancel(caller, plan),
        resume=resumable(caller, plan),
        refresh_s=REFRESH_S if goes_on else None,
    )


async def cancel_plan(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    plan = identifier(request, "plan")
    await request.app[MASTER].call("cancel_plan", ById(caller.auth, plan), PlanView)
    return see(f"/plans/{plan}")


async def resume_plan(request: web.Request, caller: Caller) -> web.StreamResponse:
    form, plan = await own_form(request), identifier(request, "plan")
    ask = ResumePlan(caller.auth, plan, form.word("hosts") or "failed")
    await request.app[MASTER].call("resume_plan", ask, PlanView)
    return see(f"/plans/{plan}")
