"""Which tokens let programs in? All of them, for admins; people's own are in page_account.py."""

from typing import Any

import msgspec
from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import filters, link, own_form, see
from webserver.page_frame import framed
from wire.people import ListTokens, TokenView
from wire.requests import ById
from wire.views import Page

ON_A_PAGE = 100


async def show_tokens(request: web.Request, caller: Caller) -> web.StreamResponse:
    cursor = filters(request, "cursor").get("cursor")
    ask = ListTokens(caller.auth, True, ON_A_PAGE, cursor)
    page = await request.app[MASTER].call("get_tokens", ask, Page)
    return await framed(
        request,
        caller,
        "tokens.html",
        tokens=msgspec.convert(page.items, list[TokenView]),
        more=page.next and link("/tokens", {"cursor": page.next}),
    )


async def revoke_any_token(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "token"))
    await request.app[MASTER].call("revoke_token", ask, dict[str, Any])
    return see("/tokens")
