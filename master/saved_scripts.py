"""What is a saved script? Versions that never change under a name, kept in the store.

A version is a draft, online or disabled. Whoever names its number may run a draft; "latest" is
the newest one online. What is disabled, a version or the whole script, runs no more: a
submission is refused, and runs that wait are skipped in the same transaction.
"""

import hashlib
import re
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from master import audit
from master.audit import Act
from master.books import without_waiting
from master.changes import Changed
from master.effects import Effects, task_of
from master.parameters import check_parameters
from master.plan_uses import plans_that_refer
from master.reader import Reader
from master.rows import to_json
from master.schedule_uses import Refers, schedules_that_refer
from master.task import QUEUE
from master.transaction import Tx
from utils import iso
from wire.errors import Conflict, InvalidValue, NotFound, TooLarge
from wire.messages import MAX_SCRIPT_BYTES
from wire.scripts import (
    DISABLED,
    VERSION_STATES,
    NewScript,
    NewVersion,
    Parameter,
    ScriptChange,
    ScriptUse,
    ScriptView,
    VersionView,
)
from wire.states import ENDED_TASK

MAX_SCRIPTS = 5000
MAX_VERSIONS = 1000
MAX_TEXT_CHARACTERS = 2000
RECENT_TASKS = 20

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_decode_parameters = msgspec.json.Decoder(list[Parameter]).decode


class Version(Struct, frozen=True):
    """A version that may run now, with its script."""

    name: str
    number: int
    script: bytes
    parameters: list[Parameter]


# ---- reading


def all_scripts(reader: Reader) -> list[ScriptView]:
    return [_view(row) for row in reader.rows("saved_scripts")]


def one(reader: Reader, name: str) -> ScriptView:
    """With its versions and the tasks made from it. Raises NotFound."""
    view = _view(_row(reader, name))
    view.versions = [_version_view(row) for row in reader.rows("script_versions", name=name)]
    schedules = {
        one.id: _use_of(one)
        for one in schedules_that_refer(reader)
        if one.saved and one.saved.script == name
    }
    plans = {
        one.id: ScriptUse("plan", one.id, one.name, str(one.saved.version or "latest"), "RUNNING")
        for one in plans_that_refer(reader)
        if one.saved and one.saved.script == name
    }
    view.uses = [*schedules.values(), *plans.values()] + [
        ScriptUse("task", id, title, str(number), state, iso(created_at))
        for id, title, number, state, created_at in reader.rows(
            "tasks_of_saved_script", name=name, limit=RECENT_TASKS
        )
    ]
    return view


def one_version(reader: Reader, name: str, number: int) -> VersionView:
    """With its script. Raises NotFound."""
    row = _version_row(reader, name, number)
    view = _version_view(row)
    view.script = _content(reader, row[2]).decode()
    return view


def runnable(reader: Reader | Tx, name: str, version: int | None) -> Version:
    """The version that a submission means; None: the latest online. Raises NotFound, Conflict."""
    found = _view(_row(reader, name))
    if found.disabled:
        raise Conflict(f"the script {name} is disabled")
    number = found.latest if version is None else version
    if number is None:
        raise Conflict(f"no version of the script {name} is online")
    row = _version_row(reader, name, number)
    if row[1] == DISABLED:
        raise Conflict(f"version {number} of the script {name} is disabled")
    return Version(name, number, _content(reader, row[2]), _decode_parameters(row[7]))


# ---- changing


def add(tx: Tx, new: NewScript, act: Act) -> ScriptView:
    """Raises InvalidValue, TooLarge, Conflict."""
    if not _NAME.fullmatch(new.name):
        raise InvalidValue(
            f"name is {new.name[:70]!r}; it takes 1 to 63 of A-Z a-z 0-9 . _ -", field="name"
        )
    _check_text("description", new.description)
    if tx.row("saved_script", name=new.name) is not None:
        raise Conflict(f"there is a script {new.name} already", field="name")
    if len(tx.rows("saved_scripts")) >= MAX_SCRIPTS:
        raise Conflict(f"there are {MAX_SCRIPTS} saved scripts, the most there may be")
    tx.execute(
        "insert_saved_script",
        name=new.name,
        description=new.description,
        by=act.who,
        now=tx.now,
    )
    audit.append(tx, act, f"script:{new.name}")
    version = NewVersion(new.script, new.parameters, new.note, new.state)
    return _add_version(tx, new.name, version, act)


def add_version(tx: Tx, name: str, new: NewVersion, act: Act) -> ScriptView:
    """Raises NotFound, InvalidValue, TooLarge, Conflict."""
    view = _add_version(tx, name, new, act)
    audit.append(tx, act, f"script:{name}", version=view.newest, state=new.state)
    return view


def _add_version(tx: Tx, name: str, new: NewVersion, act: Act) -> ScriptView:
    script = _checked_script(new.script)
    _check_text("note", new.note)
    _check_state(new.state)
    check_parameters(new.parameters)
    found = _view(_row(tx, name))
    if found.newest >= MAX_VERSIONS:
        raise Conflict(f"the script {name} has {MAX_VERSIONS} versions, the most there may be")
    sha256 = hashlib.sha256(script).hexdigest()
    tx.execute("insert_script", sha256=sha256, content=script)
    tx.execute(
        "insert_script_version",
        name=name,
        number=found.newest + 1,
        state=new.state,
        script=sha256,
        bytes=len(script),
        parameters=to_json(new.parameters),
        note=new.note,
        by=act.who,
        now=tx.now,
    )
    found.newest += 1
    _write(tx, found, act)
    return _view(_row(tx, name))


def change(tx: Tx, name: str, wanted: ScriptChange, act: Act) -> tuple[ScriptView, Changed]:
    """Raises NotFound, InvalidValue."""
    found = _view(_row(tx, name))
    if wanted.description is not UNSET:
        _check_text("description", wanted.description)
        found.description = wanted.description
    stopped = Changed()
    if wanted.disabled is not UNSET and wanted.disabled != found.disabled:
        found.disabled = wanted.disabled
        if found.disabled:
            stopped = _stop(tx, name, None, f"the script {name} was disabled by {act.who}")
    _write(tx, found, act)
    audit.append(tx, act, f"script:{name}", disabled=found.disabled)
    return _view(_row(tx, name)), stopped


def change_version(
    tx: Tx, name: str, number: int, state: str, act: Act
) -> tuple[VersionView, Changed]:
    """Raises NotFound, InvalidValue."""
    _check_state(state)
    _version_row(tx, name, number)
    tx.execute("update_script_version", name=name, number=number, state=state)
    stopped = Changed()
    if state == DISABLED:
        reason = f"version {number} of the script {name} was disabled by {act.who}"
        stopped = _stop(tx, name, number, reason)
    audit.append(tx, act, f"script:{name}", version=number, state=state)
    return _version_view(_version_row(tx, name, number)), stopped


def _stop(tx: Tx, name: str, number: int | None, reason: str) -> Changed:
    """Skip what waits of the tasks made from it; what runs goes on."""
    tx.flush()
    effects = Effects(tx)
    for (id,) in tx.rows("open_tasks_of_saved_script", name=name, number=number):
        task = task_of(tx, id)
        if task.state not in ENDED_TASK and (task.waiting or task.mode == QUEUE):
            effects.apply(without_waiting(task, reason, tx.now))
    return effects.changed()


# ---- below


def _row(reader: Reader | Tx, name: str) -> tuple[Any, ...]:
    row = reader.row("saved_script", name=name)
    if row is None:
        raise NotFound(f"there is no saved script {name}")
    return row


def _version_row(reader: Reader | Tx, name: str, number: int) -> tuple[Any, ...]:
    row = reader.row("script_version", name=name, number=number)
    if row is None:
        raise NotFound(f"there is no version {number} of a saved script {name}")
    return row


def _content(reader: Reader | Tx, sha256: str) -> bytes:
    row = reader.row("script", sha256=sha256)
    assert row is not None, f"the script {sha256} of a version is gone"
    content: bytes = row[0]
    return content


def _view(row: tuple[Any, ...]) -> ScriptView:
    name, description, disabled, newest, changed_by, changed_at, latest = row
    return ScriptView(
        name=name,
        description=description,
        disabled=bool(disabled),
        latest=None if disabled else latest,
        newest=newest,
        changed_by=changed_by,
        changed_at=iso(changed_at) or "",
    )


def _version_view(row: tuple[Any, ...]) -> VersionView:
    number, state, sha256, size, note, author, created_at, parameters = row
    return VersionView(
        number=number,
        state=state,
        sha256=sha256,
        bytes=size,
        note=note,
        author=author,
        created_at=iso(created_at) or "",
        parameters=_decode_parameters(parameters),
    )


def _use_of(schedule: Refers) -> ScriptUse:
    assert schedule.saved is not None
    version = "latest" if schedule.saved.version is None else str(schedule.saved.version)
    state = "paused" if schedule.is_paused else "active"
    return ScriptUse("schedule", schedule.id, schedule.name, version, state)


def _write(tx: Tx, view: ScriptView, act: Act) -> None:
    tx.execute(
        "update_saved_script",
        name=view.name,
        description=view.description,
        disabled=view.disabled,
        newest=view.newest,
        by=act.who,
        now=tx.now,
    )


def _checked_script(text: str) -> bytes:
    try:
        script = text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("script has a lone surrogate; it takes text", field="script") from None
    if not script:
        raise InvalidValue("script is empty; it takes the text of a shell script", field="script")
    if len(script) > MAX_SCRIPT_BYTES:
        raise TooLarge(
            f"script has {len(script)} bytes; at most {MAX_SCRIPT_BYTES} are taken", field="script"
        )
    return script


def _check_text(field: str, text: str) -> None:
    if len(text) > MAX_TEXT_CHARACTERS or not text.replace("\n", " ").isprintable():
        raise InvalidValue(
            f"{field}: it takes at most {MAX_TEXT_CHARACTERS} printable characters", field=field
        )


def _check_state(state: str) -> None:
    if state not in VERSION_STATES:
        raise InvalidValue(
            f"state is {state[:60]!r}; it takes {', '.join(VERSION_STATES)}", field="state"
        )
