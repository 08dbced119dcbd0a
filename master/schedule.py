"""What is to become of the due instants of a schedule? Pure: its record and `now` in, verdicts out.

Each due instant is decided once, in order, and `decided_until` moves with it: what is not after it
is never decided again, whatever clocks do. A firing is on time if it is decided within ON_TIME_S
and no later one has come up meanwhile; all others are misfires, and the policy says which of them
run all the same:

    skip    none
    once    the newest, unless one is on time, which then stands for all of them
    each    the newest `misfire_most`

none of them if it is late by more than `misfire_grace`. A firing makes a task, or a plan; what runs
while one of them is still active is up to the overlap policy:

    allow   runs beside it
    skip    does not run
    wait    waits for its end, one after another
    replace it is cancelled, and the newest firing waits until it has ended
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from master.timing import span
from master.when import When, dues, fires_at, next_after, shortest_s
from utils import iso
from wire.plans import PlanSpec
from wire.requests import Submission

ON_TIME_S = 30.0  # a master that is started anew is not away
AT_ONCE = 500  # verdicts of one decision
BACKLOG = 10_000  # due instants that are told one by one
MAX_WAITING = 100  # firings of a schedule that wait for the one before


class Overlap(StrEnum):
    ALLOW = "allow"
    SKIP = "skip"
    WAIT = "wait"
    REPLACE = "replace"


class Misfire(StrEnum):
    SKIP = "skip"
    ONCE = "once"
    EACH = "each"


class FiringState(StrEnum):
    FIRED = "fired"  # its task or plan was made
    SKIPPED = "skipped"
    MISSED = "missed"
    WAITING = "waiting"  # for the one before; becomes FIRED or SKIPPED


class Schedule(Struct, array_like=True, frozen=True, kw_only=True):
    """The row of a schedule. `next_due` is the first instant that is not decided, and `next_at`
    when it fires; both None while nothing is to come. `revision` grows with each edit. Either
    `task` or `plan` is None."""

    id: str
    name: str
    timing: When
    task: Submission | None
    overlap: Overlap
    misfire: Misfire
    misfire_most: int
    misfire_grace_s: int
    owner: str  # who made or last edited it: its tasks are made with their rights
    owner_id: str  # see master/owners.py
    created_by: str
    created_at: float
    edited_at: float
    decided_until: float
    paused_by: str | None = None
    removed_at: float | None = None
    next_due: int | None = None
    next_at: float | None = None
    revision: int = 1
    plan: PlanSpec | None = None
    key_id: str | None = None  # of the key that its secrets are sealed with; None: it has none
    row_version: int = 0


class Work(Struct, frozen=True):
    """What a firing has made."""

    kind: str  # task | plan
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Busy(Struct, frozen=True):
    """What stands in the store beside the schedule. `active`: what it has made that has not ended;
    `waiting`: due instants of the firings that wait, in order; `taken`: instants after
    `decided_until` that are decided all the same, by a clock that went ahead."""

    active: Sequence[Work] = ()
    waiting: Sequence[float] = ()
    taken: frozenset[float] = frozenset()


class Verdict(Struct, frozen=True, kw_only=True):
    """`until`: it stands for all due instants from `due` to this one; None: for one."""

    due: float
    state: FiringState  # FIRED: its task or plan is to be made now
    reason: str = ""
    late_s: float = 0.0
    until: float | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """`new` are rows to be inserted, `settled` rows that wait no more. `cancel`: what is
    replaced. `more`: there is more to decide at once."""

    new: tuple[Verdict, ...] = ()
    settled: tuple[Verdict, ...] = ()
    cancel: tuple[Work, ...] = ()
    decided_until: float
    next_due: int | None
    next_at: float | None
    more: bool = False


def decide(schedule: Schedule, busy: Busy, now: float) -> Decision:
    """What becomes of what is due by now, and not decided; at most AT_ONCE, and one firing."""
    if schedule.paused_by is not None or schedule.removed_at is not None:
        return _decision(schedule, schedule.decided_until, None)
    ripe = _ripe(schedule, now)
    if len(ripe) > BACKLOG:
        return _too_long_away(schedule, ripe[0], now)
    untaken = [due for due in ripe if due not in busy.taken]
    judged = _misfires(schedule, untaken, now)
    new, settled, cancel = _overlaps(schedule.overlap, judged, busy)
    first = _with_one_firing([*settled, *new])
    more = len(first) < len(settled) + len(new)
    settled, new = first[: len(settled)], first[len(settled) :]
    until = schedule.decided_until
    if new or not more:
        until = new[-1].due if more else max([until, *ripe[-1:]])
    return _decision(
        schedule,
        until,
        next_after(schedule.timing, until),
        new=tuple(new),
        settled=tuple(settled),
        cancel=cancel,
        more=more,
    )


def is_ripe(schedule: Schedule, now: float) -> bool:
    """Has a firing come up that is not decided yet?"""
    return schedule.next_at is not None and schedule.next_at <= now


def put_off(schedule: Schedule, now: float) -> list[int]:
    """Due instants whose splay is not up: whoever edits or pauses the schedule takes them away."""
    return dues(schedule.timing, schedule.decided_until, now, AT_ONCE)


def upcoming(schedule: Schedule, after: float) -> tuple[int | None, float | None]:
    """(next_due, next_at) of a schedule that has been decided until then."""
    due = next_after(schedule.timing, after)
    if due is None:
        return None, None
    return due, fires_at(schedule.id, schedule.timing, due)


def _with_one_firing(verdicts: list[Verdict]) -> list[Verdict]:
    """As many of them as one transaction takes, which makes one task or plan at most."""
    for place, verdict in enumerate(verdicts[:AT_ONCE]):
        if verdict.state is FiringState.FIRED:
            return verdicts[: place + 1]
    return verdicts[:AT_ONCE]


# ---- which are due


def _ripe(schedule: Schedule, now: float) -> list[int]:
    """In order; one whose splay is not up holds up those behind it."""
    when = schedule.timing
    found = dues(when, schedule.decided_until, now, BACKLOG + 1)
    while found and fires_at(schedule.id, when, found[-1]) > now:
        found.pop()
    return found


def _too_long_away(schedule: Schedule, first: int, now: float) -> Decision:
    """One row for all but the last BACKLOG that there can be."""
    when = schedule.timing
    until = max(float(first), now - BACKLOG * shortest_s(when))
    verdict = Verdict(
        due=first,
        state=FiringState.MISSED,
        reason=f"nobody was there to fire this and all others due until {iso(until)}; "
        f"more than {BACKLOG} were due in all",
        late_s=now - first,
        until=until,
    )
    return _decision(schedule, until, next_after(when, until), new=(verdict,), more=True)


def _decision(
    schedule: Schedule,
    until: float,
    next_due: int | None,
    *,
    new: tuple[Verdict, ...] = (),
    settled: tuple[Verdict, ...] = (),
    cancel: tuple[Work, ...] = (),
    more: bool = False,
) -> Decision:
    when = schedule.timing
    return Decision(
        new=new,
        settled=settled,
        cancel=cancel,
        decided_until=until,
        next_due=next_due,
        next_at=None if next_due is None else fires_at(schedule.id, when, next_due),
        more=more,
    )


# ---- which of them run


def _misfires(schedule: Schedule, ripe: Sequence[int], now: float) -> list[Verdict]:
    """FIRED, or MISSED with the reason; what else goes on is not looked at yet."""
    late = [max(0.0, now - fires_at(schedule.id, schedule.timing, due)) for due in ripe]
    first, rest = _those_that_run(schedule, late)
    verdicts = []
    for place, (due, late_s) in enumerate(zip(ripe, late, strict=True)):
        said = f"late by {span(late_s)}" if late_s > ON_TIME_S or place < len(ripe) - 1 else ""
        if place >= first and (late_s <= schedule.misfire_grace_s or not said):
            state = FiringState.FIRED
        else:
            state = FiringState.MISSED
            grace = f"more than the grace of {span(schedule.misfire_grace_s)}"
            said += f": {rest if place < first else grace}"
        verdicts.append(Verdict(due=due, state=state, reason=said, late_s=late_s))
    return verdicts


def _those_that_run(schedule: Schedule, late: Sequence[float]) -> tuple[int, str]:
    """From which place on they run, if the grace allows it, and why those before do not."""
    last = len(late) - 1
    is_on_time = bool(late) and late[last] <= ON_TIME_S
    match schedule.misfire:
        case Misfire.SKIP:
            return last + (not is_on_time), "what is late is left out (misfire skip)"
        case Misfire.ONCE:
            return last, "the last one runs for all (misfire once)"
    most = schedule.misfire_most
    return last + 1 - most - is_on_time, f"of those that are late the last {most} run"


# ---- which of those run now


def _overlaps(
    overlap: Overlap, verdicts: list[Verdict], busy: Busy
) -> tuple[list[Verdict], list[Verdict], tuple[Work, ...]]:
    """(verdicts on what is due, verdicts on what waited, what is to be cancelled)."""
    match overlap:
        case Overlap.ALLOW:
            return verdicts, [_freed(due) for due in busy.waiting], ()
        case Overlap.REPLACE:
            return _replaced(verdicts, busy)
    waited = list(busy.waiting)
    settled = []
    if waited and not busy.active:
        settled.append(_freed(waited.pop(0)))
    is_taken = bool(busy.active or settled)
    judged = []
    for verdict in verdicts:
        if verdict.state is FiringState.FIRED:
            if is_taken or waited:
                verdict = _held_up(overlap, verdict, len(waited), busy)
                if verdict.state is FiringState.WAITING:
                    waited.append(verdict.due)
            is_taken = True
        judged.append(verdict)
    return judged, settled, ()


def _held_up(overlap: Overlap, verdict: Verdict, waiting: int, busy: Busy) -> Verdict:
    before = str(busy.active[-1]) if busy.active else "what the firing before has made"
    if overlap is Overlap.SKIP:
        return _as(verdict, FiringState.SKIPPED, f"{before} has not ended (overlap skip)")
    if waiting >= MAX_WAITING:
        return _as(verdict, FiringState.SKIPPED, f"{waiting} firings wait already")
    return _as(verdict, FiringState.WAITING, f"waits for the end of {before}")


def _replaced(
    verdicts: list[Verdict], busy: Busy
) -> tuple[list[Verdict], list[Verdict], tuple[Work, ...]]:
    """Of all that wait or want to run only the newest does, once what runs has ended."""
    fired = [verdict.due for verdict in verdicts if verdict.state is FiringState.FIRED]
    newest = max([*busy.waiting, *fired], default=None)
    settled, judged = [], []
    for due in busy.waiting:
        if due != newest:
            settled.append(_outrun(Verdict(due=due, state=FiringState.WAITING), newest))
        elif not busy.active:
            settled.append(_freed(due))
    for verdict in verdicts:
        if verdict.state is FiringState.FIRED:
            if verdict.due != newest:
                verdict = _outrun(verdict, newest)
            elif busy.active:
                reason = f"{busy.active[-1]} is cancelled for it, and it waits for its end"
                verdict = _as(verdict, FiringState.WAITING, reason)
        judged.append(verdict)
    return judged, settled, tuple(busy.active) if newest in fired else ()


def _outrun(verdict: Verdict, newest: float | None) -> Verdict:
    return _as(verdict, FiringState.SKIPPED, f"replaced by the firing due at {iso(newest)}")


def _freed(due: float) -> Verdict:
    return Verdict(due=due, state=FiringState.FIRED, reason="waited for the one before")


def _as(verdict: Verdict, state: FiringState, reason: str) -> Verdict:
    return Verdict(due=verdict.due, state=state, reason=reason, late_s=verdict.late_s)
