"""Which hosts are there, and how are they? The page that lists agents."""

from aiohttp import web

from webserver.body import query
from webserver.context import MASTER, Caller
from webserver.rendering import render
from wire.messages import ListAgents, Page

ON_A_PAGE = 500


async def show_hosts(request: web.Request, caller: Caller) -> web.StreamResponse:
    given = query(request, "cursor")
    ask = ListAgents(caller.auth, ON_A_PAGE, given.get("cursor"))
    hosts = await request.app[MASTER].call("get_agents", ask, Page)
    return render("hosts.html", caller=caller, hosts=hosts.items, next=hosts.next)
