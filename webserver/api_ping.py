"""What does the API take and say about a ping of all hosts?"""

from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer
from webserver.body import parse_json, read_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery
from wire.ping import ASKING_S, MAX_TIMEOUT_S, TIMEOUT_S, Ping, PingView


class PingWish(Struct, forbid_unknown_fields=True):
    """Body of a ping, which may be empty. `timeout`: seconds that each host has to answer."""

    timeout: float = TIMEOUT_S


async def ping_hosts(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Asks every enrolled host, and answers when all have answered or their time is over."""
    wish = parse_json(await read_body(request) or b"{}", PingWish)
    return await json_answer(request, await ping(request, caller, wish.timeout))


async def ping(request: web.Request, caller: Caller, timeout_s: float) -> PingView:
    ask = Ping(caller.auth, timeout_s)
    limit_s = min(max(timeout_s, 0.0), MAX_TIMEOUT_S) + ASKING_S
    return await request.app[MASTER].call("ping_agents", ask, PingView, limit_s)
