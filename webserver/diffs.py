"""How are two outputs compared without holding up the server? By a process, one at a time."""

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from webserver import diff_worker
from webserver.diff_worker import SIZES
from wire.errors import Busy, Internal
from wire.views import RunView

MAX_BYTES = 512 << 10  # of an output that are compared
MOST_WAITING = 20
TIME_S = 15.0  # for waiting and for the process, which sets itself a shorter limit
WORKER = Path(diff_worker.__file__)


@dataclass(frozen=True)
class Side:
    """A run, and what there is of the first MAX_BYTES of its output."""

    run: RunView
    output: bytes
    size: int  # of all that is stored

    @property
    def lines(self) -> bytes:
        """The whole lines of a beginning; all of an output that is here whole."""
        if len(self.output) == self.size:
            return self.output
        return self.output[: self.output.rfind(b"\n") + 1] or self.output


class DiffLine(Struct):
    """`note` tells of the line before it; `hunk` is the usual `@@ -1,3 +1,4 @@`."""

    kind: Literal["hunk", "same", "removed", "added", "note"]
    text: str


class DiffView(Struct):
    """The way from left to right. `identical`: byte for byte, over all that the scripts wrote.

    `cut` is empty when everything was compared and is shown; otherwise it says in sentences
    what was left out.
    """

    left: str
    left_hostname: str
    right: str
    right_hostname: str
    identical: bool
    lines: list[DiffLine]
    cut: list[str]


class Compared(Struct):
    """The lines of a unified diff, none if both are the same; `cut` as in DiffView."""

    lines: list[DiffLine]
    cut: list[str]


class _Found(Struct):
    lines: list[tuple[Literal["hunk", "same", "removed", "added", "note"], str]]
    cut: list[str]


class Diffs:
    """Makes diffs, one at a time: they are for people, who wait for one."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def diff(self, left: Side, right: Side) -> DiffView:
        """Busy when too many others want one, or when the machine is too slow for it."""
        identical = _identical(left, right)
        found = _Found([], []) if identical else await self._compared(left.lines, right.lines)
        return DiffView(
            left.run.id,
            left.run.hostname,
            right.run.id,
            right.run.hostname,
            identical,
            [DiffLine(kind, text) for kind, text in found.lines],
            _shortened("left", left) + _shortened("right", right) + found.cut
            if not identical
            else [],
        )

    async def of_texts(self, left: bytes, right: bytes) -> Compared:
        """Of two texts that are here whole. Busy as `diff`."""
        found = await self._compared(left, right)
        return Compared([DiffLine(kind, text) for kind, text in found.lines], found.cut)

    async def _compared(self, left: bytes, right: bytes) -> _Found:
        if self._waiting >= MOST_WAITING:
            raise Busy("too many diffs are being made; try again in a moment")
        self._waiting += 1
        try:
            async with asyncio.timeout(TIME_S), self._turn:
                return await _ask_worker(left, right)
        except TimeoutError:
            raise Busy(f"the diff was not made within {TIME_S:g} s; try again") from None
        finally:
            self._waiting -= 1


def _identical(left: Side, right: Side) -> bool:
    known = left.run.output_sha256 is not None and right.run.output_sha256 is not None
    if known:
        return left.run.output_sha256 == right.run.output_sha256
    return left.output == right.output and left.size == right.size == len(left.output)


def _shortened(name: str, side: Side) -> list[str]:
    if len(side.output) == side.size:
        return []
    return [f"only the first {MAX_BYTES >> 10} KiB of {name} are compared, of {side.size} bytes"]


async def _ask_worker(left: bytes, right: bytes) -> _Found:
    """Whatever happens, the process is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(WORKER)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        answer, _ = await process.communicate(SIZES.pack(len(left), len(right)) + left + right)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Internal("the diff could not be made: its process ended early; the log may say why")
    return msgspec.json.decode(answer, type=_Found)


DIFFS: web.AppKey[Diffs] = web.AppKey("diffs")
