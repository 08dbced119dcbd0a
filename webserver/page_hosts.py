"""Which hosts are there? The page that lists agents; one host's page is in page_host.py."""

from typing import Any

from aiohttp import web

from webserver.body import one_of
from webserver.context import MASTER, Caller
from webserver.forms import filters, link
from webserver.page_frame import framed
from wire.requests import ListAgents
from wire.states import AgentState
from wire.views import Page

LOUD = 50  # hosts of a kind that are shown above the list
ON_A_PAGE = 200  # without JavaScript; with it rows are fetched as they come into view

# What one may sort by → the heading of its column.
COLUMNS = {
    "state": "State",
    "hostname": "Host",
    "busy": "Running",
    "last_seen": "Last seen, UTC",
    "version": "Version",
    "clock_skew": "Clock",
}
SORTS = [*COLUMNS, *(f"-{name}" for name in COLUMNS)]


async def show_hosts(request: web.Request, caller: Caller) -> web.StreamResponse:
    given = filters(request, "text", "state", "label", "sort", "cursor")
    state = one_of(given, "state", list(AgentState))
    sort = one_of(given, "sort", SORTS) or "hostname"
    ask = ListAgents(
        caller.auth,
        limit=ON_A_PAGE,
        cursor=given.get("cursor"),
        text=given.get("text"),
        state=state,
        label=given.get("label"),
        sort=sort,
        facts=False,
    )
    page = await request.app[MASTER].call("get_agents", ask, Page)
    first = not any(given.values())
    standing = await _told_loudly(request, caller) if first else {}
    chosen: dict[str, str | None] = {name: given.get(name) for name in ("text", "state", "label")}
    return await framed(
        request,
        caller,
        "hosts.html",
        hosts=page.items,
        total=page.total,
        waiting=standing.get("pending", []),
        quarantined=standing.get("quarantined", []),
        renamed=standing.get("renamed", []),
        given=given,
        filtered=any(chosen.values()),
        states=list(AgentState),
        sort=sort,
        turned={name: link("/hosts", chosen | {"sort": _turned(sort, name)}) for name in COLUMNS},
        columns=COLUMNS,
        more=page.next
        and link("/hosts", chosen | {"sort": given.get("sort"), "cursor": page.next}),
    )


async def _told_loudly(request: web.Request, caller: Caller) -> dict[str, list[Any]]:
    """Hosts that somebody must decide about: the first of each kind."""
    asked = {
        "pending": ListAgents(caller.auth, LOUD, facts=False, standing="pending"),
        "quarantined": ListAgents(caller.auth, LOUD, facts=False, standing="quarantined"),
        "renamed": ListAgents(caller.auth, LOUD, facts=False, standing="enrolled", renamed=True),
    }
    found: dict[str, list[Any]] = {}
    for name, ask in asked.items():
        found[name] = (await request.app[MASTER].call("get_agents", ask, Page)).items
    return found


def _turned(sort: str, name: str) -> str:
    """What a click on a heading sorts by: by that column, and then the other way round."""
    return f"-{name}" if sort == name else name
