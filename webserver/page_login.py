"""How does a person come in and go out? By name and password, by a token, by the one-time code."""

import secrets
from typing import Any

from aiohttp import web

from webserver.context import MASTER, Caller
from webserver.cookies import SESSION, VISITOR, drop_cookie, keep_cookie, read_cookie
from webserver.door import DOOR, looks_like_token, session_secret, way_back
from webserver.errors import wait_s
from webserver.forms import Form, own_form, see
from webserver.proxies import seen
from webserver.rendering import render
from webserver.seals import seal_of
from wire.errors import Busy, Conflict, Refusal, TooManyAttempts, Unauthenticated, Unavailable
from wire.people import Doors, GetDoors, LogIn, NewSession, SetUp
from wire.requests import Auth, JustAuth

WRONG_TOKEN = "This is not a valid token. It may have expired or been revoked."
ENDS_BY_ITSELF = (
    "This browser has forgotten your session. The master is away and could not be told: there "
    "the session ends when it was not used for some hours."
)


async def show_login(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = Form({"next": [request.query.get("next", "/")]})
    return await _login_page(request, caller, form)


async def log_in(request: web.Request, caller: Caller) -> web.StreamResponse:
    """By what the form holds; whatever session the browser had before ends."""
    form = await own_form(request, VISITOR)
    try:
        session = await (_by_token if "token" in form.fields else _by_password)(request, form)
    except (Unauthenticated, TooManyAttempts, Busy, Unavailable) as refusal:
        return await _login_page(request, caller, form, refusal)
    return _come_in(request, session, form.text("next"))


async def _by_password(request: web.Request, form: Form) -> NewSession:
    auth = Auth(session_secret(request), seen(request).address)
    ask = LogIn(auth, form.word("name"), form.text("password"))
    return await request.app[MASTER].call("log_in", ask, NewSession)


async def _by_token(request: web.Request, form: Form) -> NewSession:
    """The token opens a session of its own, so that no cookie holds the token."""
    token = form.word("token")
    if not looks_like_token(token):
        raise Unauthenticated(WRONG_TOKEN)
    auth = Auth(token, seen(request).address)
    try:
        session = await request.app[MASTER].call("log_in_by_token", JustAuth(auth), NewSession)
    except Unauthenticated:
        raise Unauthenticated(WRONG_TOKEN) from None
    await _end_session(request)
    return session


async def show_setup(request: web.Request, caller: Caller) -> web.StreamResponse:
    """As long as there is a one-time code."""
    if not await _can_set_up(request, caller):
        return see("/login")
    return _door_page(request, "setup.html", name="", error=None)


async def set_up(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = await own_form(request, VISITOR)
    auth = Auth(None, seen(request).address)
    ask = SetUp(auth, form.word("code"), form.word("name"), form.text("password"))
    try:
        session = await request.app[MASTER].call("set_up", ask, NewSession)
    except Refusal as refusal:
        return _door_page(request, "setup.html", refusal, name=form.word("name"), error=refusal)
    return _come_in(request, session, "/")


async def log_out(request: web.Request, _: Caller) -> web.StreamResponse:
    response: web.Response = see("/login")
    if session_secret(request) is None:
        return response
    await own_form(request)
    try:
        await _end_session(request)
    except Unavailable:
        response = render(
            "error.html",
            status=503,
            title="Logged out of this browser alone",
            message=ENDS_BY_ITSELF,
            away=False,
            in_the_open=seen(request).in_the_open,
        )
    drop_cookie(request, response, SESSION)
    return response


async def _end_session(request: web.Request) -> None:
    """The browser's session, if it has one that still goes on."""
    secret = session_secret(request)
    if secret is None:
        return
    request.app[DOOR].forget(secret)
    ask = JustAuth(Auth(secret, seen(request).address))
    try:
        await request.app[MASTER].call("log_out", ask, dict[str, Any])
    except (Unauthenticated, Conflict):
        pass  # it had ended, or was none


def _come_in(request: web.Request, session: NewSession, path: str) -> web.Response:
    response = see(way_back(path))
    keep_cookie(request, response, SESSION, session.secret)
    drop_cookie(request, response, VISITOR)
    return response


async def _login_page(
    request: web.Request, caller: Caller, form: Form, refusal: Refusal | None = None
) -> web.Response:
    return _door_page(
        request,
        "login.html",
        refusal,
        error=refusal,
        name=form.word("name"),
        by_token="token" in form.fields,
        next=way_back(form.text("next")),
        can_set_up=await _can_set_up(request, caller),
    )


def _door_page(
    request: web.Request, template: str, refusal: Refusal | None = None, /, **values: Any
) -> web.Response:
    """A page for somebody who is not in yet; its forms are sealed by a cookie of their own."""
    visitor = read_cookie(request, VISITOR) or secrets.token_urlsafe(16)
    response = render(
        template,
        status=refusal.status if refusal else 200,
        in_the_open=seen(request).in_the_open,
        form_token=seal_of(visitor),
        **values,
    )
    if isinstance(refusal, TooManyAttempts):
        response.headers["Retry-After"] = str(wait_s(refusal))
    keep_cookie(request, response, VISITOR, visitor)
    return response


async def _can_set_up(request: web.Request, caller: Caller) -> bool:
    try:
        doors = await request.app[MASTER].call("get_doors", GetDoors(caller.auth), Doors)
    except Refusal:
        return False  # a page to log in with is better than none
    return doors.setup
