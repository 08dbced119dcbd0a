"""What does a person see of their own? Sessions, the password, and tokens for programs."""

from typing import Any

import msgspec
from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, ROLES, Caller
from webserver.cookies import SESSION, drop_cookie
from webserver.door import DOOR
from webserver.forms import Form, own_form, see
from webserver.page_frame import framed
from wire.errors import Forbidden, InvalidValue, Refusal, Unauthenticated, Unavailable
from wire.people import (
    AddToken,
    ChangePassword,
    ListTokens,
    LogOutEverywhere,
    NewToken,
    SessionView,
    TokenView,
)
from wire.requests import ById, JustAuth
from wire.views import Page

MOST_TOKENS = 200
DAY_S = 86_400
# What one may choose for a token → after how many days it ends.
LIVES = {"7": "in 7 days", "30": "in 30 days", "90": "in 90 days", "365": "in a year", "": "never"}
USUAL_LIFE = "90"


async def show_account(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _account_page(request, caller)


async def end_session(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "session"))
    await request.app[MASTER].call("end_session", ask, dict[str, Any])
    return see("/account#sessions")


async def log_out_everywhere(request: web.Request, caller: Caller) -> web.StreamResponse:
    """All browsers of the person, this one included."""
    await own_form(request)
    ask = LogOutEverywhere(caller.auth)
    await request.app[MASTER].call("log_out_everywhere", ask, dict[str, Any])
    request.app[DOOR].forget(caller.auth.token or "")
    response = see("/login")
    drop_cookie(request, response, SESSION)
    return response


async def change_password(request: web.Request, caller: Caller) -> web.StreamResponse:
    """All other sessions of the person end with it."""
    form = await own_form(request)
    ask = ChangePassword(caller.auth, form.text("old"), form.text("new"))
    try:
        await request.app[MASTER].call("change_password", ask, dict[str, Any])
    except Unauthenticated:
        raise
    except Refusal as refusal:
        return await _account_page(request, caller, wrong=("password", refusal))
    return await _account_page(request, caller, done="The password is changed.")


async def add_token(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The page that answers is the only one that ever shows the secret."""
    form = await own_form(request)
    try:
        ends_in_s = _life(form.text("days"))
        ask = AddToken(caller.auth, form.word("name"), form.text("role"), ends_in_s)
        made = await request.app[MASTER].call("add_token", ask, NewToken)
    except Unauthenticated:
        raise
    except Refusal as refusal:
        return await _account_page(request, caller, wrong=("token", refusal), form=form)
    return await _account_page(request, caller, made=made)


def _life(days: str) -> float | None:
    """Seconds until a token ends; None: never, and only if that was chosen."""
    if days not in LIVES:
        raise InvalidValue(f"ends takes one of: {', '.join(LIVES.values())}", field="days")
    return float(days) * DAY_S if days else None


async def revoke_token(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "token"))
    await request.app[MASTER].call("revoke_token", ask, dict[str, Any])
    return see("/account#tokens")


async def _account_page(
    request: web.Request,
    caller: Caller,
    *,
    wrong: tuple[str, Refusal] | None = None,
    done: str | None = None,
    made: NewToken | None = None,
    form: Form | None = None,
) -> web.Response:
    tokens = await _listed(request, "get_tokens", ListTokens(caller.auth, limit=MOST_TOKENS))
    sessions = await _listed(request, "get_sessions", JustAuth(caller.auth))
    return await framed(
        request,
        caller,
        "account.html",
        status=wrong[1].status if wrong else 200,
        sessions=msgspec.convert(sessions, list[SessionView]),
        tokens=msgspec.convert(tokens, list[TokenView]),
        roles=[role for role in ROLES if caller.at_least(role)],
        lives=LIVES,
        wrong={wrong[0]: wrong[1].message} if wrong else {},
        done=done,
        made=made,
        typed=form or Form({"role": [caller.role], "days": [USUAL_LIFE]}),
    )


async def _listed(request: web.Request, method: str, ask: msgspec.Struct) -> list[Any]:
    """None of them for whom has none by nature, and while the master is away."""
    try:
        return (await request.app[MASTER].call(method, ask, Page)).items
    except (Forbidden, Unavailable):
        return []
