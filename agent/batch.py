"""Which items of a batch are not done? The script names them, one a line, in a file of the run.

A script that ends by itself is believed: what it names has failed, the rest is done if it exits
0 or has named any. One that was killed may not have come to naming them, so that all of them
count as failed, as they do for one that exits otherwise and names none.
"""

import os
import stat
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from agent import rundir
from agent.decide import Verdict
from wire.states import Cause, RunState

MAX_BYTES = 1 << 20  # of the file that names them


class Named(Struct, frozen=True):
    """What a script has named: `failed` by their numbers, from 0, in order."""

    failed: tuple[int, ...] = ()
    unknown: int = 0  # lines that are no item of the batch
    unreadable: str = ""  # why nothing can be known; empty: the rest counts


# ---- files


def write_files(directory: str, items: bytes) -> None:
    """What a batch has besides: its items, and an empty file for the names of those that fail."""
    rundir.write_file(f"{directory}/{rundir.ITEMS}", items + b"\n")
    rundir.write_file(f"{directory}/{rundir.FAILED}", b"")


def read_failed(directory: str) -> bytes | None:
    """What was named, whole; None if it cannot be had, or is longer than MAX_BYTES.

    The file was in the hands of a script: it may be gone, which names none, or no file at all.
    """
    path = f"{directory}/{rundir.FAILED}"
    try:
        descriptor = os.open(path, rundir.AS_IT_IS)
    except FileNotFoundError:
        return b""
    except OSError:
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        content = os.pread(descriptor, MAX_BYTES + 1, 0) if is_file else None
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None if content is None or len(content) > MAX_BYTES else content


# ---- what it means


def named(items: Sequence[str], content: bytes | None) -> Named:
    """Which of `items` stand in what was read. Equal ones cannot be told apart: all of them."""
    if content is None:
        return Named(unreadable="the list of failed items cannot be read or is longer than 1 MB")
    known = [item.encode("utf-8", "surrogateescape") for item in items]
    lines = [_known(line, frozenset(known)) for line in content.removesuffix(b"\n").split(b"\n")]
    wanted = frozenset(lines if content else [])
    failed = tuple(number for number, item in enumerate(known) if item in wanted)
    return Named(failed=failed, unknown=sum(line is None for line in lines))


def _known(line: bytes, known: frozenset[bytes]) -> bytes | None:
    """The item that a line names; empty for an empty line, which names one at most."""
    for item in (line, line.removesuffix(b"\r")):
        if not item or item in known:
            return item
    return None


def judge(verdict: Verdict, items: Sequence[str], content: bytes | None) -> Verdict:
    """The verdict on a batch, given how its script ended and what it has named.

    `failed_items` empty in one that is not SUCCEED: all of them are to be done again.
    """
    exit = verdict.exit
    if exit is None or verdict.cause is not Cause.EXIT or exit.code is None or exit.signalled:
        return verdict
    found = named(items, content)
    if found.unreadable:
        reason = f"{found.unreadable}: all {len(items)} items count as failed"
        return replace(verdict, state=RunState.FAILED, reason=reason)
    notes = [f"{found.unknown} lines in the list of failed items are none of this batch"]
    reasons = [verdict.reason] if verdict.reason else []
    if found.failed:
        reasons.insert(0, f"{len(found.failed)} of {len(items)} items failed")
        verdict = replace(verdict, state=RunState.FAILED, failed_items=found.failed)
    return replace(verdict, reason="; ".join(reasons + (notes if found.unknown else [])))
