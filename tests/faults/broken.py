"""What if a promise were broken on purpose? Starts a program with one decision replaced.

For tests alone: `broken.py PROGRAM …` starts the program as it is, unless BROKEN names a
breach. Each is a mistake that is easily made, and of which the checker must hear.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def skip_the_journal() -> None:
    """The agent believes that it has written its journal."""
    from agent.journal import Journal

    Journal._commit = lambda self, payload: None  # type: ignore[method-assign]


def start_before_the_journal() -> None:
    """The agent starts what it was handed, and then writes it down; a kill may come between."""
    import gevent

    from agent.runs import Runs
    from utils import failpoint

    journalled = Runs._journalled

    def too_late(self: Runs, entries: Any, hw: int) -> bool:
        for entry in entries:
            self._executor.start(entry)
        gevent.sleep(1)
        failpoint("between")
        return journalled(self, entries, hw)

    Runs._journalled = too_late  # type: ignore[method-assign]


def hand_out_twice() -> None:
    """The first result of a run frees it for another hand-out, as an expired lease would."""
    from msgspec.structs import replace

    from master import outcome
    from master.books import Change
    from master.task import count
    from wire.states import RunState

    finish, seen = outcome.finish, set[str]()

    def free(task: Any, run: Any, result: Any, now: float, queue: Any = None) -> Change | None:
        if run.id in seen or run.state is not RunState.RUNNING:
            return finish(task, run, result, now, queue)
        seen.add(run.id)
        task = count(task, RunState.RUNNING, RunState.WAITING)
        run = replace(
            run,
            state=RunState.WAITING,
            attempt=run.attempt + 1,
            grant=None,
            instance=None,
            output_bytes=0,
            output_stored=0,
            output_sha256=None,
        )
        return Change(tasks=(task,), runs=(run,))

    outcome.finish = free


def acknowledge_before_commit() -> None:
    """What is done is spoken of at once, and committed three seconds later."""
    from master import database
    from master.transaction import Tx

    began_at = 0.0

    def try_lazily(self: Any, items: list[Any]) -> Exception | None:
        nonlocal began_at
        connection = self._connected()
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
            began_at = time.monotonic()
        tx = Tx(connection, self._queries, self._clock())
        tx.prefetch(item.needs for item in items)
        for item in items:
            self._run(tx, connection, item)
        tx.finish()
        if time.monotonic() - began_at > 3:
            connection.execute("COMMIT")
        return None

    database._Writer._try = try_lazily  # type: ignore[method-assign]


def forget_the_window() -> None:
    """The master stores each task as one whose runs may all start at once."""
    from msgspec.structs import replace

    from master import intake

    add_task = intake.add_task
    intake.add_task = lambda tx, new, act: add_task(tx, replace(new, parallel=0), act)


BREACHES: dict[str, Callable[[], None]] = {
    breach.__name__: breach
    for breach in (
        skip_the_journal,
        start_before_the_journal,
        hand_out_twice,
        acknowledge_before_commit,
        forget_the_window,
    )
}


def main() -> int:
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    del sys.argv[0]
    program = importlib.import_module(Path(sys.argv[0]).stem)  # which patches, first of all
    if name := os.environ.get("BROKEN"):
        BREACHES[name]()
    code: int = program.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
