"""Which scripts are saved, in which versions, and where were they used? Pages to look and to save.

Parameters are written one a line, as `NAME kind = default # help`; the API takes all of theirs.
"""

import re
from dataclasses import dataclass
from itertools import zip_longest

from aiohttp import web

from webserver.api_scripts import version_number
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.diffs import DIFFS, DiffLine
from webserver.forms import Draft, Form, filters, own_form, see
from webserver.page_frame import framed
from webserver.text import readable
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound, TooLarge
from wire.scripts import (
    VERSION_STATES,
    AddScript,
    AddVersion,
    ChangeScript,
    ChangeVersion,
    GetScript,
    ListScripts,
    NewScript,
    NewVersion,
    Parameter,
    ScriptChange,
    Scripts,
    ScriptView,
    VersionView,
)

FIELDS = ("name", "description", "script", "parameters", "note", "state")
REFUSED = (InvalidValue, Conflict, Forbidden, TooLarge)

_LINE = re.compile(
    r"(?P<name>[A-Za-z_]\w*)(?P<optional>\?)?"
    r"(?:\s+(?P<kind>[a-z]+)(?:\((?P<of>[^)]*)\))?)?"
    r"(?:\s*=\s*(?P<default>[^#]*?))?"
    r"(?:\s*#\s*(?P<help>.*))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Pair:
    """One row of a comparison side by side; None: this side has no such line."""

    left: str | None
    right: str | None
    same: bool


# ---- the list


async def show_scripts(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _list(request, caller, Draft(dict.fromkeys(FIELDS, "") | {"state": "online"}))


async def add_script(request: web.Request, caller: Caller) -> web.StreamResponse:
    draft = _draft(await own_form(request))
    texts = draft.texts
    try:
        new = NewScript(
            texts["name"],
            texts["script"],
            texts["description"],
            parameters_of(texts["parameters"]),
            texts["note"],
            texts["state"],
        )
        made = await request.app[MASTER].call("add_script", AddScript(caller.auth, new), ScriptView)
    except REFUSED as refusal:
        draft.blame(refusal)
        return await _list(request, caller, draft, refusal.status)
    return see(f"/scripts/{made.name}")


async def _list(
    request: web.Request, caller: Caller, draft: Draft, status: int = 200
) -> web.StreamResponse:
    found = await request.app[MASTER].call("get_scripts", ListScripts(caller.auth), Scripts)
    return await framed(
        request,
        caller,
        "scripts.html",
        status=status,
        scripts=found.items,
        draft=draft,
        states=VERSION_STATES,
    )


# ---- one


async def show_script(request: web.Request, caller: Caller) -> web.StreamResponse:
    """With the newest version in the form for the next."""
    script = await _script(request, caller)
    newest = await _version(request, caller, script.name, script.newest)
    texts = {
        "script": newest.script or "",
        "parameters": "\n".join(line_of(one) for one in newest.parameters),
        "note": "",
        "state": "online",
    }
    return await _one(request, caller, script, Draft(texts))


async def add_version(request: web.Request, caller: Caller) -> web.StreamResponse:
    draft, name = _draft(await own_form(request)), identifier(request, "script")
    texts = draft.texts
    try:
        new = NewVersion(
            texts["script"], parameters_of(texts["parameters"]), texts["note"], texts["state"]
        )
        ask = AddVersion(caller.auth, name, new)
        await request.app[MASTER].call("add_script_version", ask, ScriptView)
    except REFUSED as refusal:
        draft.blame(refusal)
        return await _one(request, caller, await _script(request, caller), draft, refusal.status)
    return see(f"/scripts/{name}")


async def change_script(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Its description, or the buttons that disable and enable it."""
    form, name = await own_form(request), identifier(request, "script")
    if form.word("do") in ("disable", "enable"):
        change = ScriptChange(disabled=form.word("do") == "disable")
    else:
        change = ScriptChange(description=form.word("description"))
    ask = ChangeScript(caller.auth, name, change)
    await request.app[MASTER].call("change_script", ask, ScriptView)
    return see(f"/scripts/{name}")


async def change_version(request: web.Request, caller: Caller) -> web.StreamResponse:
    form, name = await own_form(request), identifier(request, "script")
    ask = ChangeVersion(caller.auth, name, version_number(request), form.word("state"))
    await request.app[MASTER].call("change_script_version", ask, VersionView)
    return see(f"/scripts/{name}")


async def show_diff(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Two versions side by side."""
    given, name = filters(request, "left", "right"), identifier(request, "script")
    numbers = [given.get(side, "") for side in ("left", "right")]
    if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in numbers):
        raise NotFound("left and right take numbers of versions")
    left, right = [await _version(request, caller, name, int(text)) for text in numbers]
    found = await request.app[DIFFS].of_texts(
        (left.script or "").encode(), (right.script or "").encode()
    )
    return await framed(
        request,
        caller,
        "script_diff.html",
        name=name,
        left=left,
        right=right,
        pairs=pairs_of(found.lines),
        cut=found.cut,
    )


async def _script(request: web.Request, caller: Caller) -> ScriptView:
    ask = GetScript(caller.auth, identifier(request, "script"))
    return await request.app[MASTER].call("get_script", ask, ScriptView)


async def _version(request: web.Request, caller: Caller, name: str, number: int) -> VersionView:
    ask = GetScript(caller.auth, name, number)
    return await request.app[MASTER].call("get_script_version", ask, VersionView)


async def _one(
    request: web.Request, caller: Caller, script: ScriptView, draft: Draft, status: int = 200
) -> web.StreamResponse:
    return await framed(
        request,
        caller,
        "script.html",
        status=status,
        script=script,
        draft=draft,
        states=VERSION_STATES,
        lines={one.number: [line_of(p) for p in one.parameters] for one in script.versions or ()},
    )


# ---- what is typed


def _draft(form: Form) -> Draft:
    texts = {name: form.word(name) for name in FIELDS}
    return Draft(texts | {name: form.text(name) for name in ("script", "parameters")})


def parameters_of(text: str) -> list[Parameter]:
    """Raises InvalidValue for a line that cannot be read."""
    return [_parameter(line.strip()) for line in text.splitlines() if line.strip()]


def _parameter(line: str) -> Parameter:
    found = _LINE.fullmatch(line)
    if found is None:
        raise InvalidValue(
            f"parameters: {line[:60]!r} can't be read; a line is NAME kind = default # help",
            field="parameters",
        )
    kind, of = found["kind"] or "text", found["of"]
    return Parameter(
        name=found["name"],
        kind=kind,
        help=found["help"] or "",
        default=found["default"],
        optional=found["optional"] is not None,
        pattern=of if of is not None and kind == "text" else None,
        choices=[one.strip() for one in of.split(",")] if of and kind == "choice" else [],
    )


def line_of(parameter: Parameter) -> str:
    """As one would have typed it."""
    of = parameter.pattern if parameter.kind == "text" else ", ".join(parameter.choices)
    kind = parameter.kind + (f"({of})" if of else "")
    line = parameter.name + ("?" if parameter.optional else "")
    if kind != "text":
        line += f" {kind}"
    if parameter.default is not None:
        line += f" = {parameter.default}"
    return line + (f" # {parameter.help}" if parameter.help else "")


def pairs_of(lines: list[DiffLine]) -> list[Pair]:
    """What was removed beside what was added in its place."""
    pairs: list[Pair] = []
    removed: list[str] = []
    added: list[str] = []

    def pour() -> None:
        pairs.extend(Pair(left, right, same=False) for left, right in zip_longest(removed, added))
        removed.clear()
        added.clear()

    for line in lines:
        text = readable(line.text.encode("utf-8", "replace"))
        if line.kind == "removed":
            removed.append(text)
        elif line.kind == "added":
            added.append(text)
        else:
            pour()
            text = text if line.kind == "same" else "…"
            pairs.append(Pair(text, text, same=True))
    pour()
    return pairs[1:] if pairs and pairs[0].left == "…" else pairs
