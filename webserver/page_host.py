"""How is one host, and what ran there? Its facts, its labels to edit, its runs."""

from typing import Any

import msgspec
from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import filters, link, own_form, see
from webserver.page_frame import framed
from wire.errors import InvalidValue, Malformed
from wire.requests import ById, ListRunsOfAgent, SetLabels
from wire.views import AgentView, Changed, Page, RunView

RUNS_ON_A_PAGE = 50


async def show_host(request: web.Request, caller: Caller) -> web.StreamResponse:
    cursor = filters(request, "cursor").get("cursor")
    return await _host_page(request, caller, cursor=cursor)


async def change_labels(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Set one label, or take one away by the button beside it."""
    form, agent = await own_form(request), identifier(request, "agent")
    gone, name, value = form.word("remove"), form.word("label"), form.word("value")
    if not gone and not (name and value):
        wrong = "A label takes a name and a value, such as env and prod."
        return await _host_page(request, caller, wrong=wrong, typed=(name, value), status=422)
    labels: dict[str, str | None] = {gone: None} if gone else {name: value}
    ask = SetLabels(caller.auth, {agent: labels})
    try:
        await request.app[MASTER].call("set_labels", ask, Changed)
    except (InvalidValue, Malformed) as refusal:
        wrong, typed = refusal.message, (name, value)
        return await _host_page(request, caller, wrong=wrong, typed=typed, status=refusal.status)
    return see(f"/hosts/{agent}#labels")


async def _host_page(
    request: web.Request,
    caller: Caller,
    *,
    cursor: str | None = None,
    wrong: str | None = None,
    typed: tuple[str, str] = ("", ""),
    status: int = 200,
) -> web.Response:
    agent, master = identifier(request, "agent"), request.app[MASTER]
    host = await master.call("get_agent", ById(caller.auth, agent), AgentView)
    ask = ListRunsOfAgent(caller.auth, agent, RUNS_ON_A_PAGE, cursor)
    page = await master.call("get_runs_of_agent", ask, Page)
    return await framed(
        request,
        caller,
        "host.html",
        status=status,
        host=host,
        facts=_facts(host.facts),
        runs=msgspec.convert(page.items, list[RunView]),
        more=page.next and link(f"/hosts/{agent}", {"cursor": page.next}),
        wrong=wrong,
        typed=typed,
    )


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What the agent says of its host: names and texts, whatever it has sent."""
    return [(name, _said(value)) for name, value in sorted(facts.items())]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
