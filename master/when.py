"""At which instants is a schedule due? Pure: a `When` and an instant in, later instants out.

An instant is a whole second of UNIX time. Three kinds there are: once; every so many seconds,
counted from an anchor as time passes, whatever clocks on walls say; and cron, which follows the
clock on a wall of its zone. What happens where that clock is changed is Debian cron's rule, as
cronsim has it: a job at fixed times runs once when clocks go back, and right after the change when
its time is left out; a job whose minute or hour begins with `*` runs whenever the clock matches.

With a splay a schedule fires up to so many seconds after it is due, each time as much as a hash
of schedule and instant says: the same wherever and however often it is computed.
"""

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim
from msgspec import Struct

ONCE, EVERY, CRON = "once", "every", "cron"
KINDS = (ONCE, EVERY, CRON)
LEAST_CRON_S = 60  # between two instants of a cron schedule
LATEST = 253_370_764_800  # of the year 9999; beyond, no instant is looked for


class When(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The times of a schedule. Of `at`, `seconds` and `cron` the one that `kind` says is given."""

    kind: str
    at: int | None = None
    seconds: int | None = None
    anchor: int = 0
    cron: str | None = None  # five fields
    zone: str = "UTC"  # for cron, and for how times are shown
    splay_s: int = 0
    start_at: int | None = None  # the first instant that may be due; None: any
    end_at: int | None = None  # the last one


def next_after(when: When, instant: float) -> int | None:
    """The first instant after the given one at which it is due; None: never again."""
    return next(instants_after(when, instant), None)


def dues(when: When, after: float, until: float, most: int) -> list[int]:
    """The first `most` instants in (after, until] at which it is due."""
    found = []
    for instant in islice(instants_after(when, after), most):
        if instant > until:
            break
        found.append(instant)
    return found


def instants_after(when: When, instant: float) -> Iterator[int]:
    """All instants after the given one, in order, as they are asked for."""
    if when.start_at is not None:
        instant = max(instant, when.start_at - 1)
    for found in _KINDS[when.kind](when, instant):
        if found > (LATEST if when.end_at is None else when.end_at):
            return
        yield found


def fires_at(schedule: str, when: When, due: int) -> float:
    """When the firing of this instant begins: with its splay."""
    if not when.splay_s:
        return float(due)
    digest = hashlib.sha256(f"{schedule} {due}".encode()).digest()
    return due + when.splay_s * int.from_bytes(digest[:6]) / 2**48


def shortest_s(when: When) -> int:
    """No two of its instants are closer to each other than so many seconds."""
    if when.kind == EVERY:
        assert when.seconds is not None
        return when.seconds
    return LEAST_CRON_S


def zone_of(when: When) -> tzinfo:
    return UTC if when.zone == "UTC" else ZoneInfo(when.zone)


def _once(when: When, instant: float) -> Iterator[int]:
    assert when.at is not None
    if when.at > instant:
        yield when.at


def _every(when: When, instant: float) -> Iterator[int]:
    """The anchor is the first."""
    assert when.seconds is not None
    step = max(0, math.floor((instant - when.anchor) / when.seconds) + 1)
    due = when.anchor + step * when.seconds
    while True:
        yield due
        due += when.seconds


def _cron(when: When, instant: float) -> Iterator[int]:
    """cronsim counts fixed times on the clock of the wall, so that within the hour that comes
    twice it may name an instant that has passed: such a one is left out. Where a day begins
    without its midnight it may name one that there is not: it is asked again from just before."""
    assert when.cron is not None
    zone, last = zone_of(when), math.floor(instant)
    moments = CronSim(when.cron, datetime.fromtimestamp(last, zone))
    while (moment := _following(moments)) is not None:
        due = int(moment.timestamp())
        if datetime.fromtimestamp(due, zone).replace(tzinfo=None) != moment.replace(tzinfo=None):
            moments = CronSim(when.cron, datetime.fromtimestamp(due - 1, zone))
        elif due > last:
            yield due
            last = due


def _following(moments: CronSim) -> datetime | None:
    """None: there is none in fifty years, or before the last year that a date can have."""
    try:
        return next(moments, None)
    except (OverflowError, ValueError):
        return None


_KINDS = {ONCE: _once, EVERY: _every, CRON: _cron}
