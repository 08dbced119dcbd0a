"""What does one schedule do, what did it do, and what will it? With the buttons that steer it."""

import uuid
from typing import Any

from aiohttp import web

from webserver.api_tasks import idempotency_key
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import filters, link, own_form, see
from webserver.page_frame import framed
from webserver.page_schedules import firings_of
from webserver.schedule_draft import MISFIRES, OVERLAPS, schedule_from
from webserver.words import settings_in_words
from wire.errors import InvalidValue
from wire.requests import ById
from wire.schedules import PreviewSchedule, PreviewView, Run, RunSchedule, ScheduleView

SHOWN = 10


async def show_schedule(request: web.Request, caller: Caller) -> web.StreamResponse:
    given = filters(request, "cursor")
    id, master = identifier(request, "schedule"), request.app[MASTER]
    schedule = await master.call("get_schedule", ById(caller.auth, id), ScheduleView)
    firings, following = await firings_of(request, caller.auth, id, None, given.get("cursor"))
    return await framed(
        request,
        caller,
        "schedule.html",
        schedule=schedule,
        script=schedule_from(schedule).texts["script"],
        settings=settings_in_words(schedule.task or {}),
        in_words=settings_in_words,
        overlap=OVERLAPS.get(schedule.overlap, schedule.overlap),
        misfire=MISFIRES.get(schedule.misfire, schedule.misfire),
        preview=await _preview(request, caller, schedule),
        firings=firings,
        run_key=uuid.uuid4().hex,
        more=following and link(f"/schedules/{id}", {"cursor": following}),
    )


async def _preview(
    request: web.Request, caller: Caller, schedule: ScheduleView
) -> PreviewView | None:
    """None: it is not due again."""
    if schedule.state != "active":
        return None
    ask = PreviewSchedule(caller.auth, schedule.when, SHOWN)
    try:
        return await request.app[MASTER].call("preview_schedule", ask, PreviewView)
    except InvalidValue:
        return None  # its last instant has come just now


async def run_now(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = await own_form(request)
    key = idempotency_key([form.word("key")] if form.word("key") else [])
    ask = RunSchedule(caller.auth, identifier(request, "schedule"), key)
    run = await request.app[MASTER].call("run_schedule", ask, Run)
    return see(f"/{run.kind}s/{run.id}")


async def pause(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _steer(request, caller, "pause_schedule")


async def resume(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _steer(request, caller, "resume_schedule")


async def _steer(request: web.Request, caller: Caller, method: str) -> web.StreamResponse:
    await own_form(request)
    id = identifier(request, "schedule")
    await request.app[MASTER].call(method, ById(caller.auth, id), ScheduleView)
    return see(f"/schedules/{id}")


async def remove(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "schedule"))
    await request.app[MASTER].call("remove_schedule", ask, dict[str, Any])
    return see("/schedules")
