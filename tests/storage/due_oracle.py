"""Which instants are due? Told a second time, from the words of cron(8), without our code.

Every minute of the time in question is looked at, so this is slow and plain: where it and the
master agree, neither has skipped over anything.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from wire.schedules import Timing

MINUTE_S = 60


def due_instants(given: Timing, after: float, until: float) -> list[int]:
    """In (after, until]."""
    start = _instant(given.start, 0)
    end = _instant(given.end, 1 << 40)
    found = {"once": _once, "every": _every, "cron": _cron}[given.kind](given, after, until)
    return [due for due in found if after < due <= until and start <= due <= end]


def _once(given: Timing, after: float, until: float) -> Iterable[int]:
    return [_instant(given.at, 0)]


def _every(given: Timing, after: float, until: float) -> Iterable[int]:
    assert given.every is not None
    anchor = _instant(given.anchor, 0)
    first = max(anchor, int(after) - (int(after) - anchor) % given.every)
    return range(first, int(until) + 1, given.every)


def _cron(given: Timing, after: float, until: float) -> Iterable[int]:
    """A job without a wildcard in minute or hour: each time on the wall's clock once; the ones
    that the clock has jumped over, at the jump."""
    minute, hour, *_ = fields = (given.cron or "").split()
    is_wild = minute[0] == "*" or hour[0] == "*"
    for at, wall, jumped_over, is_second in _minutes(given.zone, int(after), int(until)):
        if (is_wild and _fits(fields, wall)) or (
            not is_wild
            and (
                (not is_second and _fits(fields, wall))
                or any(_fits(fields, one) for one in jumped_over)
            )
        ):
            yield at


@lru_cache(maxsize=16)
def _minutes(zone: str, after: int, until: int) -> list[tuple[int, datetime, list, bool]]:
    """(instant, what the wall's clock shows, minutes that it has jumped over just before, does it
    show this for the second time)."""
    info, found = ZoneInfo(zone), []
    first = after - after % MINUTE_S
    shown = _naive(first - MINUTE_S, info)
    for at in range(first, until + 1, MINUTE_S):
        wall = _naive(at, info)
        over = [
            datetime.fromtimestamp(one, UTC).replace(tzinfo=None)
            for one in range(_stamp(shown) + MINUTE_S, _stamp(wall), MINUTE_S)
        ]
        is_second = any(_naive(at - back, info) == wall for back in (1800, 3600))
        found.append((at, wall, over, is_second))
        shown = wall
    return found


def _naive(at: int, info: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at, info).replace(tzinfo=None)


def _stamp(wall: datetime) -> int:
    return int(wall.replace(tzinfo=UTC).timestamp())


def _fits(fields: list[str], wall: datetime) -> bool:
    minute, hour, day, month, weekday = fields
    if not (
        _in(minute, wall.minute, 59) and _in(hour, wall.hour, 23) and _in(month, wall.month, 12)
    ):
        return False
    on_day = _in(day, wall.day, 31)
    on_weekday = _in(weekday, wall.isoweekday() % 7, 7)
    if day[0] == "*" or weekday[0] == "*":
        return on_day and on_weekday
    return on_day or on_weekday


def _in(field: str, value: int, most: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        first = (1 if most in (31, 12) else 0) if span == "*" else int(low)
        last = most if span == "*" else int(high or low)
        if value in range(first, last + 1, int(step or 1)):
            return True
    return False


def _instant(text: str | None, default: int) -> int:
    return default if text is None else int(datetime.fromisoformat(text).timestamp())
