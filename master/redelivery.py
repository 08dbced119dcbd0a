"""When is a callback tried again that was not taken? With growing pauses, for a day. Pure.

The pauses are those of a day, and shrink in step where patience is shorter. Each is made up to
a tenth longer or shorter by chance that depends on the delivery alone, so that what failed at
once does not come again at once.
"""

import zlib

from msgspec import Struct

from wire.callbacks import DELIVERED, FAILED, WAITING

DAY_S = 86400.0
MINUTE_S, HOUR_S = 60.0, 3600.0
PAUSES_S = (
    5.0, 30.0, 2 * MINUTE_S, 5 * MINUTE_S, 15 * MINUTE_S, 30 * MINUTE_S, HOUR_S, 2 * HOUR_S,
    3 * HOUR_S, 4 * HOUR_S,
)  # fmt: skip
SPREAD = 0.1


class Tried(Struct, frozen=True):
    """How the try went, of a delivery whose patience began `patience_from`.

    `number`: of the try since then, from 1. `gone`: the receiver wants nothing more.
    """

    delivery: str
    number: int
    patience_from: float
    taken: bool
    gone: bool = False
    retry_after_s: float | None = None


class Next(Struct, frozen=True):
    """`at`: when it is tried again, if it still waits."""

    state: str
    at: float


def after(tried: Tried, now: float, patience_s: float = DAY_S) -> Next:
    """What becomes of the delivery. The last try is made when patience ends, not before."""
    if tried.taken:
        return Next(DELIVERED, now)
    end = tried.patience_from + patience_s
    if tried.gone or now >= end:
        return Next(FAILED, now)
    at = now + max(_pause_s(tried, patience_s), tried.retry_after_s or 0.0)
    return Next(WAITING, min(at, end))


def _pause_s(tried: Tried, patience_s: float) -> float:
    pause_s = PAUSES_S[min(tried.number, len(PAUSES_S)) - 1] * patience_s / DAY_S
    chance = zlib.crc32(f"{tried.delivery} {tried.number}".encode()) / 0xFFFFFFFF
    return pause_s * (1 + SPREAD * (2 * chance - 1))
