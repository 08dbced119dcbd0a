"""What runs by itself, what is to come, and what became of it? Lists of schedules and firings."""

from itertools import groupby

import msgspec
from aiohttp import web

from webserver.body import one_of
from webserver.context import MASTER, Caller
from webserver.forms import filters, link
from webserver.page_frame import framed
from wire.requests import Auth
from wire.schedules import (
    ComingView,
    FiringView,
    GetTimeline,
    ListFirings,
    ListSchedules,
    ScheduleView,
    TimelineView,
)
from wire.views import Page

ON_A_PAGE = 100
HOURS = 24
STATES = ("active", "paused", "ended")
BECAME = ("fired", "skipped", "missed", "waiting")


async def show_schedules(request: web.Request, caller: Caller) -> web.StreamResponse:
    """By name."""
    given = filters(request, "state", "text", "cursor")
    state = one_of(given, "state", STATES)
    ask = ListSchedules(caller.auth, ON_A_PAGE, given.get("cursor"), given.get("text"), state)
    page = await request.app[MASTER].call("get_schedules", ask, Page)
    chosen = {"text": given.get("text"), "state": state}
    return await framed(
        request,
        caller,
        "schedules.html",
        schedules=msgspec.convert(page.items, list[ScheduleView]),
        given=given,
        filtered=any(chosen.values()),
        by_state={name: link("/schedules", chosen | {"state": name}) for name in ("", *STATES)},
        more=page.next and link("/schedules", chosen | {"cursor": page.next}),
    )


async def show_firings(request: web.Request, caller: Caller) -> web.StreamResponse:
    """What became of the due instants of all schedules, newest first."""
    given = filters(request, "state", "cursor")
    state = one_of(given, "state", BECAME)
    firings, following = await firings_of(request, caller.auth, None, state, given.get("cursor"))
    path = "/schedules/firings"
    return await framed(
        request,
        caller,
        "firings.html",
        firings=firings,
        given=given,
        by_state={name: link(path, {"state": name}) for name in ("", *BECAME)},
        more=following and link(path, {"state": state, "cursor": following}),
    )


async def firings_of(
    request: web.Request, auth: Auth, schedule: str | None, state: str | None, cursor: str | None
) -> tuple[list[FiringView], str | None]:
    """One page of them, and the cursor of the next."""
    ask = ListFirings(auth, schedule, state, ON_A_PAGE, cursor)
    page = await request.app[MASTER].call("get_firings", ask, Page)
    return msgspec.convert(page.items, list[FiringView]), page.next


async def show_timeline(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The coming 24 hours, hour by hour in UTC."""
    ask = GetTimeline(caller.auth, HOURS)
    timeline = await request.app[MASTER].call("get_timeline", ask, TimelineView)
    return await framed(
        request,
        caller,
        "timeline.html",
        timeline=timeline,
        hours=[(hour, list(firings)) for hour, firings in groupby(timeline.firings, _hour)],
    )


def _hour(firing: ComingView) -> str:
    """ "2026-11-21 08:00"."""
    return f"{firing.at[:10]} {firing.at[11:13]}:00"
