"""What is a reading verb given? Statements by name, on one snapshot of committed state."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from master.engine import Trouble, connect, refusal_of, trouble_of

T = TypeVar("T")


class Reader:
    """Belongs to one thread, and has a connection of its own."""

    def __init__(self, path: Path, queries: Mapping[str, str], clock: Callable[[], float]):
        self._path = path
        self._queries = queries
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    @property
    def now(self) -> float:
        return self._clock()

    def attempt(self, op: Callable[["Reader"], T]) -> T | BaseException:
        """One snapshot for all statements of `op`; what it raises is its result."""
        try:
            if self._connection is None:
                self._connection = connect(self._path, read_only=True)
            self._connection.execute("BEGIN")
            try:
                return op(self)
            finally:
                self._connection.execute("ROLLBACK")
        except Exception as error:
            if trouble_of(error) is Trouble.BROKEN:
                self.close()
            return refusal_of(error)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(self, name: str, /, **values: object) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        return self._connection.execute(self._queries[name], values).fetchall()

    def row(self, name: str, /, **values: object) -> tuple[Any, ...] | None:
        found = self.rows(name, **values)
        return found[0] if found else None

    def each(self, name: str, /, **values: object) -> Iterable[tuple[Any, ...]]:
        assert self._connection is not None
        return self._connection.execute(self._queries[name], values)
