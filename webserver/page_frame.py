"""What do all pages show around their content? Who you are, and how the master is."""

from typing import Any

from aiohttp import web

from webserver.context import MASTER, Caller
from webserver.forms import own_form, see
from webserver.proxies import seen
from webserver.rendering import render
from wire.errors import Refusal
from wire.requests import JustAuth
from wire.views import StatusView


async def framed(
    request: web.Request, caller: Caller, name: str, /, *, status: int = 200, **values: Any
) -> web.Response:
    """A page from a template, with what the frame shows."""
    return render(
        name,
        status=status,
        caller=caller,
        master=await _status(request, caller),
        in_the_open=seen(request).in_the_open,
        **values,
    )


async def _status(request: web.Request, caller: Caller) -> StatusView | None:
    """None when the master does not say: the frame alone must not break a page."""
    try:
        return await request.app[MASTER].call("get_status", JustAuth(caller.auth), StatusView)
    except Refusal:
        return None


async def release_handouts(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The button of the banner that says that hand-outs are held."""
    await own_form(request)
    await request.app[MASTER].call("release_handouts", JustAuth(caller.auth), dict[str, Any])
    return see("/tasks")
