"""Is a submission sound, and what does it come to as a task?

The web checks the form (JSON, types, unknown fields); every value is judged here,
with a sentence that names the field, the value and what would be right.
"""

import base64
import binascii
import math
import re
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import asdict

from master import waves
from master.callback_rules import check_names
from master.queue_rules import CHANGEABLE as OF_QUEUES
from master.queue_rules import check_mode
from master.records import Task
from master.submission_secrets import refuse_secrets
from master.task import resolve_parallel
from wire.defaults import QUEUE, limits_of, spelled_out
from wire.errors import InvalidValue, TooLarge
from wire.messages import MAX_SCRIPT_BYTES
from wire.requests import Submission, TaskChanges

MAX_SECONDS = 10 * 365 * 86400
MAX_PRIORITY = 1000
MAX_TARGETS = 100_000
MAX_NAME_CHARACTERS = 200
MAX_ARGS = 1000
MAX_ARGS_BYTES = 96 << 10  # Linux takes 128 KiB for one argument and more for all
MAX_KEY_CHARACTERS = 200
MAX_CALLBACKS = 20

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"[A-Za-z_0-9][A-Za-z0-9_.@-]*\$?")


class Plan(Struct, frozen=True):
    """A sound submission: what a task row needs of it, limits resolved against `total` later.

    `submission` has no field open any more that depends on its mode, and its items are texts.
    """

    script: bytes
    parallel: int | str
    expires_in: float
    lost_after: float
    fail_count: int | None
    fail_rate: float | None
    submission: Submission


def check(submission: Submission, *, takes_secrets: bool = False) -> Plan:
    """The plan, or InvalidValue / TooLarge with the field that is wrong.

    `takes_secrets`: the caller keeps them sealed; whoever does not must not write them down.
    """
    if not takes_secrets:
        refuse_secrets(submission)
    script = _script(submission)
    submission = spelled_out(check_mode(submission))
    limits = limits_of(submission)
    _choices(submission)
    _numbers(submission)
    _words(submission)
    if not submission.targets:
        raise _wrong("targets", "[]", "at least one agent id, or an expression such as web[01-20]")
    count, rate = _limits(submission)
    _check_waves(submission)
    _check_callbacks(submission.callbacks)
    _check_parallel(limits.parallel)
    return Plan(
        script, limits.parallel, limits.expires_in, limits.lost_after, count, rate, submission
    )


def check_changes(task: Task, changes: TaskChanges) -> tuple[dict[str, Any], Plan]:
    """What of a task shall have another value, by field, and the plan that this makes.

    Raises InvalidValue as `check` does; of the plan only what can be changed means anything.
    """
    given = {name: value for name, value in asdict(changes).items() if value is not UNSET}
    if not given:
        names = ", ".join(TaskChanges.__struct_fields__)
        raise InvalidValue(f"nothing is to be changed; give one or more of {names}")
    if task.mode == QUEUE:
        return given, check(_queue_with(task, given))
    _refuse_what_it_has_not(task, given)
    limits = {name: task.settings.get(name) for name in ("fail_count", "fail_rate")}
    as_new: dict[str, Any] = {**limits, "rolling": task.rolling or None, **given}
    return given, check(Submission(script="true", targets="@*", **as_new))


def _queue_with(task: Task, given: dict[str, Any]) -> Submission:
    """Some settings of a queue bound each other: a burst is for a rate, and holds a batch."""
    names = ("fail_count", "fail_rate", "parallel", "batch", *OF_QUEUES)
    as_it_is = {name: task.settings[name] for name in names if name in task.settings}
    if given.get("rate", 1.0) is None and "burst" not in given:
        as_it_is["burst"] = None
    as_new: dict[str, Any] = {**as_it_is, **given}
    return Submission(script="true", mode=QUEUE, open=True, **as_new)


def _refuse_what_it_has_not(task: Task, given: dict[str, Any]) -> None:
    for field in OF_QUEUES:
        if field in given:
            raise InvalidValue(f"{field}: the task is no queue", field=field)
    waves_named = [name for name in ("rolling", "between_waves", "wave_pause") if name in given]
    if waves_named and not task.rolling:
        field = waves_named[0]
        raise InvalidValue(f"{field}: the task was submitted without waves", field=field)


def check_key(key: str | None) -> None:
    """An Idempotency-Key is 1 to 200 printable ASCII characters."""
    if key is None:
        return
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isascii() or not key.isprintable():
        raise _wrong(
            "Idempotency-Key",
            _short(key),
            f"1 to {MAX_KEY_CHARACTERS} ASCII characters",
        )


def _script(submission: Submission) -> bytes:
    text, coded = submission.script, submission.script_base64
    if text is not None and coded is not None:
        raise InvalidValue(
            "script and script_base64 are both given; give one of them", field="script_base64"
        )
    if coded is not None:
        field, script = "script_base64", _decoded(coded)
    else:
        field, script = "script", _encoded(text or "")
    if not script:
        raise InvalidValue(f"{field} is empty; it takes the text of a shell script", field=field)
    if len(script) > MAX_SCRIPT_BYTES:
        raise TooLarge(
            f"{field} has {len(script)} bytes; at most {MAX_SCRIPT_BYTES} are taken", field=field
        )
    return script


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            "script has a lone surrogate; send bytes that are not text as script_base64",
            field="script",
        ) from error


def _decoded(coded: str) -> bytes:
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong("script_base64", _short(coded), "standard base64 with padding") from error


def _choices(submission: Submission) -> None:
    for field, allowed in (
        ("on_limit", ("finish", "kill")),
        ("offline", ("wait", "skip")),
        ("between_waves", waves.BETWEEN),
    ):
        value = getattr(submission, field)
        if value not in allowed:
            raise _wrong(field, _short(value), " or ".join(allowed))


def _numbers(submission: Submission) -> None:
    for field, least in (
        ("timeout", 0),
        ("grace", 0),
        ("expires_in", 1),
        ("lost_after", 1),
        ("wave_pause", 0),
    ):
        value = getattr(submission, field)
        if not math.isfinite(value) or not least <= value <= MAX_SECONDS:
            raise _wrong(field, repr(value), f"seconds from {least} to {MAX_SECONDS}")
    if not -MAX_PRIORITY <= submission.priority <= MAX_PRIORITY:
        raise _wrong(
            "priority",
            str(submission.priority),
            f"a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}",
        )


def _limits(submission: Submission) -> tuple[int | None, float | None]:
    """(fail_count, fail_rate), None where failures never stop the task."""
    count, rate = submission.fail_count, submission.fail_rate
    if rate is not None and not (math.isfinite(rate) and 0 <= rate <= 1):
        raise _wrong("fail_rate", repr(rate), "a fraction from 0 to 1, such as 0.1")
    if count is not None and count < -1:
        raise _wrong("fail_count", str(count), "0 or more, or -1 for no limit")
    if count == -1 and rate:
        raise InvalidValue(
            f"fail_count -1 (failures never stop the task) contradicts fail_rate {rate!r}; "
            "give one of them",
            field="fail_count",
        )
    if count == -1:
        return None, None
    return count, rate


def _check_parallel(parallel: int | str) -> None:
    try:
        resolve_parallel(parallel, 1)
    except ValueError as error:
        raise InvalidValue(f"parallel {error}", field="parallel") from error


def _check_waves(submission: Submission) -> None:
    if submission.rolling is not None:
        check_rolling(submission.rolling)
        return
    for field, plain in (("between_waves", waves.GO), ("wave_pause", 0)):
        value = getattr(submission, field)
        if value != plain:
            raise InvalidValue(
                f"{field} is {value!r}, but the task has no waves; give rolling, such as 1 10% +10",
                field=field,
            )


def _check_callbacks(names: list[str]) -> None:
    """Whether they are there is for the store to say."""
    if len(names) > MAX_CALLBACKS:
        raise InvalidValue(
            f"callbacks: {len(names)} are named; at most {MAX_CALLBACKS}", field="callbacks"
        )
    check_names("callbacks", names)


def check_rolling(rolling: str) -> None:
    try:
        waves.parse(rolling)
    except ValueError as error:
        raise InvalidValue(f"rolling {error}", field="rolling") from error


def _words(submission: Submission) -> None:
    _text("name", submission.name, MAX_NAME_CHARACTERS)
    if submission.user is not None and not _USER.fullmatch(submission.user):
        raise _wrong("user", _short(submission.user), "the name of a user")
    if submission.cwd is not None and (
        not submission.cwd.startswith("/") or "\0" in submission.cwd
    ):
        raise _wrong("cwd", _short(submission.cwd), "a path that begins with /")
    _arguments(submission.args)
    _environment(submission.env)


def _text(field: str, value: str, most: int) -> None:
    if len(value) > most or not value.isprintable():
        raise _wrong(field, _short(value), f"at most {most} printable characters")


def _arguments(args: list[str]) -> None:
    if len(args) > MAX_ARGS:
        raise InvalidValue(
            f"args has {len(args)} values; at most {MAX_ARGS} are taken", field="args"
        )
    for arg in args:
        _passable("args", arg)
    if sum(len(arg.encode()) + 1 for arg in args) > MAX_ARGS_BYTES:
        raise InvalidValue(f"args is longer than {MAX_ARGS_BYTES} bytes in all", field="args")


def _environment(env: dict[str, str]) -> None:
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise _wrong("env", _short(name), "names of letters, digits and _")
        if name.startswith("MSCHEDULE_"):
            raise _wrong("env", _short(name), "names that do not begin with MSCHEDULE_")
        _passable("env", value)
    if sum(len(name) + len(value.encode()) + 2 for name, value in env.items()) > MAX_ARGS_BYTES:
        raise InvalidValue(f"env is longer than {MAX_ARGS_BYTES} bytes in all", field="env")


def _passable(field: str, value: str) -> None:
    """What execve can take: no NUL, and encodable."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong(field, _short(value), "text without lone surrogates") from None
    if "\0" in value:
        raise _wrong(field, _short(value), "text without NUL bytes")


def _wrong(field: str, value: str, right: str) -> InvalidValue:
    return InvalidValue(f"{field} is {value}; it takes {right}", field=field)


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:60] + "…")
