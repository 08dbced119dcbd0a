"""What does an admin press about a host? Accept, refuse, revoke, delete, a new key, a new name."""

from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import own_form, see
from webserver.page_join_tokens import show_join
from wire.joining import AcceptHostname, NewJoin, RevokeAgent
from wire.requests import ById
from wire.views import AgentView


async def accept(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _press(request, caller, "accept_agent", "/hosts")


async def refuse(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _press(request, caller, "refuse_agent", "/hosts")


async def delete(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _press(request, caller, "delete_agent", "/hosts")


async def revoke(request: web.Request, caller: Caller) -> web.StreamResponse:
    form, agent = await own_form(request), identifier(request, "agent")
    ask = RevokeAgent(caller.auth, agent, form.word("reason"))
    await request.app[MASTER].call("revoke_agent", ask, AgentView)
    return see(f"/hosts/{agent}")


async def accept_hostname(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The name that the page showed: what the host calls itself since is not accepted with it."""
    form, agent = await own_form(request), identifier(request, "agent")
    ask = AcceptHostname(caller.auth, agent, form.word("hostname"))
    await request.app[MASTER].call("accept_hostname", ask, AgentView)
    return see(f"/hosts/{agent}")


async def reenrol(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "agent"))
    made = await request.app[MASTER].call("reenrol_agent", ask, NewJoin)
    return await show_join(request, caller, made)


async def _press(
    request: web.Request, caller: Caller, method: str, then: str
) -> web.StreamResponse:
    await own_form(request)
    ask = ById(caller.auth, identifier(request, "agent"))
    await request.app[MASTER].call(method, ask, AgentView)
    return see(then)
