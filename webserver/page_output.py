"""What of an output fits a page? The end of it, each run with its share, as readable text."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from webserver.context import MASTER, Caller
from webserver.text import readable
from wire.errors import NotFound
from wire.requests import GetOutput
from wire.views import OutputView

OUTPUT_OF_A_RUN_BYTES = 64 << 10
OUTPUT_OF_A_PAGE_BYTES = 320 << 10  # shared evenly by the runs that have any
AT_ONCE = 16  # calls to the master for one page


@dataclass(frozen=True)
class Shown:
    """The end of an output as text; `left_out` bytes before it are not shown."""

    text: str
    left_out: int


NOTHING = Shown("", 0)


async def outputs_of(request: web.Request, caller: Caller, runs: list[str]) -> dict[str, Shown]:
    """What to show of each run's output, by run id; each gets the same share of the page."""
    if not runs:
        return {}
    share = min(OUTPUT_OF_A_RUN_BYTES, OUTPUT_OF_A_PAGE_BYTES // len(runs))
    gate = asyncio.Semaphore(AT_ONCE)

    async def read(run: str) -> Shown:
        async with gate:
            return await _last_of(request, caller, run, share)

    return dict(zip(runs, await asyncio.gather(*map(read, runs)), strict=True))


async def _last_of(request: web.Request, caller: Caller, run: str, share: int) -> Shown:
    """The last `share` bytes, from the beginning of a line where there is one."""
    start, found = 0, await _read(request, caller, run, 0, share)
    if found is not None and share < found.size:
        start = found.size - share
        found = await _read(request, caller, run, start, share)
    if found is None:
        return NOTHING
    data = found.data
    if start:
        data = data[data.find(b"\n", 0, 1024) + 1 :]
    return Shown(readable(data), found.offset + len(found.data) - len(data))


async def _read(
    request: web.Request, caller: Caller, run: str, offset: int, limit: int
) -> OutputView | None:
    """None when the output is gone meanwhile: a page of many runs must not fail for one."""
    ask = GetOutput(caller.auth, run, offset, limit)
    try:
        return await request.app[MASTER].call("get_output", ask, OutputView)
    except NotFound:
        return None
