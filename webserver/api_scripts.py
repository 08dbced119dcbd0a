"""What does the API say and take about saved scripts?"""

from aiohttp import web

from webserver.answers import json_answer, relay
from webserver.body import identifier, parse_json, read_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery
from wire.errors import NotFound
from wire.scripts import (
    AddScript,
    AddVersion,
    ChangeScript,
    ChangeVersion,
    GetScript,
    ListScripts,
    NewScript,
    NewVersion,
    ScriptChange,
    Scripts,
    ScriptView,
    VersionChange,
    VersionView,
)


async def list_scripts(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """All of them, by name."""
    ask = ListScripts(caller.auth)
    return await relay(request, "get_scripts", ask, Scripts)


async def add_script(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """A new name with its first version."""
    new = parse_json(await read_body(request), NewScript)
    ask = AddScript(caller.auth, new)
    made = await request.app[MASTER].call("add_script", ask, ScriptView)
    headers = {"Location": f"/api/v1/scripts/{made.name}"}
    return await json_answer(request, made, status=201, headers=headers)


async def get_script(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """One of them, with its versions and where it was used last."""
    ask = GetScript(caller.auth, identifier(request, "script"))
    return await relay(request, "get_script", ask, ScriptView)


async def change_script(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Its description; or disable it: nothing of it starts any more, and waiting runs of its
    tasks are skipped."""
    change = parse_json(await read_body(request), ScriptChange)
    ask = ChangeScript(caller.auth, identifier(request, "script"), change)
    return await relay(request, "change_script", ask, ScriptView)


async def add_script_version(
    request: web.Request, caller: Caller, _: NoQuery
) -> web.StreamResponse:
    """The next number. A version never changes, but for its state."""
    new = parse_json(await read_body(request), NewVersion)
    ask = AddVersion(caller.auth, identifier(request, "script"), new)
    made = await request.app[MASTER].call("add_script_version", ask, ScriptView)
    headers = {"Location": f"/api/v1/scripts/{made.name}/versions/{made.newest}"}
    return await json_answer(request, made, status=201, headers=headers)


async def get_script_version(
    request: web.Request, caller: Caller, _: NoQuery
) -> web.StreamResponse:
    """One version, with its script."""
    ask = GetScript(caller.auth, identifier(request, "script"), version_number(request))
    return await relay(request, "get_script_version", ask, VersionView)


async def change_script_version(
    request: web.Request, caller: Caller, _: NoQuery
) -> web.StreamResponse:
    """Its state: draft, online or disabled. Disabling it skips waiting runs of its tasks."""
    change = parse_json(await read_body(request), VersionChange)
    name, number = identifier(request, "script"), version_number(request)
    ask = ChangeVersion(caller.auth, name, number, change.state)
    return await relay(request, "change_script_version", ask, VersionView)


def version_number(request: web.Request) -> int:
    text = request.match_info["version"]
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10):
        raise NotFound("a version is a number, from 1")
    return int(text)
