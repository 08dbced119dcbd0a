"""What does the API say and take about schedules and their firings?"""

from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta, Struct, UnsetType

from webserver import api_plans
from webserver.answers import json_answer, relay
from webserver.api_tasks import check_size, idempotency_key
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery, PageQuery, Text
from wire.plans import PlanSpec
from wire.requests import ById, Submission
from wire.schedules import (
    AddSchedule,
    ChangeSchedule,
    GetTimeline,
    ListFirings,
    ListSchedules,
    PreviewSchedule,
    PreviewView,
    Run,
    RunSchedule,
    SchedulePatch,
    ScheduleSpec,
    ScheduleView,
    TimelineView,
    Timing,
)
from wire.views import Page

State = Literal["active", "paused", "ended"]
Became = Literal["fired", "skipped", "missed", "waiting"]


class SchedulesQuery(PageQuery, frozen=True, kw_only=True):
    text: Annotated[Text, Meta(description="A part of the name.")] | None = None
    state: Annotated[State, Meta(description="Only schedules in this state.")] | None = None


class FiringsQuery(PageQuery, frozen=True, kw_only=True):
    state: Annotated[Became, Meta(description="Only due instants that came to this.")] | None = None


class TimelineQuery(Struct, frozen=True):
    hours: Annotated[int, Meta(ge=1, le=168, description="How far to look ahead.")] = 24


class Preview(Struct, forbid_unknown_fields=True):
    """A timing, and how many of its next instants to tell."""

    when: Timing
    count: int = 10


class Gone(Struct):
    """The id of the schedule that is no more."""

    id: str


class Begun(Struct):
    """What was made, and is on disk."""

    id: str
    kind: Literal["task", "plan"]


async def list_schedules(
    request: web.Request, caller: Caller, asked: SchedulesQuery
) -> web.StreamResponse:
    """By name, without scripts. With filters a page may hold fewer than `limit`, even none, and
    have `next`."""
    ask = ListSchedules(caller.auth, asked.limit, asked.cursor, asked.text, asked.state)
    return await relay(request, "get_schedules", ask, Page)


async def get_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """With its task or plan, its scripts and what became of the last due instant."""
    return await _by_word(request, caller, "get_schedule")


async def add_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """201 once it is durable, and in effect. It makes a task or a plan. Whoever makes it is its
    owner: its tasks are made with their rights, judged anew at each firing."""
    spec = parse_json(await read_body(request), ScheduleSpec)
    check_sizes(spec.task, spec.plan)
    ask = AddSchedule(caller.auth, spec)
    made = await request.app[MASTER].call("add_schedule", ask, ScheduleView)
    headers = {"Location": f"/api/v1/schedules/{made.id}"}
    return await json_answer(request, made, status=201, headers=headers)


async def change_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """What is given takes the place of what was, `when`, `task` and `plan` as a whole, a task also
    that of a plan; the rest stays. In effect at once; whoever edits it is its owner from then
    on."""
    patch = parse_json(await read_body(request), SchedulePatch)
    check_sizes(patch.task, patch.plan)
    ask = ChangeSchedule(caller.auth, identifier(request, "schedule"), patch)
    return await relay(request, "change_schedule", ask, ScheduleView)


async def pause_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """It is not due until it is resumed. What runs goes on; firings that wait are skipped."""
    return await _by_word(request, caller, "pause_schedule")


async def resume_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Due again from now on; what would have been due meanwhile was not."""
    return await _by_word(request, caller, "resume_schedule")


async def remove_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """What it has fired goes on, and is still to be seen among the firings."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "schedule"))
    await request.app[MASTER].call("remove_schedule", ask, dict[str, Any])
    return await json_answer(request, Gone(ask.id))


async def run_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Its task or plan now, made by the caller, beside all that is due. 409 while one of it is
    active, unless its overlap policy is `allow`."""
    await refuse_body(request)
    key = idempotency_key(request.headers.getall("Idempotency-Key", []))
    ask = RunSchedule(caller.auth, identifier(request, "schedule"), key)
    run = await request.app[MASTER].call("run_schedule", ask, Run)
    headers = {"Location": f"/api/v1/{run.kind}s/{run.id}"}
    begun = Begun(run.id, "plan" if run.kind == "plan" else "task")
    return await json_answer(request, begun, status=201, headers=headers)


def check_sizes(task: Submission | UnsetType | None, plan: PlanSpec | UnsetType | None) -> None:
    """Raises TooLarge for a script that no master takes."""
    if isinstance(task, Submission):
        check_size(task)
    if isinstance(plan, PlanSpec):
        api_plans.check_sizes(plan)


async def preview_schedule(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """The next instants at which a timing is due, in UTC and in its zone, and what it does where
    the clocks of its zone are changed. Nothing is saved."""
    given = parse_json(await read_body(request), Preview)
    ask = PreviewSchedule(caller.auth, given.when, given.count)
    return await relay(request, "preview_schedule", ask, PreviewView)


async def get_timeline(
    request: web.Request, caller: Caller, asked: TimelineQuery
) -> web.StreamResponse:
    """The firings to come of all schedules; what is due more than 24 times is told once."""
    ask = GetTimeline(caller.auth, asked.hours)
    return await relay(request, "get_timeline", ask, TimelineView)


async def list_firings(
    request: web.Request, caller: Caller, asked: FiringsQuery
) -> web.StreamResponse:
    """Of all schedules, also of deleted ones; the newest due instant first."""
    return await _firings(request, caller, asked, None)


async def list_firings_of_schedule(
    request: web.Request, caller: Caller, asked: FiringsQuery
) -> web.StreamResponse:
    """Of one schedule; the newest due instant first."""
    return await _firings(request, caller, asked, identifier(request, "schedule"))


async def _firings(
    request: web.Request, caller: Caller, asked: FiringsQuery, schedule: str | None
) -> web.StreamResponse:
    ask = ListFirings(caller.auth, schedule, asked.state, asked.limit, asked.cursor)
    return await relay(request, "get_firings", ask, Page)


async def _by_word(request: web.Request, caller: Caller, method: str) -> web.StreamResponse:
    """What the path says all about, so that it takes no body."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "schedule"))
    return await relay(request, method, ask, ScheduleView)
