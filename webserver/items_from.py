"""How does what one task wrote become the items of another? Read run by run, judged as it comes."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from webserver.context import Caller, Master
from webserver.item_file import Spool
from webserver.items import Lines, checked, of_text
from wire.errors import InvalidValue
from wire.queues import MAX_ITEM_BYTES
from wire.requests import GetOutput, ItemsFrom, ListRuns
from wire.states import ENDED_RUN
from wire.views import OutputView, Page, RunView

RUNS_AT_ONCE = 1_000  # in one list
OUTPUTS_AT_ONCE = 16  # of which the beginning is asked for together
PIECE_BYTES = 256 << 10
SPLITS = ("lines", "output")
_FIELD = "items_from"


async def gather(master: Master, caller: Caller, source: ItemsFrom, spool: Spool) -> None:
    """The items, in the order of the runs, into the spool. Raises InvalidValue for what is none."""
    _check(source)
    async for runs in _runs(master, caller, source):
        for at in range(0, len(runs), OUTPUTS_AT_ONCE):
            some = runs[at : at + OUTPUTS_AT_ONCE]
            firsts = await asyncio.gather(*(_piece(master, caller, run, 0) for run in some))
            for run, first in zip(some, firsts, strict=True):
                if source.split == "output":
                    _add_whole(run, first, spool)
                else:
                    await _add_lines(master, caller, run, first, spool)
    if not spool.count:
        raise InvalidValue(
            f"{_FIELD}: the runs of task {source.task} that are {', '.join(source.states)} wrote "
            "nothing, so there is no item",
            field=_FIELD,
        )


def _check(source: ItemsFrom) -> None:
    if source.split not in SPLITS:
        raise InvalidValue(
            f"{_FIELD}.split is {source.split[:60]!r}; it takes {' or '.join(SPLITS)}", field=_FIELD
        )
    if not source.states or not ENDED_RUN.issuperset(source.states):
        raise InvalidValue(
            f"{_FIELD}.states is {list(source.states)[:9]}; it takes some of "
            f"{', '.join(sorted(ENDED_RUN))}",
            field=_FIELD,
        )


async def _runs(master: Master, caller: Caller, source: ItemsFrom) -> AsyncIterator[list[RunView]]:
    """Those that wrote something, a page at a time."""
    state = source.states[0] if len(source.states) == 1 else None
    cursor = None
    while True:
        ask = ListRuns(caller.auth, source.task, state, RUNS_AT_ONCE, cursor)
        page = await master.call("get_runs", ask, Page)
        runs = msgspec.convert(page.items, list[RunView])
        yield [run for run in runs if run.state in source.states and run.output_stored]
        cursor = page.next
        if cursor is None:
            return


async def _piece(master: Master, caller: Caller, run: RunView, offset: int) -> OutputView:
    if run.output_gap is not None:
        raise InvalidValue(
            f"{_FIELD}: of the output of {run.hostname} (run {run.id}) the middle was not kept, "
            "so it cannot be cut into items",
            field=_FIELD,
        )
    ask = GetOutput(caller.auth, run.id, offset, PIECE_BYTES)
    return await master.call("get_output", ask, OutputView)


async def _add_lines(
    master: Master, caller: Caller, run: RunView, piece: OutputView, spool: Spool
) -> None:
    lines = Lines(of_text, f" of the output of {run.hostname} (run {run.id})")
    offset = 0
    while piece.data:
        for item in lines.feed(piece.data):
            spool.add(item)
        offset += len(piece.data)
        if offset >= piece.size:
            break
        piece = await _piece(master, caller, run, offset)
    for item in lines.end():
        spool.add(item)


def _add_whole(run: RunView, piece: OutputView, spool: Spool) -> None:
    """Without the end of its last line, as a shell takes the output of a command."""
    try:
        if piece.size > MAX_ITEM_BYTES:
            raise ValueError(f"has {piece.size:,} bytes; an item has at most {MAX_ITEM_BYTES:,}")
        item = checked(of_text(piece.data.rstrip(b"\r\n")))
    except ValueError as error:
        raise InvalidValue(
            f"{_FIELD}: the output of {run.hostname} (run {run.id}) {error}", field=_FIELD
        ) from error
    if item:
        spool.add(item)
