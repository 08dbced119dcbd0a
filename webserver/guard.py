"""What surrounds every handler? The caller is found first; headers that keep browsers strict."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from webserver.connections import Connection
from webserver.context import NOBODY, Caller
from webserver.door import DOOR, SAFE, check_origin, login_url
from webserver.endpoint import Face, May, Route
from webserver.logs import NAME
from webserver.proxies import PROXIES, SEEN, seen
from webserver.refusals import LoginNeeded
from wire.errors import Forbidden, Unauthenticated
from wire.requests import Auth

Served = Callable[[web.Request], Awaitable[web.StreamResponse]]

A_YEAR_S = 365 * 86400

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


@web.middleware
async def arrive(request: web.Request, handler: Served) -> web.StreamResponse:
    """The outermost middleware: from here on it is known who is at the other end."""
    if isinstance(request.protocol, Connection):
        request.protocol.works()
    request[SEEN] = request.app[PROXIES].look(request)
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every response, errors and streams included; a handler's own header stays."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if seen(request).secure:
        response.headers["Strict-Transport-Security"] = f"max-age={A_YEAR_S}"
    response.headers["Server"] = NAME  # aiohttp has put its version there


def guarded(route: Route) -> Served:
    """The route's handler for aiohttp: called only once the master knows the caller.

    Whatever changes something is refused to other sites before anything else is looked at.
    """
    if route.may is May.ANYONE:
        handle = _open_to_all(route)
    else:
        handle = _for_programs(route) if route.face is Face.API else _for_people(route)
    return handle if route.method in SAFE else _to_own_site(handle)


def _to_own_site(handle: Served) -> Served:
    async def check_first(request: web.Request) -> web.StreamResponse:
        check_origin(request)
        return await handle(request)

    return check_first


def _open_to_all(route: Route) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handler(request, Caller(Auth(None, seen(request).address), NOBODY))

    return handle


def _for_programs(route: Route) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handler(request, await request.app[DOOR].api_caller(request))

    return handle


def _for_people(route: Route) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            caller = await request.app[DOOR].page_caller(request)
            _check_shown(route, caller)
            return await route.handler(request, caller)
        except Unauthenticated:  # the session has ended
            raise LoginNeeded(login_url(request)) from None

    return handle


def _check_shown(route: Route, caller: Caller) -> None:
    """No form is shown to whom the master would refuse it.

    Only shown: what is sent all the same goes to the master, who refuses it and notes that.
    """
    if route.method in SAFE and not caller.at_least(route.may):
        raise Forbidden(f"this page needs the role {route.may}, and you are {caller.role}")
