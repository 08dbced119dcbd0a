"""What does the API say and take about saved groups of hosts?"""

from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer, relay
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery
from wire.host_groups import GetHostGroup, HostGroup, HostGroups, HostGroupView, PutHostGroup
from wire.requests import JustAuth


class HostGroupChange(Struct, forbid_unknown_fields=True):
    """What a group shall mean from now on; its name stays."""

    hosts: str
    note: str = ""


async def list_groups(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """All of them, by name, each with the hosts that it names now."""
    ask = JustAuth(caller.auth)
    return await relay(request, "get_host_groups", ask, HostGroups)


async def get_group(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """One of them, with who uses it: look before you change it."""
    ask = GetHostGroup(caller.auth, identifier(request, "group"))
    return await relay(request, "get_host_group", ask, HostGroupView)


async def add_group(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """From now on `@name` stands for its hosts in every expression."""
    group = parse_json(await read_body(request), HostGroup)
    ask = PutHostGroup(caller.auth, group)
    made = await request.app[MASTER].call("add_host_group", ask, HostGroupView)
    headers = {"Location": f"/api/v1/groups/{made.name}"}
    return await json_answer(request, made, status=201, headers=headers)


async def change_group(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Another meaning from the next use on; tasks that were submitted keep their hosts."""
    change = parse_json(await read_body(request), HostGroupChange)
    group = HostGroup(identifier(request, "group"), change.hosts, change.note)
    ask = PutHostGroup(caller.auth, group)
    return await relay(request, "change_host_group", ask, HostGroupView)


async def remove_group(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """What it was. A group that something uses stays: 409 says what."""
    await refuse_body(request)
    ask = GetHostGroup(caller.auth, identifier(request, "group"))
    return await relay(request, "remove_host_group", ask, HostGroupView)
