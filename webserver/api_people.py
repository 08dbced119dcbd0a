"""What does the API say and take about people, oneself, sessions and tokens?"""

from typing import Any

from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer
from webserver.api_master import who_now
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery, PageQuery, TokensQuery
from wire.people import (
    AddPerson,
    AddToken,
    ChangePassword,
    ChangePerson,
    ListPeople,
    ListTokens,
    LogOutEverywhere,
    NewToken,
    PersonView,
)
from wire.requests import ById, JustAuth
from wire.views import Page


class Done(Struct):
    """Nothing to say: it is done."""


class NewPerson(Struct, forbid_unknown_fields=True):
    """`hosts`: the expression that an operator is limited to; null: no limit."""

    name: str
    role: str
    password: str
    hosts: str | None = None


class PersonChange(Struct, forbid_unknown_fields=True):
    """What is absent stays as it is; an empty `hosts` lifts the limit."""

    role: str | None = None
    hosts: str | None = None
    disabled: bool | None = None
    password: str | None = None


class Passwords(Struct, forbid_unknown_fields=True):
    """The password that holds, and the one that shall."""

    old: str
    new: str


class TokenWish(Struct, forbid_unknown_fields=True):
    """`expires_in`: seconds from now; null: never."""

    name: str
    role: str
    expires_in: float | None = None


# ---- oneself


async def get_me(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """The same as `whoami`."""
    return await json_answer(request, await who_now(request, caller))


async def change_my_password(
    request: web.Request, caller: Caller, _: NoQuery
) -> web.StreamResponse:
    """By a session alone, never by a token. All other sessions of the person end."""
    body = parse_json(await read_body(request), Passwords)
    ask = ChangePassword(caller.auth, body.old, body.new)
    return await _done(request, "change_password", ask)


async def list_my_sessions(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """The browsers that one is logged in with."""
    ask = JustAuth(caller.auth)
    return await json_answer(request, await request.app[MASTER].call("get_sessions", ask, Page))


async def end_my_session(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """That browser has to log in again."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "session"))
    return await _done(request, "end_session", ask)


async def end_my_sessions(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Log out everywhere. Tokens go on."""
    await refuse_body(request)
    return await _done(request, "log_out_everywhere", LogOutEverywhere(caller.auth))


# ---- people


async def list_people(request: web.Request, caller: Caller, asked: PageQuery) -> web.StreamResponse:
    """By name."""
    ask = ListPeople(caller.auth, asked.limit, asked.cursor)
    return await json_answer(request, await request.app[MASTER].call("get_people", ask, Page))


async def get_person(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    ask = ById(caller.auth, identifier(request, "person"))
    person = await request.app[MASTER].call("get_person", ask, PersonView)
    return await json_answer(request, person)


async def add_person(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Names are unique without regard to case; passwords have 10 characters or more."""
    body = parse_json(await read_body(request), NewPerson)
    ask = AddPerson(caller.auth, body.name, body.role, body.password, body.hosts)
    person = await request.app[MASTER].call("add_person", ask, PersonView)
    headers = {"Location": f"/api/v1/people/{person.id}"}
    return await json_answer(request, person, status=201, headers=headers)


async def change_person(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Whoever is disabled, or is given another password, has to log in again everywhere."""
    body = parse_json(await read_body(request), PersonChange)
    id = identifier(request, "person")
    ask = ChangePerson(caller.auth, id, body.role, body.hosts, body.disabled, body.password)
    person = await request.app[MASTER].call("change_person", ask, PersonView)
    return await json_answer(request, person)


async def remove_person(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """With all sessions and tokens of the person. What was submitted keeps the name."""
    await refuse_body(request)
    return await _done(request, "remove_person", ById(caller.auth, identifier(request, "person")))


async def end_sessions_of(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Log the person out everywhere."""
    await refuse_body(request)
    ask = LogOutEverywhere(caller.auth, identifier(request, "person"))
    return await _done(request, "log_out_everywhere", ask)


# ---- tokens


async def list_tokens(
    request: web.Request, caller: Caller, asked: TokensQuery
) -> web.StreamResponse:
    """One's own, the newest first; never their secrets."""
    ask = ListTokens(caller.auth, asked.all, asked.limit, asked.cursor)
    return await json_answer(request, await request.app[MASTER].call("get_tokens", ask, Page))


async def add_token(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """The answer alone has the secret. By a session, or by a token of an admin."""
    body = parse_json(await read_body(request), TokenWish)
    ask = AddToken(caller.auth, body.name, body.role, body.expires_in)
    made = await request.app[MASTER].call("add_token", ask, NewToken)
    return await json_answer(request, made, status=201)


async def revoke_token(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """One's own; an admin revokes any. It holds from the next call on."""
    await refuse_body(request)
    return await _done(request, "revoke_token", ById(caller.auth, identifier(request, "token")))


async def _done(request: web.Request, method: str, ask: Struct) -> web.Response:
    await request.app[MASTER].call(method, ask, dict[str, Any])
    return await json_answer(request, Done())
