"""How do schedules and their firings come into the store? Verbs, each one transaction.

What becomes of a due instant is written in the transaction that makes its task or plan: its row in
`firings`, whose primary key is schedule and instant, the task with its runs, and the schedule's
`decided_until`, only if the schedule's row is still the one that was read. So each instant is
decided once, by however many processes, and whichever of them is killed.

The clock is the wall's, not the master's steady one: people mean the former when they say a time.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from master import audit, intake, ledger, planning
from master.audit import Act
from master.changes import Added, Changed, NewTask
from master.plan import Plan
from master.planning import PlanMade
from master.records import Task
from master.schedule import (
    Busy,
    FiringState,
    Schedule,
    Verdict,
    Work,
    decide,
    is_ripe,
    put_off,
    upcoming,
)
from master.schedule_rows import (
    found,
    insert,
    insert_firing,
    known,
    move,
    refuse_taken,
    seal,
    settle_firing,
    update,
)
from master.secrets import Sealed
from master.timing import words
from master.transaction import Tx
from wire.errors import Conflict

MAX_SCHEDULES = 10_000


class NotDecided(Exception):
    """Something has come up that must be decided before the schedule can be changed."""


class Aim(Struct, frozen=True):
    """What the schedule's next firing comes to now: a task or a plan, or why there can be none.

    `revision`: of the schedule that it was found for.
    """

    schedule: str
    revision: int
    made: NewTask | Plan | None
    refusal: str = ""
    sealed: Sealed | None = None  # the secrets of a plan


class Opened(Struct, frozen=True):
    """A task that a firing has made, and the agents whose runs wait."""

    task: Task
    waiting: tuple[str, ...]


class Fired(Struct, frozen=True):
    """`plans`: those that were made or cancelled. `again`: there is more to decide, or the schedule
    was edited meanwhile."""

    opened: Opened | None = None
    plans: tuple[str, ...] = ()
    changed: tuple[Changed, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    again: bool = False


# ---- what people do


def add(tx: Tx, schedule: Schedule, act: Act, sealed: Sealed | None = None) -> Schedule:
    """`sealed`: its secrets. Raises Conflict: the name is taken, or there are too many."""
    refuse_taken(tx, schedule)
    (number,) = tx.rows("count_schedules")[0]
    if number >= MAX_SCHEDULES:
        raise Conflict(f"there are {number} schedules; at most {MAX_SCHEDULES} can be")
    insert(tx, schedule, sealed)
    _note(tx, act, schedule)
    return schedule


def change(
    tx: Tx,
    id: str,
    edit: Callable[[Schedule, float], Schedule],
    now: float,
    cause: str,
    act: Act,
    sealed: Sealed | UnsetType | None = UNSET,
) -> Schedule:
    """`edit` gives the schedule as it shall be from now on: what is due until now is decided on
    what it was. Raises NotDecided if that has yet to be done, NotFound, Conflict.

    `cause` says why a firing is taken away that waits, or whose splay is not up yet. `sealed`: its
    secrets from now on; UNSET: those that it has.
    """
    before = known(tx, id)
    if before.paused_by is None and is_ripe(before, now):
        raise NotDecided
    after = edit(before, now)
    if after == before:
        return before
    if after.name.lower() != before.name.lower():
        refuse_taken(tx, after)
    is_off = after.paused_by is not None or after.removed_at is not None
    if is_off or after.timing != before.timing or before.paused_by is not None:
        _take_away(tx, before, now, cause, waiting=is_off)
        after = _anew(after, now)
    update(tx, after)
    if not isinstance(sealed, UnsetType):
        seal(tx, id, sealed)
    _note(tx, act, after)
    return replace(after, row_version=after.row_version + 1)


def _anew(schedule: Schedule, now: float) -> Schedule:
    """From now on, also where a clock that went ahead had decided later instants already."""
    next_due, next_at = None, None
    if schedule.paused_by is None and schedule.removed_at is None:
        next_due, next_at = upcoming(schedule, now)
    return replace(schedule, decided_until=now, next_due=next_due, next_at=next_at)


def _take_away(tx: Tx, schedule: Schedule, now: float, cause: str, *, waiting: bool) -> None:
    if schedule.paused_by is None:
        for due in put_off(schedule, now):
            verdict = Verdict(due=due, state=FiringState.SKIPPED, reason=cause)
            insert_firing(tx, schedule, verdict, now)
    if waiting:
        for (due,) in tx.rows("waiting_firings", schedule=schedule.id):
            verdict = Verdict(due=due, state=FiringState.SKIPPED, reason=cause)
            settle_firing(tx, schedule, verdict, now)


def run_now(tx: Tx, id: str, new: NewTask, now: float, act: Act) -> Added:
    """A firing by hand, beside all due instants. The same key again gives the same task.

    Raises Conflict if something of it is active, unless they may run beside each other.
    """
    schedule = known(tx, id)
    if new.key is not None and tx.row("idempotency_key", caller=new.created_by, key=new.key):
        return intake.add_task(tx, new, act)
    at = _by_hand(tx, schedule, Work("task", new.id), now, act)
    return intake.add_task(tx, replace(new, due_at=at), act)


def run_plan_now(
    tx: Tx, id: str, new: Plan, now: float, act: Act, sealed: Sealed | None = None
) -> PlanMade:
    """As `run_now`, of a schedule that makes plans."""
    schedule = known(tx, id)
    if new.key is not None and tx.row("plan_by_key", created_by=new.created_by, key=new.key):
        return planning.add(tx, new, act)
    at = _by_hand(tx, schedule, Work("plan", new.id), now, act)
    return planning.add(tx, replace(new, due_at=at), act, sealed)


def _by_hand(tx: Tx, schedule: Schedule, work: Work, now: float, act: Act) -> float:
    """Write its firing; for which instant."""
    active = _active(tx, schedule.id)
    if active and schedule.overlap != "allow":
        raise Conflict(
            f"{active[-1]} of this schedule has not ended, and its overlap policy is "
            f"{schedule.overlap}; wait for its end, or cancel it"
        )
    at = _free_instant(tx, schedule.id, now)
    verdict = Verdict(due=at, state=FiringState.FIRED, reason=f"by hand of {act.who}")
    insert_firing(tx, schedule, verdict, now, work, by=act.who)
    return at


def _free_instant(tx: Tx, id: str, now: float) -> float:
    """Never a whole second, which may be a due one."""
    at = round(now, 3)
    while at == int(at) or tx.row("decided_instants", schedule=id, after=at - 1e-4, until=at):
        at = round(at + 0.001, 3)
    return at


# ---- what time does


def fire(tx: Tx, aim: Aim, now: float) -> Fired:
    """Decide what has come up, and do it. Whoever loses against another process does nothing."""
    schedule = found(tx, aim.schedule)
    if schedule is None or schedule.removed_at is not None:
        return Fired()
    if schedule.revision != aim.revision:
        return Fired(again=True)
    decision = decide(schedule, _busy(tx, schedule, now), now)
    moved = replace(
        schedule,
        decided_until=decision.decided_until,
        next_due=decision.next_due,
        next_at=decision.next_at,
    )
    if moved != schedule:
        move(tx, moved)
    act = Act(f"schedule {schedule.name}", "system", "schedule.fire")
    changed, plans = _cancelled(tx, decision.cancel, act)
    made = [
        *(_carry_out(tx, schedule, one, aim, now, act, settle_firing) for one in decision.settled),
        *(_carry_out(tx, schedule, one, aim, now, act, insert_firing) for one in decision.new),
    ]
    return Fired(
        opened=next((one for one in made if isinstance(one, Opened)), None),
        plans=(*plans, *(one.id for one in made if isinstance(one, Plan))),
        changed=changed,
        verdicts=(*decision.settled, *decision.new),
        again=decision.more or any(one.ended for one in changed),  # what it waits for is over
    )


def _cancelled(
    tx: Tx, works: Sequence[Work], act: Act
) -> tuple[tuple[Changed, ...], tuple[str, ...]]:
    """What that has changed, and the plans among them."""
    changed: list[Changed] = []
    plans = tuple(work.id for work in works if work.kind == "plan")
    for plan in plans:
        changed += planning.cancel(tx, plan, act).changed
    changed += [ledger.cancel_task(tx, work.id, act) for work in works if work.kind == "task"]
    return tuple(changed), plans


Write = Callable[..., bool]


def _carry_out(
    tx: Tx,
    schedule: Schedule,
    verdict: Verdict,
    aim: Aim,
    now: float,
    act: Act,
    write: Write,
) -> Opened | Plan | None:
    """Write the row, and make task or plan if it fires; nothing if another process was first."""
    if verdict.state is not FiringState.FIRED:
        write(tx, schedule, verdict, now)
        return None
    if aim.made is None:
        skipped = replace(verdict, state=FiringState.SKIPPED, reason=aim.refusal)
        write(tx, schedule, skipped, now)
        return None
    if isinstance(aim.made, Plan):
        plan = replace(aim.made, created_at=tx.now, due_at=verdict.due)
        is_ours = write(tx, schedule, verdict, now, Work("plan", plan.id))
        return planning.add(tx, plan, act, aim.sealed).plan if is_ours else None
    new = replace(aim.made, due_at=verdict.due)
    if not write(tx, schedule, verdict, now, Work("task", new.id)):
        return None
    task = intake.add_task(tx, new, act).task
    return Opened(task, tuple(intake.to_wake(new, task)))


def _busy(tx: Tx, schedule: Schedule, now: float) -> Busy:
    taken = tx.rows(
        "decided_instants", schedule=schedule.id, after=schedule.decided_until, until=now
    )
    return Busy(
        active=_active(tx, schedule.id),
        waiting=[due for (due,) in tx.rows("waiting_firings", schedule=schedule.id)],
        taken=frozenset(due for (due,) in taken),
    )


def _active(tx: Tx, id: str) -> list[Work]:
    """In the order in which they were made, which that of their ids is."""
    tasks = [Work("task", task) for (task,) in tx.rows("active_tasks_of_schedule", schedule=id)]
    plans = [Work("plan", plan) for (plan,) in tx.rows("active_plans_of_schedule", schedule=id)]
    return sorted(tasks + plans, key=lambda work: work.id)


def forget(tx: Tx, before: float, limit: int) -> int:
    """Firings that were due before then, and schedules that were removed before and of which no
    firing is left; at most `limit` rows of each."""
    gone = tx.execute("forget_firings", before=before, limit=limit)
    return gone + tx.execute("forget_schedules", before=before, limit=limit)


def _note(tx: Tx, act: Act, schedule: Schedule) -> None:
    """Not its scripts, arguments or environments, which may hold secrets."""
    audit.append(
        tx,
        act,
        f"schedule:{schedule.id}",
        name=schedule.name,
        revision=schedule.revision,
        when=words(schedule.timing),
        **_said(schedule),
    )


def _said(schedule: Schedule) -> dict[str, Any]:
    if schedule.plan is not None:
        return {"steps": len(schedule.plan.steps)}
    return {} if schedule.task is None else {"targets": schedule.task.targets}
