"""Which hosts answer now? The page behind the button of the list of hosts."""

from aiohttp import web

from webserver.api_ping import ping
from webserver.context import Caller
from webserver.forms import own_form
from webserver.page_frame import framed
from wire.ping import TIMEOUT_S, PingView

ON_A_PAGE = 1_000  # those without an answer, and the slowest; the API has all


async def show_ping(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The button alone: where one ends who reloads, or logs in again."""
    return await _page(request, caller, None)


async def ping_hosts(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    return await _page(request, caller, await ping(request, caller, TIMEOUT_S))


async def _page(request: web.Request, caller: Caller, found: PingView | None) -> web.StreamResponse:
    shown = [] if found is None else found.agents[:ON_A_PAGE]
    return await framed(
        request,
        caller,
        "ping.html",
        found=found,
        shown=shown,
        left_out=0 if found is None else len(found.agents) - len(shown),
        timeout_s=TIMEOUT_S,
    )
