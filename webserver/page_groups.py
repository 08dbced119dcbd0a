"""Which groups of hosts have a name? The list with a form for a new one, and the page of one."""

from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import Draft, own_form, see
from webserver.page_frame import framed
from wire.errors import Conflict, Forbidden, InvalidValue
from wire.host_groups import GetHostGroup, HostGroup, HostGroups, HostGroupView, PutHostGroup
from wire.requests import JustAuth

FIELDS = ("name", "hosts", "note")


async def show_groups(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _list(request, caller, Draft(dict.fromkeys(FIELDS, "")))


async def add_group(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = await own_form(request)
    draft = Draft({name: form.word(name) for name in FIELDS})
    ask = PutHostGroup(caller.auth, HostGroup(**draft.texts))
    try:
        await request.app[MASTER].call("add_host_group", ask, HostGroupView)
    except (InvalidValue, Conflict, Forbidden) as refusal:
        draft.blame(refusal)
        return await _list(request, caller, draft, refusal.status)
    return see("/groups")


async def show_group(request: web.Request, caller: Caller) -> web.StreamResponse:
    group = await _group(request, caller)
    return await _one(request, caller, group, Draft({"hosts": group.hosts, "note": group.note}))


async def change_group(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = await own_form(request)
    draft = Draft({name: form.word(name) for name in ("hosts", "note")})
    group = HostGroup(identifier(request, "group"), **draft.texts)
    try:
        ask = PutHostGroup(caller.auth, group)
        await request.app[MASTER].call("change_host_group", ask, HostGroupView)
    except (InvalidValue, Forbidden) as refusal:
        draft.blame(refusal)
        return await _one(
            request, caller, await _group(request, caller), draft, status=refusal.status
        )
    return see(f"/groups/{group.name}")


async def remove_group(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    ask = GetHostGroup(caller.auth, identifier(request, "group"))
    await request.app[MASTER].call("remove_host_group", ask, HostGroupView)
    return see("/groups")


async def _group(request: web.Request, caller: Caller) -> HostGroupView:
    ask = GetHostGroup(caller.auth, identifier(request, "group"))
    return await request.app[MASTER].call("get_host_group", ask, HostGroupView)


async def _list(
    request: web.Request, caller: Caller, draft: Draft, status: int = 200
) -> web.StreamResponse:
    found = await request.app[MASTER].call("get_host_groups", JustAuth(caller.auth), HostGroups)
    return await framed(
        request, caller, "groups.html", status=status, groups=found.items, draft=draft
    )


async def _one(
    request: web.Request, caller: Caller, group: HostGroupView, draft: Draft, status: int = 200
) -> web.StreamResponse:
    return await framed(request, caller, "group.html", status=status, group=group, draft=draft)
