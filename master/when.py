"""At which instants is a schedule due? Pure: a `When` and an instant in, later instants out.

An instant is a whole second of UNIX time. Three kinds there are: once; every so many seconds,
counted from an anchor as time passes, whatever clocks on walls say; and cron, which follows the
clock on a wall of its zone. What happens where that clock is changed is Debian cron's rule: a job
at fixed times runs once when clocks go back, and right after the change when its time is left out;
a job whose minute or hour begins with `*` runs whenever the clock matches.

With a splay a schedule fires up to so many seconds after it is due, each time as much as a hash
of schedule and instant says: the same wherever and however often it is computed.
"""

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim
from msgspec import Struct

ONCE, EVERY, CRON = "once", "every", "cron"
KINDS = (ONCE, EVERY, CRON)
MOST_CHANGED_S = 3 * 3600  # no change of clocks is larger; cron takes larger ones for corrections
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
    """cronsim says what fits on the clock of a wall that is never changed; here that becomes
    instants. (Left to follow the changes itself, it loses times where clocks are changed by half
    an hour, as on Lord Howe.)

    An instant at which the clock shows a time again comes after later times that it shows for
    the first time: it waits in `later` for its turn.
    """
    assert when.cron is not None
    zone, follows = zone_of(when), is_wild(when.cron)
    last, later = math.floor(instant), list[int]()
    for wall in _walls(when.cron, _first_wall(last, zone)):
        shown, again = _shown(wall, zone, follows=follows)
        if shown is None:
            continue
        for due in (*(one for one in later if one < shown), shown):
            if due > last:
                yield due
                last = due
        later = [one for one in later if one > shown]
        if again is not None:
            later.append(again)
    yield from (due for due in later if due > last)


def is_wild(cron: str) -> bool:
    """Of Debian cron's two kinds of jobs the one that just follows the clock."""
    minute, hour = cron.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


def change_between(zone: tzinfo, before: int, after: int) -> int:
    """The first instant with the offset from UTC of the later one; the earlier has another."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _walls(cron: str, start: datetime) -> Iterator[datetime]:
    """None is found in fifty years, or before the last year that a date can have: the end."""
    try:
        yield from CronSim(cron, start)
    except (OverflowError, ValueError):
        return


def _first_wall(instant: int, zone: tzinfo) -> datetime:
    """What the clock shows; near a change of clocks so much less that nothing is left out that it
    may show again."""
    wall = datetime.fromtimestamp(instant, zone).replace(tzinfo=None)
    if _offset(zone, instant - MOST_CHANGED_S) == _offset(zone, instant + MOST_CHANGED_S):
        return wall
    return wall - timedelta(seconds=MOST_CHANGED_S)


def _shown(wall: datetime, zone: tzinfo, *, follows: bool) -> tuple[int | None, int | None]:
    """The instants at which it is due because the clock shows this: (first, second time).

    What the clock jumps over counts as shown right after the jump, and nothing as shown again,
    unless the job just follows the clock.
    """
    first, second = (
        int(wall.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1)
    )  # by the offset before a change, and after it
    if first == second:
        return first, None
    if first < second:
        return first, second if follows else None
    return None if follows else change_between(zone, second - 1, first), None


def _offset(zone: tzinfo, instant: int) -> timedelta | None:
    return datetime.fromtimestamp(instant, zone).utcoffset()


_KINDS = {ONCE: _once, EVERY: _every, CRON: _cron}
