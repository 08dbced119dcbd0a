"""By which words do hosts join? The page of join tokens; a new one is shown once."""

import re

from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import Form, own_form, see
from webserver.page_frame import framed
from wire.errors import Conflict, InvalidValue
from wire.joining import AT_ONCE, BY_HAND, AddJoinToken, JoinTokensView, NewJoin
from wire.requests import ById, JustAuth

# How long a token may let hosts in: seconds → words.
LASTS = {
    "3600": "1 hour",
    "86400": "1 day",
    "604800": "7 days",
    "2592000": "30 days",
    "31536000": "1 year",
}
EMPTY = {"name": "", "labels": "", "uses": "1", "expires_in": "86400", "accept": AT_ONCE}


async def show_join_tokens(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _page(request, caller)


async def add_join_token(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The answer shows the join string; a reload asks before it makes another."""
    form = await own_form(request)
    typed = {name: form.word(name) for name in EMPTY}
    try:
        made = await request.app[MASTER].call("add_join_token", _asked(caller, form), NewJoin)
    except (InvalidValue, Conflict) as refusal:
        wrong = (refusal.field or "name", refusal.message)
        return await _page(request, caller, typed=typed, wrong=wrong, status=refusal.status)
    return await show_join(request, caller, made)


async def remove_join_token(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "join_token"))
    await request.app[MASTER].call("remove_join_token", ask, dict)
    return see("/join-tokens")


async def show_join(request: web.Request, caller: Caller, made: NewJoin) -> web.Response:
    """A join string, the one time that it is seen, and the command that takes it."""
    return await framed(request, caller, "join.html", token=made.token, join=made.join)


async def _page(
    request: web.Request,
    caller: Caller,
    *,
    typed: dict[str, str] = EMPTY,
    wrong: tuple[str, str] = ("", ""),
    status: int = 200,
) -> web.Response:
    ask = JustAuth(caller.auth)
    found = await request.app[MASTER].call("get_join_tokens", ask, JoinTokensView)
    return await framed(
        request,
        caller,
        "join_tokens.html",
        status=status,
        tokens=found.items,
        typed=typed,
        wrong=wrong,
        lasts=LASTS,
        ways={AT_ONCE: "are enrolled at once", BY_HAND: "wait until an admin accepts them"},
    )


def _asked(caller: Caller, form: Form) -> AddJoinToken:
    lasts = form.word("expires_in")
    if lasts not in LASTS:
        raise InvalidValue("choose how long the token lasts", field="expires_in")
    return AddJoinToken(
        caller.auth,
        form.word("name"),
        _labels(form.word("labels")),
        _uses(form.word("uses")),
        float(lasts),
        form.word("accept"),
    )


def _labels(text: str) -> dict[str, str]:
    """Of `env:prod role:web`; the master judges the names."""
    labels: dict[str, str] = {}
    for word in re.split(r"[\s,]+", text):
        name, colon, value = word.partition(":")
        if word and not (name and colon and value):
            raise InvalidValue(f"{word[:80]!r} is no label; write env:prod", field="labels")
        if name in labels:
            raise InvalidValue(f"the label {name[:80]} is there twice", field="labels")
        if word:
            labels[name] = value
    return labels


def _uses(text: str) -> int | None:
    """Empty: any number."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidValue(
            f"uses is {text[:80]!r}; give how many hosts may join, or nothing", field="uses"
        )
    return int(text)
