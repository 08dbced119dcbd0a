"""What do people see of schedules? What was set, what became of it, and what is to come."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from master.reader import Reader
from master.schedule import FiringState, Schedule
from master.schedule_rows import decoded, known
from master.timing import local, timing_of, words
from master.views import from_cursor, size_of, to_cursor
from master.when import When, dues
from utils import iso
from wire.errors import InvalidValue
from wire.plans import PlanSpec
from wire.requests import Submission
from wire.schedules import (
    ComingView,
    FiringView,
    FrequentView,
    ScheduleView,
    TimelineView,
)
from wire.views import Page

STATES = ("active", "paused", "ended")
NEWEST = 1e18  # behind all due instants
SCAN = 500  # schedules that one page looks at, whatever it shows
OFTEN = 24  # due instants within the hours shown; beyond, a schedule is one line
MOST_COMING = 2000

_decode_when = msgspec.json.Decoder(When).decode


class Due(Struct, frozen=True):
    """A schedule as the timeline needs it."""

    id: str
    name: str
    when: When
    decided_until: float


# ---- for the hub


def due(reader: Reader, now: float, limit: int) -> list[Schedule]:
    return decoded(reader.rows("schedules_due", now=now, limit=limit))


def next_firing(reader: Reader) -> float | None:
    row = reader.row("next_firing")
    return None if row is None else row[0]


def held_up(reader: Reader) -> list[str]:
    return [id for (id,) in reader.rows("schedules_held_up")]


# ---- schedules


def one(reader: Reader, id: str, now: float) -> ScheduleView:
    return view(known(reader, id), _last(reader, id), now)


def page(
    reader: Reader,
    limit: int,
    cursor: str | None,
    text: str | None,
    state: str | None,
    now: float,
) -> Page:
    """Looks at SCAN schedules at most: a page may be short, even empty, and have a next."""
    if state is not None and state not in STATES:
        raise InvalidValue(
            f"state is {state[:80]!r}; it takes one of {', '.join(STATES)}", field="state"
        )
    after = from_cursor(cursor, str) if cursor else ""
    size = size_of(limit)
    found: list[ScheduleView] = []
    rows = decoded(reader.rows("schedules_by_name", after=after, limit=SCAN + 1))
    for place, schedule in enumerate(rows):
        if len(found) == size or place == SCAN:
            return Page(found, to_cursor(rows[place - 1].name.lower()))
        if _is_wanted(schedule, text, state):
            found.append(view(schedule, _last(reader, schedule.id), now, script=False))
    return Page(found)


def _is_wanted(schedule: Schedule, text: str | None, state: str | None) -> bool:
    if text and text.lower() not in schedule.name.lower():
        return False
    return state is None or state_of(schedule) == state


def state_of(schedule: Schedule) -> str:
    if schedule.paused_by is not None:
        return "paused"
    return "active" if schedule.next_at is not None else "ended"


def view(
    schedule: Schedule, last: FiringView | None, now: float, *, script: bool = True
) -> ScheduleView:
    next_due = schedule.next_due
    return ScheduleView(
        id=schedule.id,
        name=schedule.name,
        state=state_of(schedule),
        reason=_reason(schedule, now),
        when=timing_of(schedule.timing),
        words=words(schedule.timing),
        task=None if schedule.task is None else _task(schedule.task, script),
        plan=None if schedule.plan is None else _plan(schedule.plan, script),
        overlap=schedule.overlap,
        misfire=schedule.misfire,
        misfire_most=schedule.misfire_most,
        misfire_grace=schedule.misfire_grace_s,
        owner=schedule.owner,
        created_by=schedule.created_by,
        created_at=iso(schedule.created_at) or "",
        edited_at=iso(schedule.edited_at) or "",
        revision=schedule.revision,
        next_at=iso(float(next_due)) if next_due is not None else None,
        next_local=local(schedule.timing, next_due) if next_due is not None else None,
        last=last,
    )


def _reason(schedule: Schedule, now: float) -> str:
    if schedule.paused_by is not None:
        return f"paused by {schedule.paused_by}"
    if schedule.decided_until > now + 60:
        return (
            f"decided until {iso(schedule.decided_until)} by a clock that was ahead; "
            "pause and resume it to go on from now"
        )
    return ""


def _task(task: Submission, script: bool) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(task)
    if not script:
        del shown["script"], shown["script_base64"]
    return shown


def _plan(plan: PlanSpec, script: bool) -> dict[str, Any]:
    steps = [
        {"name": one.name, "tasks": [_task(task, script) for task in one.tasks], "needs": one.needs}
        for one in plan.steps
    ]
    return {"name": plan.name, "steps": steps}


# ---- what became of it


def _last(reader: Reader, id: str) -> FiringView | None:
    rows = reader.rows("firings_of_schedule", schedule=id, before=NEWEST, limit=1)
    return _firing(rows[0]) if rows else None


def firings(
    reader: Reader, schedule: str | None, state: str | None, limit: int, cursor: str | None
) -> Page:
    if state is not None and state not in FiringState.__members__.values():
        raise InvalidValue(
            f"state is {state[:80]!r}; it takes one of {', '.join(FiringState)}", field="state"
        )
    before, last = from_cursor(cursor, tuple[float, str]) if cursor else (NEWEST, "")
    size = size_of(limit)
    if schedule is not None:
        known(reader, schedule)
        rows = reader.rows("firings_of_schedule", schedule=schedule, before=before, limit=size + 1)
    elif state is None or state == FiringState.FIRED:
        rows = reader.rows("all_firings", before=before, schedule=last, limit=size + 1)
    else:
        rows = reader.rows(
            "all_firings_in_state", state=state, before=before, schedule=last, limit=size + 1
        )
    more = to_cursor((rows[size - 1][2], rows[size - 1][0])) if len(rows) > size else None
    wanted = [_firing(row) for row in rows[:size] if state is None or row[4] == state]
    return Page(wanted, more)


def _firing(row: Sequence[Any]) -> FiringView:
    schedule, name, due_at, until_at, state, reason, decided_at, late_s = row[:8]
    task, by, task_state, plan, plan_state = row[8:]
    return FiringView(
        schedule=schedule,
        schedule_name=name,
        due_at=iso(due_at) or "",
        until_at=iso(until_at),
        state=state,
        reason=reason,
        decided_at=iso(decided_at) or "",
        late_s=round(late_s, 3),
        task=task,
        task_state=task_state,
        plan=plan,
        plan_state=plan_state,
        by=by,
    )


# ---- what is to come


def coming(reader: Reader, until: float) -> list[Due]:
    return [
        Due(id, name, _decode_when(timing), decided_until)
        for id, name, timing, decided_until in reader.rows("timings", until=until)
    ]


def timeline(schedules: Sequence[Due], now: float, until: float) -> TimelineView:
    """Schedules that are due often are one line each."""
    firings: list[tuple[int, Due]] = []
    frequent = []
    for schedule in schedules:
        found = dues(schedule.when, max(now, schedule.decided_until), until, OFTEN + 1)
        if len(found) > OFTEN:
            frequent.append(_frequent(schedule, found[0], until))
        else:
            firings += ((due, schedule) for due in found)
    firings.sort(key=lambda one: (one[0], one[1].name))
    cut = iso(firings[MOST_COMING][0]) if len(firings) > MOST_COMING else None
    return TimelineView(
        since=iso(now) or "",
        until=iso(until) or "",
        firings=[_coming(schedule, due) for due, schedule in firings[:MOST_COMING]],
        frequent=sorted(frequent, key=lambda one: one.name),
        cut=cut,
    )


def _coming(schedule: Due, due: int) -> ComingView:
    return ComingView(
        schedule=schedule.id,
        name=schedule.name,
        at=iso(float(due)) or "",
        local=local(schedule.when, due),
        zone=schedule.when.zone,
    )


def _frequent(schedule: Due, first: int, until: float) -> FrequentView:
    return FrequentView(
        schedule=schedule.id,
        name=schedule.name,
        words=words(schedule.when),
        count=_count(schedule.when, first, until),
        next_at=iso(float(first)) or "",
    )


def _count(when: When, first: int, until: float) -> int:
    """From the first on; of what is counted in seconds without counting."""
    if when.seconds is not None:
        last = until if when.end_at is None else min(until, when.end_at)
        return int((last - first) // when.seconds) + 1
    return len(dues(when, first - 1, until, int(until - first) // 60 + 2))
