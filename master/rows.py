"""How does a record become a row and back? And where is the SQL?

Many rows travel in one statement, as one JSON array: each step of a statement gives up
the interpreter lock, and beside a busy hub it comes back only after the switch interval.
So a hundred results cost as many steps as one. The SQL stands in .sql files, by name;
this module fills in the lists of columns, which are those of the records.
"""

import operator
import re
import types
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from master.engine import DIALECT
from master.plan import Plan
from master.records import Agent, Attempt, Queue, Run, Task
from master.schedule import Schedule


class AgentRow(Agent, array_like=True, frozen=True, kw_only=True):
    row_version: int = 0


class TaskRow(Task, array_like=True, frozen=True, kw_only=True):
    script: str = ""  # SHA-256 of its content
    row_version: int = 0


class RunRow(Run, array_like=True, frozen=True, kw_only=True):
    row_version: int = 0


class QueueRow(Queue, array_like=True, frozen=True, kw_only=True):
    row_version: int = 0


class AttemptRow(Attempt, array_like=True, frozen=True, kw_only=True):
    row_version: int = 0


Row = TypeVar("Row", bound=Struct)

ROWS: dict[str, type[Struct]] = {
    "agents": AgentRow,
    "tasks": TaskRow,
    "runs": RunRow,
    "queues": QueueRow,
    "attempts": AttemptRow,
    "schedules": Schedule,
    "plans": Plan,
}
COLUMN_OF = {"grant": "granted_no"}  # `grant` is a word of SQL
# `last_seen` is not among them: it is written by itself, without a decision.
CHANGES: dict[str, tuple[str, ...]] = {
    "agents": (
        "hostname",
        "ip",
        "labels",
        "facts",
        "version",
        "machine",
        "instance",
        "past_instances",
        "slots",
        "standing",
        "granted",
        "acked",
        "claimed_hostname",
        "reason",
    ),
    "tasks": (
        "state",
        "reason",
        "stop",
        "started_at",
        "ended_at",
        "parallel",
        "fail_count",
        "fail_rate",
        "priority",
        "expires_at",
        "rolling",
        "between_waves",
        "wave_pause",
        "wave",
        "wave_part",
        "wave_size",
        "wave_failed",
        "released",
        "resume_at",
        "open",
        "total",
        "waiting",
        "running",
        "succeed",
        "failed",
        "timeout",
        "cancelled",
        "skipped",
        "unknown",
        "cancelled_by",
    ),
    "queues": (
        "rate",
        "burst",
        "tokens",
        "tokens_at",
        "per_agent",
        "agents_max",
        "max_attempts",
        "items",
        "taken",
        "retry_at",
        "rest",
        "rest_reason",
        "slowest",
        "filling",
    ),
    "attempts": (
        "state",
        "reason",
        "told",
        "code",
        "started_at",
        "ended_at",
        "output_bytes",
        "output_stored",
        "output_sha256",
        "output_gap",
    ),
    # What only another attempt changes is written by `update_retries`, for the few of which it is.
    "runs": (
        "attempt",
        "state",
        "reason",
        "want",
        "grant",
        "instance",
        "start_by",
        "settled",
        "started_at",
        "ended_at",
        "granted_at",
        "code",
        "killed",
        "survivors",
        "left_running",
        "output_bytes",
        "output_stored",
        "output_sha256",
        "output_gap",
        "cancelled_by",
    ),
}

_encode = msgspec.json.Encoder().encode
_rows_of: dict[type[Struct], msgspec.json.Decoder[Any]] = {
    row: msgspec.json.Decoder(list[row], strict=False)  # type: ignore[valid-type]
    for row in (AgentRow, TaskRow, RunRow, QueueRow, AttemptRow)
}
_changed_of: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    table: operator.attrgetter("id", "row_version", *names) for table, names in CHANGES.items()
}
_whole_of: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    table: operator.attrgetter(*ROWS[table].__struct_fields__) for table in ("runs", "attempts")
}


def decode_rows(row: type[Row], text: str | None) -> list[Row]:
    """The answer of a query that collects; strict=False because SQLite's booleans are 0 and 1."""
    found: list[Row] = _rows_of[row].decode(text or "[]")
    return found


def encode_changes(table: str, rows: Iterable[Struct]) -> str:
    changed = _changed_of[table]
    return _encode([changed(row) for row in rows]).decode()


def encode_whole(table: str, rows: Iterable[Struct]) -> str:
    """All columns of rows that are new, for `$new`."""
    whole = _whole_of[table]
    return _encode([whole(row) for row in rows]).decode()


def to_json(value: object) -> str:
    return _encode(value).decode()


# ---- named SQL


def load_queries() -> dict[str, str]:
    """{name: SQL} of all .sql files beside this one, with `:name` parameters."""
    files = sorted(f.name for f in resources.files("master").iterdir() if f.name.endswith(".sql"))
    text = "\n".join((resources.files("master") / name).read_text() for name in files)
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    named = dict(zip(parts[::2], parts[1::2], strict=True))
    return {name: _fill(_bare(sql)) for name, sql in named.items()}


def _bare(sql: str) -> str:
    return re.sub(r"^\s*--[^\n]*\n?", "", sql, flags=re.MULTILINE).strip().rstrip(";")


def _fill(sql: str) -> str:
    """$word is the engine's word; the others are columns: $row(table, alias), $changes(table) and
    $set(table) for updates, $columns(table) and $new(table) for inserts."""
    sql = re.sub(r"\$row\((\w+), (\w+)\)", lambda m: _row(m[1], m[2]), sql)
    sql = re.sub(r"\$changes\((\w+)\)", lambda m: _changes(m[1]), sql)
    sql = re.sub(r"\$set\((\w+)\)", lambda m: _set(m[1]), sql)
    sql = re.sub(r"\$columns\((\w+)\)", lambda m: _columns(m[1]), sql)
    sql = re.sub(r"\$new\((\w+)\)", lambda m: _new(m[1]), sql)
    return re.sub(r"\$(\w+)", lambda m: DIALECT[m[1]], sql)


def _row(table: str, alias: str) -> str:
    hints = get_type_hints(ROWS[table])
    names = ROWS[table].__struct_fields__
    return f"$array({', '.join(_read(alias, name, hints[name]) for name in names)})"


def _read(alias: str, name: str, kind: Any) -> str:
    column = f"{alias}.{COLUMN_OF.get(name, name)}"
    return f"$json({column})" if _is_nested(kind) else column


def _changes(table: str) -> str:
    hints = get_type_hints(ROWS[table])
    names = ("id", "row_version", *CHANGES[table])
    return ", ".join(
        f"{_write(place, hints[name])} AS {COLUMN_OF.get(name, name)}"
        for place, name in enumerate(names)
    )


def _columns(table: str) -> str:
    return ", ".join(COLUMN_OF.get(name, name) for name in ROWS[table].__struct_fields__)


def _new(table: str) -> str:
    hints = get_type_hints(ROWS[table])
    names = ROWS[table].__struct_fields__
    return ", ".join(_write(place, hints[name]) for place, name in enumerate(names))


def _write(place: int, kind: Any) -> str:
    text = f"j.value ->> {place}"
    cast = {int: "BIGINT", float: "DOUBLE PRECISION", bool: "BOOLEAN"}
    for plain, sql_type in cast.items():
        if plain in _kinds(kind):
            return f"CAST({text} AS {sql_type})"
    return text


def _set(table: str) -> str:
    columns: Sequence[str] = [COLUMN_OF.get(name, name) for name in CHANGES[table]]
    return ", ".join(f"{column} = new.{column}" for column in columns)


def _is_nested(kind: Any) -> bool:
    """Is the column a text of JSON?"""
    return any(
        get_origin(one) in (list, dict, tuple)
        or (isinstance(one, type) and issubclass(one, Struct))
        for one in _kinds(kind)
    )


def _kinds(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
