"""How does a person come in and go out? With an API token, once; a session cookie from then on."""

import secrets

from aiohttp import web

from webserver.context import Caller
from webserver.cookies import SESSION, VISITOR, drop_cookie, keep_cookie, read_cookie
from webserver.door import DOOR, looks_like_token, way_back
from webserver.forms import own_form, see
from webserver.proxies import seen
from webserver.rendering import render
from wire.errors import Unauthenticated

WRONG = "This is not a valid token. It may have expired or been revoked."


async def show_login(request: web.Request, _: Caller) -> web.StreamResponse:
    return _login_page(request, request.query.get("next", "/"))


async def log_in(request: web.Request, _: Caller) -> web.StreamResponse:
    form = await own_form(request, VISITOR)
    door, token = request.app[DOOR], form.word("token")
    if not looks_like_token(token):
        return _login_page(request, form.text("next"), WRONG)
    try:
        caller = await door.confirm(token, request)
    except Unauthenticated:
        return _login_page(request, form.text("next"), WRONG)
    session = door.sessions.open(token, caller.name, caller.role)
    response = see(way_back(form.text("next")))
    keep_cookie(request, response, SESSION, session.id)
    return response


async def log_out(request: web.Request, _: Caller) -> web.StreamResponse:
    response = see("/login")
    if request.app[DOOR].session(request) is None:
        return response
    await own_form(request)
    request.app[DOOR].end_session(request)
    drop_cookie(request, response, SESSION)
    return response


def _login_page(request: web.Request, path: str, error: str | None = None) -> web.Response:
    visitor = read_cookie(request, VISITOR) or secrets.token_urlsafe(16)
    response = render(
        "login.html",
        status=401 if error else 200,
        error=error,
        in_the_open=seen(request).in_the_open,
        next=way_back(path),
        form_token=request.app[DOOR].sessions.form_token(visitor),
    )
    keep_cookie(request, response, VISITOR, visitor)
    return response
