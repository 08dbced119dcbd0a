"""Who is told what? The callbacks, the form of one, and what each was told and how it went."""

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import Draft, Form, filters, link, own_form, see
from webserver.page_frame import framed
from wire.callbacks import (
    ALL,
    CHOSEN,
    EVENTS,
    KINDS,
    NAMED,
    STATES,
    AddCallback,
    CallbackChanges,
    Callbacks,
    CallbackView,
    CallbackWish,
    ChangeCallback,
    DeliveryView,
    KeptCallback,
    ListDeliveries,
)
from wire.errors import Conflict, InvalidValue, SecretsUnreadable
from wire.requests import ById, JustAuth
from wire.views import Page

ON_A_PAGE = 50
KIND_NAMES = {
    "json": "JSON, signed (Standard Webhooks)",
    "slack": "Slack",
    "teams": "Microsoft Teams",
    "dingtalk": "DingTalk",
    "wecom": "WeCom",
    "feishu": "Feishu",
    "email": "E-mail",
}
TASK_WORDS = {
    ALL: "all tasks and schedules",
    CHOSEN: "the names and schedules below",
    NAMED: "only tasks that name this callback",
}
TEXTS = ("name", "kind", "url", "tasks", "names", "schedules", "username", "sender", "recipients")


@dataclass
class CallbackDraft(Draft):
    """A secret never stands in it."""

    events: list[str] = field(default_factory=list)
    others: frozenset[str] = frozenset({"secret", "events"})


def empty() -> CallbackDraft:
    texts = {**dict.fromkeys(TEXTS, ""), "kind": KINDS[0], "tasks": ALL}
    return CallbackDraft(texts, events=list(EVENTS))


def draft_of(view: CallbackView) -> CallbackDraft:
    texts = {
        "name": view.name,
        "kind": view.kind,
        "url": "",
        "tasks": view.tasks,
        "names": "\n".join(view.names),
        "schedules": "\n".join(view.schedules),
        "username": view.username,
        "sender": view.sender,
        "recipients": ", ".join(view.recipients),
    }
    return CallbackDraft(texts, events=view.events)


async def show_callbacks(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _list(request, caller, empty())


async def add_callback(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The answer shows the secret, if one was made: a reload asks before it makes another."""
    form = await own_form(request)
    draft = _draft(form)
    wish = CallbackWish(kind=form.word("kind"), **_filled(form), **_where(form, keep=False))
    try:
        ask = AddCallback(caller.auth, wish)
        kept = await request.app[MASTER].call("add_callback", ask, KeptCallback)
    except (InvalidValue, Conflict) as refusal:
        draft.blame(refusal)
        return await _list(request, caller, draft, refusal.status)
    return await _kept(request, caller, kept)


async def show_callback(request: web.Request, caller: Caller) -> web.StreamResponse:
    callback = await _callback(request, caller)
    return await _one(request, caller, callback, draft_of(callback))


async def change_callback(request: web.Request, caller: Caller) -> web.StreamResponse:
    """URL and secret stay where nothing is typed."""
    form = await own_form(request)
    draft = _draft(form)
    changes = CallbackChanges(**_filled(form), **_where(form, keep=True))
    try:
        ask = ChangeCallback(caller.auth, identifier(request, "callback"), changes)
        kept = await request.app[MASTER].call("change_callback", ask, KeptCallback)
    except (InvalidValue, Conflict, SecretsUnreadable) as refusal:
        draft.blame(refusal)
        callback = await _callback(request, caller)
        return await _one(request, caller, callback, draft, status=refusal.status)
    return await _kept(request, caller, kept)


async def switch_callback(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Pause it, or let it go on."""
    form = await own_form(request)
    id = identifier(request, "callback")
    changes = CallbackChanges(active=form.word("do") == "resume")
    ask = ChangeCallback(caller.auth, id, changes)
    await request.app[MASTER].call("change_callback", ask, KeptCallback)
    return see(f"/callbacks/{id}")


async def remove_callback(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "callback"))
    await request.app[MASTER].call("remove_callback", ask, CallbackView)
    return see("/callbacks")


async def test_callback(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "callback"))
    made = await request.app[MASTER].call("test_callback", ask, DeliveryView)
    return see(f"/deliveries/{made.id}")


async def show_delivery(request: web.Request, caller: Caller) -> web.StreamResponse:
    """While it is under way, the page looks again by itself."""
    ask = ById(caller.auth, identifier(request, "delivery"))
    delivery = await request.app[MASTER].call("get_delivery", ask, DeliveryView)
    payload = msgspec.json.format(msgspec.json.encode(delivery.payload), indent=2).decode()
    return await framed(
        request,
        caller,
        "delivery.html",
        delivery=delivery,
        payload=payload,
        refresh_s=5 if delivery.state == "waiting" else None,
    )


async def resend_delivery(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "delivery"))
    await request.app[MASTER].call("resend_delivery", ask, DeliveryView)
    return see(f"/deliveries/{ask.id}")


# ---- below: forms


def _draft(form: Form) -> CallbackDraft:
    texts = {name: form.word(name) for name in TEXTS}
    return CallbackDraft(texts, events=form.many("event"))


def _filled(form: Form) -> dict[str, Any]:
    """All that stands in the form but kind, URL and secret."""
    return {
        "name": form.word("name"),
        "events": form.many("event"),
        "tasks": form.word("tasks"),
        "names": _lines(form.word("names")),
        "schedules": _lines(form.word("schedules")),
        "username": form.word("username"),
        "sender": form.word("sender"),
        "recipients": re.split(r"[\s,]+", form.word("recipients"))
        if form.word("recipients")
        else [],
    }


def _where(form: Form, *, keep: bool) -> dict[str, Any]:
    """`keep`: what is empty stays as it was; a box asks for a new secret."""
    found = {"url": form.word("url"), "secret": form.word("secret")}
    if not keep:
        return found
    anew = {"secret": ""} if form.word("new_secret") else {}
    return {**{name: value for name, value in found.items() if value}, **anew}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


# ---- below: pages


async def _callback(request: web.Request, caller: Caller) -> CallbackView:
    ask = ById(caller.auth, identifier(request, "callback"))
    return await request.app[MASTER].call("get_callback", ask, CallbackView)


async def _list(
    request: web.Request, caller: Caller, draft: CallbackDraft, status: int = 200
) -> web.StreamResponse:
    found = await request.app[MASTER].call("get_callbacks", JustAuth(caller.auth), Callbacks)
    return await framed(
        request,
        caller,
        "callbacks.html",
        status=status,
        callbacks=found.items,
        draft=draft,
        **_choices(),
    )


async def _kept(request: web.Request, caller: Caller, kept: KeptCallback) -> web.StreamResponse:
    if kept.secret is None:
        return see(f"/callbacks/{kept.callback.id}")
    draft = draft_of(kept.callback)
    return await _one(request, caller, kept.callback, draft, secret=kept.secret)


async def _one(
    request: web.Request,
    caller: Caller,
    callback: CallbackView,
    draft: CallbackDraft,
    *,
    secret: str | None = None,
    status: int = 200,
) -> web.StreamResponse:
    given = filters(request, "state", "cursor")
    state = given.get("state")
    ask = ListDeliveries(
        caller.auth, callback.id, state if state in STATES else None, ON_A_PAGE, given.get("cursor")
    )
    page = await request.app[MASTER].call("get_deliveries", ask, Page)
    path = f"/callbacks/{callback.id}"
    return await framed(
        request,
        caller,
        "callback.html",
        status=status,
        callback=callback,
        draft=draft,
        secret=secret,
        state=ask.state,
        states=STATES,
        deliveries=msgspec.convert(page.items, list[DeliveryView]),
        more=page.next and link(path, {"state": ask.state, "cursor": page.next}),
        **_choices(),
    )


def _choices() -> dict[str, Any]:
    return {"kinds": KIND_NAMES, "all_events": EVENTS, "task_words": TASK_WORDS}
