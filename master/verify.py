"""Is the audit log as it was written? Walks the chain of a store's file, live or a backup.

It reads the file as another process beside a master, and changes nothing.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from master.chain import Entry, check, link_of
from utils import StartError

STORE = "store.sqlite"
AT_ONCE = 10_000  # rows
_COLUMNS = "seq, at_ms, who, kind, credential, address, action, object, result, detail, hash"


def verify(path: Path, kept: str | None) -> int:
    """Print what was found; 0 if the log is whole, 1 if it is not.

    `path`: the store's file, or the state directory that it lies in. `kept`: SEQ:HASH that was
    written down elsewhere and must be found again.
    """
    link = None if kept is None else link_of(kept)
    file = path / STORE if path.is_dir() else path
    last, broken = check(_records(file), [] if link is None else [link])
    if broken is not None:
        print(f"{file}: the audit log is NOT whole: record {broken.seq} is {broken.why}")
        print(f"up to record {last.seq} it is as it was written")
        return 1
    print(f"{file}: the audit log is whole, {last.seq} records")
    if last.seq:
        print(last)
    if link is None:
        print("keep that line elsewhere: with --verify-audit-against it shows that no end is cut")
    return 0


def _records(file: Path) -> Iterator[tuple[int, Entry, str]]:
    if not file.exists():
        raise StartError(f"{file} is not there: give a store's file, or a state directory")
    connection = _open(file)
    try:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY seq")  # constants  # nosec B608
        rows.arraysize = AT_ONCE
        while found := rows.fetchmany():
            for seq, *values, hash in found:
                yield seq, Entry._make(values), hash
    except sqlite3.DatabaseError as error:
        raise StartError(f"{file} cannot be read as a store: {error}") from None
    finally:
        connection.close()


def _open(file: Path) -> sqlite3.Connection:
    """Where no log lies beside the file nobody has it open: it is read as it stands, and nothing
    is made beside it. A backup may lie where nobody can write."""
    live = file.with_name(f"{file.name}-wal").exists()
    options = "mode=ro" if live else "mode=ro&immutable=1"
    return sqlite3.connect(f"{file.absolute().as_uri()}?{options}", uri=True)
