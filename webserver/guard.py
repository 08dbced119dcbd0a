"""What surrounds every handler? The caller is found first; headers that keep browsers strict."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from webserver.context import Caller
from webserver.door import DOOR, login_url
from webserver.endpoint import Face, May, Route
from webserver.refusals import LoginNeeded
from wire.errors import Unauthenticated
from wire.requests import Auth

Served = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every response, errors and streams included; a handler's own header stays."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "mschedule"  # aiohttp has put its version there


def guarded(route: Route) -> Served:
    """The route's handler for aiohttp: called only once the master knows the caller."""

    if route.may is May.ANYONE:
        return _open_to_all(route)
    return _for_programs(route) if route.face is Face.API else _for_people(route)


def _open_to_all(route: Route) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handler(request, Caller(Auth(None, request.remote or ""), "", ""))

    return handle


def _for_programs(route: Route) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handler(request, await request.app[DOOR].api_caller(request))

    return handle


def _for_people(route: Route) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        door = request.app[DOOR]
        try:
            return await route.handler(request, door.page_caller(request))
        except Unauthenticated:  # the token behind the session has ended
            door.end_session(request)
            raise LoginNeeded(login_url(request)) from None

    return handle
