"""What does the API take about letting hosts in and sending them away? For admins."""

from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery
from wire.joining import (
    AT_ONCE,
    AcceptHostname,
    AddJoinToken,
    JoinTokensView,
    NewJoin,
    RevokeAgent,
)
from wire.requests import ById, JustAuth
from wire.views import AgentView


class Revocation(Struct, forbid_unknown_fields=True):
    """Body of a revocation, which may be empty. `reason` is shown with the host."""

    reason: str = ""


class NewHostname(Struct, forbid_unknown_fields=True):
    """The `claimed_hostname` that is accepted; 409 if the host calls itself otherwise by now."""

    hostname: str


class JoinTokenWish(Struct, forbid_unknown_fields=True):
    """`uses` null: any number of hosts. `expires_in`: seconds. `accept`: "at once" or "by hand"."""

    name: str
    labels: dict[str, str] = {}
    uses: int | None = None
    expires_in: float = 86400.0
    accept: str = AT_ONCE


class Gone(Struct):
    """Nothing to say: it is done."""


async def accept_agent(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """It comes online when it asks next, within seconds. 200 also when it was accepted before."""
    return await _on_agent(request, caller, "accept_agent")


async def refuse_agent(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Its key is worth nothing: it can come back with a new identity alone."""
    return await _on_agent(request, caller, "refuse_agent")


async def delete_agent(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Revokes it as well; it is in no list any more, and its runs still name it."""
    return await _on_agent(request, caller, "delete_agent")


async def revoke_agent(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """From its next call on, also on an open connection. What it runs becomes UNKNOWN."""
    body = parse_json(await read_body(request) or b"{}", Revocation)
    ask = RevokeAgent(caller.auth, identifier(request, "agent"), body.reason)
    return await json_answer(
        request, await request.app[MASTER].call("revoke_agent", ask, AgentView)
    )


async def reenrol_agent(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """A join string with which the host gets a new key for the same id. Shown this once."""
    return await _on_agent(request, caller, "reenrol_agent", NewJoin)


async def accept_hostname(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Names, wildcards and groups find the host again."""
    agent = identifier(request, "agent")
    body = parse_json(await read_body(request), NewHostname)
    ask = AcceptHostname(caller.auth, agent, body.hostname)
    return await json_answer(
        request, await request.app[MASTER].call("accept_hostname", ask, AgentView)
    )


async def list_join_tokens(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Newest first; expired ones for a month. Their secrets are not known any more."""
    ask = JustAuth(caller.auth)
    return await json_answer(
        request, await request.app[MASTER].call("get_join_tokens", ask, JoinTokensView)
    )


async def add_join_token(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """The join string is in this answer and nowhere else."""
    wish = parse_json(await read_body(request), JoinTokenWish)
    ask = AddJoinToken(caller.auth, wish.name, wish.labels, wish.uses, wish.expires_in, wish.accept)
    made = await request.app[MASTER].call("add_join_token", ask, NewJoin)
    return await json_answer(request, made, status=201)


async def remove_join_token(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """No host joins by it any more; those that have stay."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "join_token"))
    return await json_answer(
        request, await request.app[MASTER].call("remove_join_token", ask, Gone)
    )


async def _on_agent(
    request: web.Request, caller: Caller, method: str, reply: type[Struct] = AgentView
) -> web.StreamResponse:
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "agent"))
    return await json_answer(request, await request.app[MASTER].call(method, ask, reply))
