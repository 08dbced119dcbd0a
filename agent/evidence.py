"""What does a run's directory show the agent? How it ended, its output, what is still alive."""

import base64
import binascii
import os

import msgspec
from msgspec import Struct

from agent import batch, capture, rundir, secret, tree
from agent.records import Entry, TaskSpec
from wire.states import Cause

SHOWN_CHARS = 200  # of a value that cannot be used


class ExitRecord(Struct, frozen=True, kw_only=True):
    """How the script ended, as the supervisor wrote it (or as the agent found: cause broken)."""

    cause: Cause  # exit, timeout, broken, or the cause that was given to stop()
    code: int | None  # 128+n for a signal; None: nothing ran
    reason: str = ""
    started_at: float | None = None  # UNIX time
    ended_at: float | None = None
    killed: bool = False  # signals were sent before the script had ended
    survivors: list[int] = []  # pids that outlived the kill; the kill is proven when empty
    left_running: int = 0
    output_bytes: int = 0  # all that the script wrote
    output_sha256: str | None = None
    output_gap: tuple[int, int] | None = None  # [from, to) that was not kept
    output_head: int = 0  # where the head ends, and how long the ring of the tail is:
    output_ring: int = 0  # for reading the output back
    signalled: bool = False  # the script's own process died by a signal


class OutputChunk(Struct, frozen=True, kw_only=True):
    """Bytes of the output at a logical offset; empty data: nothing more is readable now.

    `gap_from` as in wire.messages.Output: bytes [gap_from, offset) were not kept. A gap at
    the very end is a chunk with a gap, an offset at the end and no data.
    """

    offset: int
    data: bytes
    gap_from: int | None = None


class CannotPrepare(Exception):
    """The run cannot be started; the message is the sentence a person reads."""


# ---- before the start


def prepare(directory: str, entry: Entry, agent_id: str) -> None:
    """Write what the supervisor needs; CannotPrepare or OSError when it cannot be written.

    Not synced: after a power loss a run without a mark never starts.
    """
    if entry.task is None:
        raise CannotPrepare("the master sent no script with this run")
    if entry.task.broken is not None:
        raise CannotPrepare(entry.task.broken)
    script = _script(entry.task)
    spec = rundir.encode_spec(_spec(entry.task, entry, agent_id))
    is_new = _make_directory(directory)
    os.chmod(directory, 0o711)  # the user passes through to its script, and lists nothing  # nosec B103
    if is_new or rundir.read_mark(directory) is None:
        if entry.task.has_secrets and not secret.read(directory):
            raise CannotPrepare("the secrets of the run are no longer on this host")
        if not is_new:
            _remove_file(f"{directory}/exit")  # of a start that failed and was cut short
        rundir.reserve_exit(directory)
        if entry.batch:
            batch.write_files(directory, _encoded("item", entry.item or ""))
        rundir.write_file(f"{directory}/{rundir.SCRIPT}", script, mode=0o700)
        rundir.write_file(f"{directory}/spec", spec)


def _make_directory(directory: str) -> bool:
    """Whether it was not there, as most are not: nothing in it needs a look then."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        return False
    except FileNotFoundError:  # somebody has removed all of them
        os.makedirs(directory)
    return True


def _script(task: TaskSpec) -> bytes:
    try:
        return base64.b64decode(task.script, validate=True)
    except (binascii.Error, ValueError):
        raise CannotPrepare("script: is not base64; the master must send it so") from None


def _spec(task: TaskSpec, entry: Entry, agent_id: str) -> rundir.Spec:
    for name in task.env:
        if not name or "=" in name:
            raise CannotPrepare(f"env: {name!r} is no name; it must not be empty nor hold '='")
    return rundir.Spec(
        task=_encoded("task id", task.id),
        run=_encoded("run id", entry.run),
        agent=_encoded("agent id", agent_id),
        args=[_encoded("args", value) for value in task.args],
        env=[(_encoded("env", name), _encoded("env", task.env[name])) for name in task.env],
        timeout_s=task.timeout,
        grace_s=task.grace,
        head_bytes=task.head_bytes,
        tail_bytes=task.tail_bytes,
        user=None if task.user is None else _encoded("user", task.user),
        cwd=None if task.cwd is None else _encoded("cwd", task.cwd),
        secrets=len(task.secrets) + len(task.secret_files),
        attempt=entry.attempt,
        item=None if entry.item is None or entry.batch else _encoded("item", entry.item),
        batch=entry.batch,
    )


def keep_secrets(directory: str, task: TaskSpec) -> None:
    """Put the values where the supervisor finds them; OSError, or CannotPrepare.

    The one place where the agent looks into them, so its complaints do not quote.
    """
    kept = secret.Secrets(_secret(task.secrets), _secret(task.secret_files))
    os.makedirs(directory, exist_ok=True)
    secret.keep(directory, kept)


def _secret(given: dict[str, str]) -> secret.Pairs:
    pairs = []
    for name, value in given.items():
        try:
            pair = name.encode("ascii"), value.encode()
        except UnicodeEncodeError:
            raise CannotPrepare(f"secrets: {name!r} or its value is not text") from None
        if not name.isidentifier() or b"\0" in pair[1]:
            raise CannotPrepare(f"secrets: {name!r} is no name, or its value holds a NUL")
        pairs.append(pair)
    return pairs


def _encoded(field: str, value: str) -> bytes:
    shown = repr(value if len(value) <= SHOWN_CHARS else f"{value[:SHOWN_CHARS]}…")
    try:
        encoded = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CannotPrepare(f"{field}: {shown} is not text; it must be valid Unicode") from None
    if b"\0" in encoded:
        raise CannotPrepare(f"{field}: {shown} holds a NUL, which no process can be given")
    return encoded


def _remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# ---- how it ended


def read_exit(directory: str) -> ExitRecord | None:
    """None: there is none, or it is torn, which is the same."""
    encoded = rundir.read_file(f"{directory}/exit")
    if encoded is None:
        return None
    try:
        return msgspec.json.decode(encoded, type=ExitRecord)
    except msgspec.MsgspecError:
        return None


def write_broken(directory: str, record: ExitRecord) -> bool:
    """Have it on disk that the run could not be started. False: somebody had decided before.

    The exit comes first: a mark without it would make the run UNKNOWN after a restart, while
    an exit without a mark says nothing.
    """
    os.makedirs(directory, exist_ok=True)
    if rundir.read_mark(directory) is not None:
        return False
    rundir.write_exit(directory, msgspec.to_builtins(record))
    if rundir.make_mark(directory, rundir.STARTED):
        return True
    _remove_file(f"{directory}/exit")
    return False


# ---- its output


def read_output(directory: str, record: ExitRecord | None, offset: int, limit: int) -> OutputChunk:
    """Bytes from `offset` on: of the head while the run lives, then of the tail as well."""
    head = capture.readable_bytes(directory)
    if record is not None:
        head = min(head, record.output_head)
    if record is None or offset < head:
        data = capture.read_head(directory, offset, max(0, min(limit, head - offset)))
        return OutputChunk(offset=offset, data=data)
    return _read_tail(directory, record, head, offset, limit)


def _read_tail(
    directory: str, record: ExitRecord, head: int, offset: int, limit: int
) -> OutputChunk:
    tail_from = record.output_gap[1] if record.output_gap else record.output_head
    at = max(offset, tail_from)
    gap_from = head if head < tail_from and offset <= tail_from else None
    if at >= record.output_bytes:
        return OutputChunk(offset=at, data=b"", gap_from=gap_from)
    limit = min(limit, record.output_bytes - at)
    data = capture.read_tail(directory, at, limit, record.output_head, record.output_ring)
    if not data:  # a power loss took it: what is missing is told as a gap, never waited for
        return OutputChunk(offset=record.output_bytes, data=b"", gap_from=min(head, at))
    return OutputChunk(offset=at, data=data, gap_from=gap_from)


# ---- what is still alive


def orphans(directory: str, run: str) -> set[tree.Process]:
    """Processes of a run whose supervisor is dead; never this agent or what is its own.

    By cgroup where there is one, by descent from the script's first process while that lives,
    and by the run id in the environment.
    """
    table = tree.all_processes()
    found = tree.in_cgroup(rundir.read_cgroup(directory)) | tree.with_run_id(run.encode())
    main = rundir.read_main(directory)
    if main is not None and main[0] in table and table[main[0]].born == main[1]:
        found |= tree.descendants(main[0], table)
        found |= {pid for pid, process in table.items() if process.session == main[0]}
        found.add(main[0])
    alive = {pid for pid in found if pid in table and not table[pid].zombie}
    return {table[pid] for pid in tree.without_agent(alive, os.getpid(), table)}
