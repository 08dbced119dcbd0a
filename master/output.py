"""Which bytes of a script's output are kept, and what does one read of them?

What is kept lies in chunks at their place in all that the script wrote: from the
front without a hole, and after at most one marked jump (what the cap has left out)
the tail. Reading sees one sequence: the front, a line that says how much is missing,
the tail.
"""

from typing import NamedTuple

from master.reader import Reader
from master.records import Run
from wire.messages import OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES
from wire.states import ENDED_RUN, RunState
from wire.views import OutputView

MOST_KEPT_BYTES = OUTPUT_HEAD_BYTES + OUTPUT_TAIL_BYTES
REST_WITHIN_S = 600.0  # after its end a run's output is waited for no longer than this


# ---- taking a chunk


class Fit(NamedTuple):
    """Of a chunk, the bytes [skip, until) are new and belong at `start`.

    `gap`: of the run, with this chunk. `refused`: there is no room for what is beyond.
    """

    start: int
    skip: int
    until: int
    gap: tuple[int, int] | None
    refused: bool = False


def end_of(run: Run) -> int:
    """Up to where in all that the script wrote we have its output: the next chunk starts there."""
    return run.output_stored + _width(run.output_gap)


def fit(run: Run, offset: int, size: int, gap_from: int | None) -> Fit:
    """What we have already is not taken twice; what lies beyond a hole is not taken at all,
    unless it is the one jump of the cap or of a full disk, which begins where we are.

    An empty chunk behind a jump says that nothing follows it: where the jump can't be marked,
    no more of the output is wanted, lest its host offers it for ever.
    """
    end = end_of(run)
    gap = run.output_gap
    if offset > end:
        if gap is not None or gap_from is None or gap_from > end:
            no_more = gap is not None and gap_from is not None and not size
            return Fit(end, 0, 0, gap, refused=no_more)
        gap, end = (end, offset), offset
    skip = end - offset
    if skip >= size:
        return Fit(end, 0, 0, gap)
    until = min(size, skip + max(0, MOST_KEPT_BYTES - run.output_stored))
    if until <= skip:
        return Fit(end, 0, 0, run.output_gap, refused=True)
    return Fit(end, skip, until, gap, refused=until < size)


def _width(gap: tuple[int, int] | None) -> int:
    return 0 if gap is None else gap[1] - gap[0]


# ---- reading


def marker(gap: tuple[int, int]) -> bytes:
    """The line that stands in the stored representation for what was not kept."""
    return f"\n[mschedule: {gap[1] - gap[0]} bytes not kept]\n".encode()


def read(reader: Reader, record: Run, offset: int, limit: int) -> OutputView:
    """Stored bytes from `offset` of the stored representation: all that is kept, in order, with
    the marker in the gap. At most `limit` bytes; empty at the end."""
    gap = record.output_gap
    mark = marker(gap) if gap else b""
    size = record.output_stored + len(mark)
    wanted = max(0, min(limit, size - offset))
    if gap is None:
        content = _stored(reader, record, offset, wanted)
    else:
        content = _around(reader, record, gap, mark, offset, wanted)
    return OutputView(
        data=content,
        offset=offset,
        size=size,
        ended=_is_over(record, reader.now),
        complete=_is_complete(record),
        state=record.state,
        attempt=record.attempt,
        agent=record.agent,
    )


def _is_complete(run: Run) -> bool:
    """All that the script wrote is here. Of a run that was lost nobody knows how much that was."""
    known = run.state is not RunState.UNKNOWN or run.output_sha256 is not None
    return run.state in ENDED_RUN and known and _is_all_here(run)


def _is_over(run: Run, now: float) -> bool:
    """No more is expected, as far as the store knows; that the host is away only the hub knows."""
    if run.state not in ENDED_RUN:
        return False
    told = run.state is not RunState.UNKNOWN or run.settled
    full = run.output_stored >= MOST_KEPT_BYTES
    late = run.ended_at is not None and now > run.ended_at + REST_WITHIN_S
    return (told and _is_all_here(run)) or full or late


def _is_all_here(run: Run) -> bool:
    """As far as its agent has told how much there is."""
    return end_of(run) >= run.output_bytes


def _around(
    reader: Reader, run: Run, gap: tuple[int, int], mark: bytes, offset: int, wanted: int
) -> bytes:
    """From the front, the marker and the tail, whatever of them lies in the range."""
    parts = []
    front_end, tail_begin = gap[0], gap[0] + len(mark)
    end = offset + wanted
    if offset < front_end:
        parts.append(_stored(reader, run, offset, min(end, front_end) - offset))
    if offset < tail_begin and end > front_end:
        parts.append(mark[max(0, offset - front_end) : end - front_end])
    if end > tail_begin:
        begin = max(offset, tail_begin)
        parts.append(_stored(reader, run, gap[1] + begin - tail_begin, end - begin))
    return b"".join(parts)


def _stored(reader: Reader, run: Run, start: int, wanted: int) -> bytes:
    """`wanted` bytes from place `start` of the script's output, all of which are stored."""
    parts: list[bytes] = []
    missing = wanted
    if wanted <= 0:
        return b""
    for begin, _, content in reader.each(
        "outputs_from", run=run.id, attempt=run.attempt, start_at=start, limit=-1
    ):
        piece = content[max(0, start - begin) :][:missing]
        parts.append(piece)
        missing -= len(piece)
        if not missing:
            break
    return b"".join(parts)
