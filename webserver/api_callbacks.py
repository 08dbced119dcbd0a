"""What does the API say and take about callbacks and what they have delivered?"""

from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta

from webserver.answers import json_answer, relay
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery, PageQuery
from wire.callbacks import (
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
from wire.requests import ById, JustAuth
from wire.views import Page

State = Literal["waiting", "delivered", "failed", "dropped"]


class DeliveriesQuery(PageQuery, frozen=True, kw_only=True):
    state: Annotated[State, Meta(description="Only deliveries in this state.")] | None = None


async def list_callbacks(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """All of them, by name. A URL is shown as far as it is no secret; a secret never is."""
    ask = JustAuth(caller.auth)
    return await relay(request, "get_callbacks", ask, Callbacks)


async def get_callback(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """One of them."""
    ask = ById(caller.auth, identifier(request, "callback"))
    return await relay(request, "get_callback", ask, CallbackView)


async def add_callback(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """`secret` is in the answer if it was made here; nobody can read it again."""
    wish = parse_json(await read_body(request), CallbackWish)
    ask = AddCallback(caller.auth, wish)
    kept = await request.app[MASTER].call("add_callback", ask, KeptCallback)
    headers = {"Location": f"/api/v1/callbacks/{kept.callback.id}"}
    return await json_answer(request, kept, status=201, headers=headers)


async def change_callback(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """What is absent stays. `secret` "" makes a new one for a callback in JSON."""
    changes = parse_json(await read_body(request), CallbackChanges)
    ask = ChangeCallback(caller.auth, identifier(request, "callback"), changes)
    return await relay(request, "change_callback", ask, KeptCallback)


async def remove_callback(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """What it was. What it still had to deliver is dropped."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "callback"))
    return await relay(request, "remove_callback", ask, CallbackView)


async def test_callback(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Sends an event of the type `test`; the answer is its delivery, which is under way."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "callback"))
    return await relay(request, "test_callback", ask, DeliveryView, status=201)


async def list_deliveries(
    request: web.Request, caller: Caller, query: DeliveriesQuery
) -> web.StreamResponse:
    """What one callback was and is to be told, newest first."""
    ask = ListDeliveries(
        caller.auth, identifier(request, "callback"), query.state, query.limit, query.cursor
    )
    page: Page = await request.app[MASTER].call("get_deliveries", ask, Page)
    return await json_answer(request, page)


async def get_delivery(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """One of them, with what is told and the log of each try."""
    ask = ById(caller.auth, identifier(request, "delivery"))
    return await relay(request, "get_delivery", ask, DeliveryView)


async def resend_delivery(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Tries it again from now on, under the same id."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "delivery"))
    return await relay(request, "resend_delivery", ask, DeliveryView)
