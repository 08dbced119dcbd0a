"""What does a submission mean where it says nothing? That depends on its mode.

A queue's items may wait long for an agent, and go to the next one soon after theirs fell silent.
A fan-out's run is for one host, which may only be restarting.
"""

import math

from msgspec import Struct
from msgspec.structs import asdict, replace

from wire.requests import Submission

FAN_OUT, QUEUE = "fan_out", "queue"
MODES = (FAN_OUT, QUEUE)
ALL_AGENTS = "@*"


class Limits(Struct, frozen=True):
    """What is in force; a submission may leave each of these open."""

    parallel: int | str  # runs at once; 0: all
    expires_in: float  # seconds
    lost_after: float  # seconds of silence


_OF_FAN_OUT = Limits(parallel=1, expires_in=86_400.0, lost_after=900.0)
_OF_QUEUE = Limits(parallel=0, expires_in=30 * 86_400.0, lost_after=60.0)


def limits_of(submission: Submission) -> Limits:
    usual = _OF_QUEUE if submission.mode == QUEUE else _OF_FAN_OUT
    parallel, expires_in = submission.parallel, submission.expires_in
    lost_after = submission.lost_after
    return Limits(
        usual.parallel if parallel is None else parallel,
        usual.expires_in if expires_in is None else expires_in,
        usual.lost_after if lost_after is None else lost_after,
    )


def spelled_out(submission: Submission) -> Submission:
    """The same with nothing left open that depends on its mode."""
    return replace(submission, **asdict(limits_of(submission)))


def left_open(submission: Submission) -> Submission:
    """The same, which says nothing of what is as usual."""
    usual = asdict(limits_of(Submission(mode=submission.mode)))
    plain = {name: None for name in usual if getattr(submission, name) == usual[name]}
    return replace(submission, **plain)


def burst_of(rate: float | None, batch: int) -> int:
    """Items that may be taken at once where nobody says: a quarter of a second's worth, so that
    no short stall of the master costs any of the rate, and at least a batch."""
    return max(batch, 1, math.ceil((rate or 0.0) / 4))
