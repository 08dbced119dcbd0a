"""What does the API say of the master itself, and what may an admin tell it?"""

from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer
from webserver.body import refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery
from wire.requests import JustAuth
from wire.views import StatusView, WhoAmI


class Released(Struct):
    """Nothing to say: it is done."""


async def get_status(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """How many hosts are online, stale and offline, and whether anything is held back."""
    status = await request.app[MASTER].call("get_status", JustAuth(caller.auth), StatusView)
    return await json_answer(request, status)


async def whoami(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """For a program that wants to know what its token is good for."""
    return await json_answer(request, await who_now(request, caller))


async def who_now(request: web.Request, caller: Caller) -> WhoAmI:
    """As the master says now: what was revoked a moment ago is nobody's."""
    return await request.app[MASTER].call("whoami", JustAuth(caller.auth), WhoAmI)


async def release_handouts(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """A master that finds its store older than its agents holds back, until this is said."""
    await refuse_body(request)
    ask = JustAuth(caller.auth)
    return await json_answer(
        request, await request.app[MASTER].call("release_handouts", ask, Released)
    )
