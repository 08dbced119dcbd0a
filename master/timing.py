"""What does a timing mean that a person wrote, and how is it said back?

Every value is judged here, with a sentence that names the field, the value and what would be
right. What a schedule does where clocks are changed is said wherever its times are shown.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from master.when import (
    CRON,
    EVERY,
    KINDS,
    ONCE,
    When,
    change_between,
    dues,
    instants_after,
    is_wild,
    next_after,
    zone_of,
)
from utils import iso
from wire.errors import InvalidValue
from wire.schedules import InstantView, PreviewView, Timing

DAY_S = 86400
MAX_EVERY_S = 366 * DAY_S
MAX_SPLAY_S = DAY_S
MAX_CRON_CHARACTERS = 200
SPLAY_CHECKED = 50  # instants whose distances are looked at
CHANGE_WITHIN_DAYS = 400  # a change of clocks is looked for so far ahead
MAX_YEAR = 2200

SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, that the months have, or L for the last",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), or SUN to SAT",
}
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_UNITS = (("day", DAY_S), ("hour", 3600), ("minute", 60), ("second", 1))


def parse(timing: Timing) -> When:
    """Raises InvalidValue, whose field is `when.…`."""
    if timing.kind not in KINDS:
        raise _wrong("kind", timing.kind, f"one of {', '.join(KINDS)}")
    _only_its_own(timing)
    zone = _zone(timing.zone)
    when = When(
        kind=timing.kind,
        at=_instant("at", timing.at, zone),
        seconds=_seconds(timing.every),
        anchor=_instant("anchor", timing.anchor, zone) or 0,
        cron=_cron(timing.cron),
        zone=timing.zone,
        splay_s=timing.splay,
        start_at=_instant("start", timing.start, zone),
        end_at=_instant("end", timing.end, zone),
    )
    if when.start_at is not None and when.end_at is not None and when.end_at < when.start_at:
        raise _wrong("end", timing.end, f"a time that is not before start, {timing.start}")
    _check_splay(when)
    return when


def timing_of(when: When) -> Timing:
    """As a person could have written it; times in UTC."""
    return Timing(
        kind=when.kind,
        at=_text(when.at),
        every=when.seconds,
        anchor=_text(when.anchor) if when.anchor else None,
        cron=when.cron,
        zone=when.zone,
        splay=when.splay_s,
        start=_text(when.start_at),
        end=_text(when.end_at),
    )


def check_future(when: When, now: float) -> None:
    """A schedule that is never due is a mistake, and told at once."""
    if next_after(when, now) is not None:
        return
    if when.kind == ONCE:
        raise _wrong("at", _text(when.at), f"a time to come; it is {_text(int(now))}")
    if when.end_at is not None and when.end_at <= now:
        raise _wrong("end", _text(when.end_at), f"a time to come; it is {_text(int(now))}")
    raise InvalidValue("when: it is never due from now on", field=f"when.{when.kind}")


def preview(when: When, now: float, count: int) -> PreviewView:
    coming = islice(instants_after(when, now), count)
    return PreviewView(
        next=[instant_view(when, due) for due in coming],
        zone=when.zone,
        rule=rule(when, now),
        words=words(when),
    )


def instant_view(when: When, due: int) -> InstantView:
    return InstantView(_text(due) or "", local(when, due), _note(when, due))


def local(when: When, due: float) -> str:
    """On the clock of the zone, with its offset: 2026-03-29 03:00:00 +02:00."""
    return datetime.fromtimestamp(int(due), zone_of(when)).isoformat(" ").replace("+", " +")


# ---- in words


def words(when: When) -> str:
    """When it is due, in a sentence without its end."""
    said = _basically(when)
    if when.splay_s:
        said += f", up to {span(when.splay_s)} later"
    if when.start_at is not None:
        said += f", from {local(when, when.start_at)}"
    if when.end_at is not None:
        said += f", until {local(when, when.end_at)}"
    return said


def _basically(when: When) -> str:
    if when.kind == ONCE:
        assert when.at is not None
        return f"once, at {local(when, when.at)}"
    if when.kind == EVERY:
        assert when.seconds is not None
        said = span(when.seconds)
        is_unit = when.seconds in (size for _, size in _UNITS)
        return f"every {said.removeprefix('1 ') if is_unit else said}"
    return f"{_sim(when).explain()} in {when.zone} ({when.cron})"


def span(seconds: float) -> str:
    """3661 → "1 hour 1 minute 1 second"."""
    left, parts = round(seconds), []
    for name, size in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}{'s' if number > 1 else ''}")
    return " ".join(parts) or "0 seconds"


def rule(when: When, now: float) -> str:
    """What it does where the clocks of its zone are changed; "" where that is nothing."""
    change = _next_change(when, now)
    if change is None or when.kind == ONCE:
        return ""
    until = f"The next change of clocks in {when.zone} is at {local(when, change)}."
    if when.kind == EVERY:
        assert when.seconds is not None
        if when.seconds % 3600:
            return ""
        return f"{until} Seconds are counted as they pass: the time of day moves; cron keeps it."
    if is_wild(when.cron or ""):
        return (
            f"{until} The minute or the hour begins with *: it runs whenever the clock shows "
            "a time that fits, also a second time when clocks go back; what is left out when "
            "they go forward does not run."
        )
    return (
        f"{until} A time that is left out when clocks go forward runs right after the change, "
        "and a time that comes twice when they go back runs once, the first time."
    )


def _note(when: When, due: int) -> str:
    """What is special about one instant of a cron schedule."""
    if when.kind != CRON:
        return ""
    moment = datetime.fromtimestamp(due, zone_of(when))
    sim = _sim(when)
    if moment.hour not in sim.hours or moment.minute not in sim.minutes:
        return "clocks go forward: its time is left out on this day, so it runs right after"
    other = moment.replace(fold=1 - moment.fold)
    if other.utcoffset() == moment.utcoffset() or other.timestamp() == due:
        return ""
    if not is_wild(when.cron or ""):
        return "clocks go back: this time comes twice, it runs the first time"
    return f"clocks go back: this time comes twice, the {'second' if moment.fold else 'first'}"


def _next_change(when: When, now: float) -> int | None:
    """When the zone's offset from UTC changes next, to the minute."""
    zone, day = zone_of(when), int(now)
    for _ in range(CHANGE_WITHIN_DAYS):
        if _offset(zone, day) != _offset(zone, day + DAY_S):
            return change_between(zone, day, day + DAY_S)
        day += DAY_S
    return None


def _offset(zone: tzinfo, instant: int) -> timedelta | None:
    return datetime.fromtimestamp(instant, zone).utcoffset()


def _sim(when: When) -> CronSim:
    return CronSim(when.cron or "", datetime(2026, 1, 1, tzinfo=UTC))


# ---- values


def _only_its_own(timing: Timing) -> None:
    """Each kind has its fields; one of another kind would be silently without effect."""
    own = {ONCE: {"at"}, EVERY: {"every", "anchor"}, CRON: {"cron"}}
    needed = {ONCE: "at", EVERY: "every", CRON: "cron"}[timing.kind]
    if getattr(timing, needed) is None:
        raise InvalidValue(
            f"when.{needed} is missing; a schedule of kind {timing.kind} takes it",
            field=f"when.{needed}",
        )
    for name in ("at", "every", "anchor", "cron"):
        if getattr(timing, name) is not None and name not in own[timing.kind]:
            raise InvalidValue(
                f"when.{name} does not go with kind {timing.kind}; leave it out",
                field=f"when.{name}",
            )
    for name in ("start", "end"):
        if timing.kind == ONCE and getattr(timing, name) is not None:
            raise InvalidValue(
                f"when.{name} does not go with kind once; leave it out", field=f"when.{name}"
            )


def _zone(name: str) -> tzinfo:
    found = _known_zone(name)
    if found is None:
        raise _wrong("zone", name, "the IANA name of a time zone, such as Europe/Berlin or UTC")
    return found


@lru_cache(maxsize=1000)
def _known_zone(name: str) -> tzinfo | None:
    if len(name) > 100 or not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, or no zone's file
        return None


def _instant(field: str, text: str | None, zone: tzinfo) -> int | None:
    """Without an offset it is of the zone; of a time that comes twice, the first."""
    if text is None:
        return None
    right = "ISO 8601 in whole seconds, such as 2026-12-24T18:00:00 or 2026-12-24T17:00:00Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(field, text, right) from None
    if moment.microsecond or not 1970 <= moment.year <= MAX_YEAR:
        raise _wrong(field, text, f"{right}, from 1970 to {MAX_YEAR}")
    if moment.tzinfo is not None:
        return max(0, int(moment.timestamp()))
    moment = moment.replace(tzinfo=zone)
    instant = int(moment.timestamp())
    if datetime.fromtimestamp(instant, zone).replace(tzinfo=None) != moment.replace(tzinfo=None):
        raise _wrong(field, text, "a time that there is: clocks go forward over this one")
    return max(0, instant)


def _seconds(every: int | None) -> int | None:
    if every is not None and not 1 <= every <= MAX_EVERY_S:
        raise _wrong("every", every, f"seconds from 1 to {MAX_EVERY_S} (366 days)")
    return every


def _cron(text: str | None) -> str | None:
    """In five fields, with one space between them."""
    if text is None:
        return None
    wanted = "five fields: minute, hour, day of month, month, day of week, such as 30 2 * * 1-5"
    short = text.strip().lower()
    if short.startswith("@") and short not in SHORT:
        raise _wrong("cron", text, f"{wanted}; or one of {', '.join(SHORT)}")
    fields = SHORT.get(short, text).split()
    if len(fields) != len(_FIELDS) or len(text) > MAX_CRON_CHARACTERS or not text.isascii():
        raise _wrong("cron", text, wanted)
    cron = " ".join(fields)
    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        value = fields[list(_FIELDS).index(name)] if name in _FIELDS else cron
        raise InvalidValue(
            f"when.cron is {_short(text)}; its {name} {_short(value)} is none: it takes "
            f"{_FIELDS.get(name, wanted)}, lists (1,2), ranges (1-5), steps (*/5) and *",
            field="when.cron",
        ) from error
    return cron


def _check_splay(when: When) -> None:
    """A firing that is put off must not come after the next one."""
    if not 0 <= when.splay_s <= MAX_SPLAY_S:
        raise _wrong("splay", when.splay_s, f"seconds from 0 to {MAX_SPLAY_S}")
    if not when.splay_s:
        return
    coming = dues(when, when.start_at or 0, float("inf"), SPLAY_CHECKED)
    closest = min((later - earlier for earlier, later in pairwise(coming)), default=MAX_SPLAY_S)
    if when.splay_s > closest:
        raise _wrong(
            "splay",
            when.splay_s,
            f"at most {closest} seconds, so that no firing comes after the next one",
        )


def _wrong(field: str, value: object, right: str) -> InvalidValue:
    return InvalidValue(f"when.{field} is {_short(value)}; it takes {right}", field=f"when.{field}")


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:80]}…"


def _text(instant: int | None) -> str | None:
    return None if instant is None else iso(float(instant))
