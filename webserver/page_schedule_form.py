"""How does a person make or edit a schedule? A form that says when it will fire before it is
saved."""

from functools import cache
from zoneinfo import available_timezones

from aiohttp import web

from webserver.api_schedules import check_sizes
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.draft_saved import DraftSaved, shown_saved
from webserver.forms import filters, own_form, see
from webserver.page_draft import draft_from
from webserver.page_frame import framed
from webserver.plan_draft import MAX_STEPS, NEEDS, change
from webserver.plan_secrets import hide_secrets
from webserver.rendering import render
from webserver.schedule_draft import (
    KINDS,
    MISFIRES,
    OVERLAPS,
    ScheduleDraft,
    fresh_schedule,
    fresh_schedule_of_plan,
    patch_of,
    schedule_from,
    schedule_of_form,
    spec_of,
    timing_of,
)
from webserver.words import BETWEEN_WAVES
from wire.errors import Forbidden, Refusal, Unauthenticated
from wire.plans import PlanSpec
from wire.requests import ById, GetTaskTargets
from wire.schedules import (
    AddSchedule,
    ChangeSchedule,
    PreviewSchedule,
    PreviewView,
    ScheduleView,
)
from wire.views import TargetsView, TaskView

SHOWN = 10  # instants of the preview


async def show_new(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Empty, with a `saved` script at a `version`, or with `from` what a task was; with `what` plan
    for a plan, and with `plan` for what one was."""
    given = filters(request, "from", "saved", "version", "what", "plan")
    if "plan" in given:
        ask = ById(caller.auth, given["plan"])
        spec = await request.app[MASTER].call("get_plan_spec", ask, PlanSpec)
        return await _form_page(request, caller, fresh_schedule_of_plan(spec), None)
    if given.get("what") == "plan":
        return await _form_page(request, caller, fresh_schedule_of_plan(), None)
    draft = fresh_schedule()
    draft.saved = DraftSaved(given.get("saved", ""), given.get("version", ""))
    if "from" in given:
        draft = await _draft_from(request, caller, given["from"])
    return await _form_page(request, caller, draft, None)


async def _draft_from(request: web.Request, caller: Caller, task_id: str) -> ScheduleDraft:
    master = request.app[MASTER]
    task = await master.call("get_task", ById(caller.auth, task_id), TaskView)
    draft = fresh_schedule(draft_from(task))
    if not draft.texts["targets"]:
        ask = GetTaskTargets(caller.auth, task_id, [])
        draft.ticked = (await master.call("get_task_targets", ask, TargetsView)).ids
    return draft


async def submit_new(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _submit(request, caller, None)


async def show_edit(request: web.Request, caller: Caller) -> web.StreamResponse:
    ask = ById(caller.auth, identifier(request, "schedule"))
    schedule = await request.app[MASTER].call("get_schedule", ask, ScheduleView)
    if not caller.may(schedule.may_steer):
        raise Forbidden("you are limited to other hosts than those of this schedule")
    return await _form_page(request, caller, schedule_from(schedule), schedule.id)


async def submit_edit(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _submit(request, caller, identifier(request, "schedule"))


async def preview_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    """When it would fire, as a piece of the page, for the module that asks while one types."""
    draft = schedule_of_form(await own_form(request))
    preview = await _preview(request, caller, draft)
    return render("schedule_preview.html", preview=preview, draft=draft)


async def _submit(request: web.Request, caller: Caller, id: str | None) -> web.StreamResponse:
    form = await own_form(request)
    draft = schedule_of_form(form)
    if draft.plan is not None and change(draft.plan, form.word("do")):
        return await _again(request, caller, draft, id)
    spec = spec_of(draft)
    if form.word("do") == "preview":
        return await _again(request, caller, draft, id)
    if draft.is_wrong:
        return await _again(request, caller, draft, id, 422)
    try:
        check_sizes(spec.task, spec.plan)
        saved = await _save(request, caller, draft, id)
    except (Unauthenticated, Forbidden):
        raise
    except Refusal as refusal:
        draft.blame(refusal.field, refusal.message)
        return await _again(request, caller, draft, id, refusal.status)
    return see(f"/schedules/{saved.id}")


async def _again(
    request: web.Request, caller: Caller, draft: ScheduleDraft, id: str | None, status: int = 200
) -> web.Response:
    """With what was typed."""
    if draft.plan is not None:
        await hide_secrets(request.app[MASTER], caller, draft.plan)
    return await _form_page(request, caller, draft, id, status)


async def _save(
    request: web.Request, caller: Caller, draft: ScheduleDraft, id: str | None
) -> ScheduleView:
    master = request.app[MASTER]
    if id is None:
        ask = AddSchedule(caller.auth, spec_of(draft))
        return await master.call("add_schedule", ask, ScheduleView)
    change = ChangeSchedule(caller.auth, id, patch_of(draft))
    return await master.call("change_schedule", change, ScheduleView)


async def _form_page(
    request: web.Request,
    caller: Caller,
    draft: ScheduleDraft,
    id: str | None,
    status: int = 200,
) -> web.Response:
    preview = await _preview(request, caller, draft)
    return await framed(
        request,
        caller,
        "schedule_form.html",
        status=status,
        draft=draft,
        plan=draft.plan,
        needs=NEEDS,
        most=MAX_STEPS,
        saved=await shown_saved(request.app[MASTER], caller, draft.saved),
        schedule=id,
        preview=preview,
        kinds=KINDS,
        overlaps=OVERLAPS,
        misfires=MISFIRES,
        between_waves=BETWEEN_WAVES,
        zones=_zones(),
    )


async def _preview(
    request: web.Request, caller: Caller, draft: ScheduleDraft
) -> PreviewView | str | None:
    """The next firings; or what is wrong with the timing; None: nothing was said of it yet."""
    read = ScheduleDraft(dict(draft.texts))
    timing = timing_of(read)
    if read.errors:
        name, sentence = next(iter(read.errors.items()))
        return f"{name}: {sentence}"
    if not (timing.at or timing.every or timing.cron):
        return None
    ask = PreviewSchedule(caller.auth, timing, SHOWN)
    try:
        return await request.app[MASTER].call("preview_schedule", ask, PreviewView)
    except (Unauthenticated, Forbidden):
        raise
    except Refusal as refusal:
        return refusal.message


@cache
def _zones() -> list[str]:
    """What a browser may offer; the master says what it knows."""
    return sorted(name for name in available_timezones() if "/" in name or name == "UTC")
