"""How is the store's file opened, and what does SQLite say differently from PostgreSQL?

All that depends on the engine is in this file: connections, the few words of SQL in
which the two differ, which error means what, and the numbered migrations.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from enum import Enum
from importlib import resources
from pathlib import Path

from wire.errors import Refusal, StoreFull, Unavailable

DIALECT = {
    "each": "json_each",  # json_array_elements
    "array": "json_array",  # json_build_array
    "collect": "json_group_array",  # json_agg
    "json": "json",  # a column of JSON text, as JSON
}
BUSY_TIMEOUT_MS = 2000
CACHE_KIB = 16 << 10
# A checkpoint stops the writer for some milliseconds, so it comes once in 16 MiB of log, not four
# times as often, which is the default; a log that one burst made long is cut back afterwards.
CHECKPOINT_PAGES = 4000
LOG_LIMIT_BYTES = 64 << 20
# What a migration wants besides, in words that are SQLite's own, by its number.
_OWN_WORDS = {
    6: [
        f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit"
        " BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END"
        for event in ("UPDATE", "DELETE")
    ]
}


class StoreTooNew(Refusal):
    """The store was written by a newer version of mschedule; this one would damage it."""

    code, status = "store_too_new", 500


class Trouble(Enum):
    """What an error of the engine means for a transaction."""

    BUSY = "busy"  # somebody else holds the lock: try again
    FULL = "full"  # no room: refuse
    BROKEN = "broken"  # input or output failed, the outcome may be unknown: connect and try again
    OURS = "ours"  # our SQL or our rows are wrong: trying again would fail again


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that any one thread at a time may use; transactions are begun by hand."""
    if not read_only:
        _make_private(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
    try:
        _configure(connection, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Make the file if there is none. One that is there must not even be opened:

    to close any descriptor of it would take away the locks (POSIX's, one set a process) of all
    our connections. Another process that lets the store go would then think itself the last,
    and delete the log to which we go on writing.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is deleted is not overwritten where that alone would be a reason to write a page:
    # forgetting ten megabytes of output would then cost ten megabytes of log.
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the store's file has in use: pages that were freed are there for the next rows."""
    pragmas = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
    used: int = (pages - free) * size
    return used


def trouble_of(error: Exception) -> Trouble:
    """Python's names of SQLite's codes; the low byte is the primary code."""
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.DatabaseError) or code is None:
        return Trouble.OURS
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Trouble.BUSY
    if primary == sqlite3.SQLITE_FULL:
        return Trouble.FULL
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return Trouble.BROKEN
    return Trouble.OURS


def refusal_of(error: Exception) -> Exception:
    """What to tell whoever waits for a transaction that was given up."""
    match trouble_of(error):
        case Trouble.FULL:
            return StoreFull()
        case Trouble.BUSY | Trouble.BROKEN:
            return Unavailable(f"the store cannot be written now: {error}")
    return error


# ---- migrations


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the schema up to date, each step in a transaction of its own; returns its version.

    A step is told by its number, not by how many there were: changes that were made side by
    side may reach a store in either order. Raises StoreTooNew, and leaves the store as it is,
    when it knows more than this code.
    """
    steps = dict(migrations())
    done = _applied(connection)
    if unknown := done - steps.keys():
        raise StoreTooNew(
            f"the store has schema {max(unknown)}, this version of mschedule knows up to"
            f" {max(steps)}: start the newer version, or restore a backup"
        )
    for number, sql in steps.items():
        if number not in done:
            _apply(connection, number, sql)
    return max(steps)


def _applied(connection: sqlite3.Connection) -> set[int]:
    known = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
    ).fetchone()
    if not known[0]:
        return set()
    return {number for (number,) in connection.execute("SELECT number FROM migrations")}


def migrations() -> Iterator[tuple[int, str]]:
    """(number, SQL), in order."""
    folder = resources.files("master") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    for name in names:
        yield int(name.split("_", 1)[0]), (folder / name).read_text()


def statements(sql: str) -> Iterator[str]:
    """The statements of a migration; none of ours has a semicolon inside."""
    bare = re.sub(r"--[^\n]*", "", sql)
    return (statement.strip() for statement in bare.split(";") if statement.strip())


def _apply(connection: sqlite3.Connection, number: int, sql: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in (*statements(sql), *_OWN_WORDS.get(number, ())):
            connection.execute(statement)
        connection.execute("INSERT INTO migrations (number) VALUES (?)", (number,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
