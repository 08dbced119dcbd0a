"""How do plans and their steps come into the store? Verbs, each one transaction.

A step begins in one transaction: the plan's row moves, only if it is still the one that was read,
and with it come the rows of `plan_tasks` and the tasks that they name. So a step begins once, by
however many processes, and whichever of them is killed; what was missed meanwhile is found by
looking for plans that wait for nothing.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from master import audit, callbacks, intake, ledger
from master.audit import Act
from master.changes import Changed, NewTask
from master.plan import (
    Begin,
    End,
    HostRun,
    Part,
    Plan,
    decide,
    present_parts,
)
from master.reader import Reader
from master.records import Task
from master.rows import to_json
from master.secrets import Sealed
from master.transaction import Stale, Tx
from wire.errors import Conflict, NotFound
from wire.plans import PlanState
from wire.states import ENDED_TASK, RunState, TaskState

_decode = msgspec.json.Decoder(Plan, strict=False).decode
_COUNTED = tuple(RunState)  # in the order of the columns of `tasks_of_plan`


class Placed(Struct, frozen=True):
    """What one task of a step comes to: a new one, one of the attempt before that is kept, or none,
    for the `reason`."""

    new: NewTask | None = None
    kept: str | None = None
    reason: str = ""


class Aim(Struct, frozen=True):
    """What a step comes to now, found beside the store; or why it cannot begin (`refusal`).

    `row_version`: of the plan that it was found for.
    """

    plan: str
    row_version: int
    begin: Begin
    tasks: tuple[Placed, ...] = ()
    refusal: str = ""


class Opened(Struct, frozen=True):
    """A task that was made, and the agents whose runs wait."""

    task: Task
    waiting: tuple[str, ...]


class Advanced(Struct, frozen=True):
    """`again`: there is more to decide at once. `plan`: as it is now, where it has changed and goes
    on. `ended`: the plan has, just now."""

    opened: tuple[Opened, ...] = ()
    changed: tuple[Changed, ...] = ()
    again: bool = False
    plan: Plan | None = None
    ended: Plan | None = None


class PlanMade(Struct, frozen=True):
    """`created` False: the same key had made it before."""

    plan: Plan
    created: bool


# ---- what people do


def add(tx: Tx, plan: Plan, act: Act, sealed: Sealed | None = None) -> PlanMade:
    """`sealed`: the secrets of its tasks. The same key again gives the same plan; raises Conflict
    for another body."""
    earlier = _earlier(tx, plan)
    if earlier is not None:
        return PlanMade(earlier, created=False)
    tx.execute(
        "insert_plan",
        **_columns(plan),
        key_id=None if sealed is None else sealed.key_id,
        sealed=None if sealed is None else sealed.content,
    )
    _note(tx, act, plan, steps=len(plan.steps), tasks=sum(len(one.tasks) for one in plan.steps))
    return PlanMade(plan, created=True)


def cancel(tx: Tx, id: str, act: Act) -> Advanced:
    """Nothing more of it begins, and what runs is stopped. Repeating it changes nothing."""
    plan = known(tx, id)
    if plan.ended_at is not None or plan.cancelled_by is not None:
        return Advanced()
    cancelled = replace(plan, cancelled_by=act.who)
    _update(tx, cancelled)
    _note(tx, act, plan)
    open_tasks = sorted(task for (task,) in tx.rows("open_tasks_of_plan", plan=id))
    changed = tuple(ledger.cancel_task(tx, task, act) for task in open_tasks)
    return Advanced(changed=changed, again=True, plan=cancelled)


def resume(tx: Tx, id: str, again: str, owner: str, owner_id: str, act: Act) -> Plan:
    """The step at which it ended begins once more. Raises NotFound, Conflict."""
    plan = known(tx, id)
    if plan.state is PlanState.SUCCEED:
        raise Conflict("the plan has succeeded: nothing of it is left to do")
    if plan.ended_at is None:
        raise Conflict("the plan has not ended: only one that failed or was cancelled is resumed")
    begun = present_parts(plan, parts_of(tx, id))
    resumed = replace(
        plan,
        state=PlanState.RUNNING,
        reason="",
        attempt=plan.attempt + 1 if begun else plan.attempt,
        again=again,
        owner=owner,
        owner_id=owner_id,
        ended_at=None,
        cancelled_by=None,
    )
    _update(tx, resumed)
    _note(tx, act, plan, step=plan.steps[plan.step].name, hosts=again)
    return replace(resumed, row_version=resumed.row_version + 1)


# ---- what goes on by itself


def advance(tx: Tx, id: str, aim: Aim | None) -> Advanced:
    """Decide, and do it. A step begins only with an aim that was found for the plan as it is now;
    without one `again` asks for it. Whoever loses against another process does nothing."""
    row = tx.row("plan_by_id", id=id)
    if row is None:
        return Advanced()
    plan = _decode(row[0])
    parts = parts_of(tx, id)
    match decide(plan, parts):
        case None:
            return Advanced()
        case End() as end:
            return Advanced(ended=_end(tx, plan, parts, end))
        case Begin() as begin:
            if aim is None or (aim.row_version, aim.begin) != (plan.row_version, begin):
                return Advanced(again=True)
            return _begin(tx, plan, parts, aim)


def _begin(tx: Tx, plan: Plan, parts: Sequence[Part], aim: Aim) -> Advanced:
    _settle(tx, plan, present_parts(plan, parts))
    moved = replace(plan, step=aim.begin.step, attempt=aim.begin.attempt)
    if aim.refusal:
        step = plan.steps[aim.begin.step]
        end = End(PlanState.FAILED, f"step {step.name} could not begin: {aim.refusal}")
        return Advanced(ended=_end(tx, moved, parts, end))
    _update(tx, moved)
    act = Act(f"plan {plan.name}"[:200], "system", "plan.step")
    opened = []
    for place, placed in enumerate(aim.tasks):
        task = placed.kept if placed.new is None else placed.new.id
        _insert(tx, moved, place, task, placed.reason)
        if placed.new is not None:
            made = intake.add_task(tx, placed.new, act).task
            opened.append(Opened(made, tuple(intake.to_wake(placed.new, made))))
    is_over = all(one.task.state in ENDED_TASK for one in opened)
    return Advanced(opened=tuple(opened), again=is_over, plan=moved)


def _end(tx: Tx, plan: Plan, parts: Sequence[Part], end: End) -> Plan:
    """The one place where a plan ends, and callbacks are told in the same transaction."""
    _settle(tx, plan, present_parts(plan, parts))
    ended = replace(plan, state=end.state, reason=end.reason, ended_at=tx.now)
    _update(tx, ended)
    callbacks.note_plan(tx, ended, parts)
    return ended


def _settle(tx: Tx, plan: Plan, parts: Sequence[Part]) -> None:
    """Keep what the tasks of a step came to, for they may be forgotten before the plan is."""
    for part in parts:
        if part.task is not None:
            tx.execute(
                "settle_plan_task",
                plan=plan.id,
                step=part.step,
                attempt=part.attempt,
                place=part.place,
                state=part.state,
                counts=to_json(part.counts),
            )


def forget(tx: Tx, before: float, limit: int) -> int:
    """Plans that ended before then, at most `limit`; the number of rows that are gone."""
    gone = tx.execute("forget_plan_tasks", before=before, limit=limit)
    return gone + tx.execute("forget_plans", before=before, limit=limit)


# ---- rows


def known(source: Tx | Reader, id: str) -> Plan:
    """Raises NotFound."""
    row = source.row("plan_by_id", id=id)
    if row is None:
        raise NotFound(f"no plan has the id {id}")
    return _decode(row[0])


def decoded(rows: Sequence[tuple[Any, ...]]) -> list[Plan]:
    return [_decode(row[0]) for row in rows]


def parts_of(source: Tx | Reader, id: str) -> list[Part]:
    """In the order of steps, attempts and places."""
    return [_part(row) for row in source.rows("tasks_of_plan", plan=id)]


def _part(row: Sequence[Any]) -> Part:
    step, attempt, place, task, reason, state, kept, is_there, told, *counts = row
    now = {str(name): count for name, count in zip(_COUNTED, counts, strict=True)}
    return Part(
        step=step,
        attempt=attempt,
        place=place,
        task=task,
        reason=reason if task is None else told or "",
        state=None if state is None else TaskState(state),
        counts=now if is_there else msgspec.json.decode(kept or "{}"),
        is_kept=bool(is_there),
    )


def host_runs(reader: Reader, parts: Sequence[Part]) -> list[HostRun]:
    """The runs of all these tasks. Raises Conflict when one is no longer kept."""
    found = []
    for part in parts:
        if part.task is None:
            continue
        if not part.is_kept:
            raise Conflict(
                f"task {part.task} of an earlier step is no longer kept: which of its hosts "
                "succeeded is not known any more"
            )
        found += [
            HostRun(part.place, part.attempt, agent, RunState(state))
            for agent, state in reader.rows("runs_of_plan_task", task=part.task)
        ]
    return found


def made_by_key(source: Tx | Reader, key: str, created_by: str, body_hash: str) -> str | None:
    """The id of the plan that this key has made. Raises Conflict for another body."""
    found = source.row("plan_by_key", created_by=created_by, key=key)
    if found is None:
        return None
    known_hash, id = found
    if known_hash != body_hash:
        raise Conflict(f"the Idempotency-Key was used for plan {id}, with another body")
    made: str = id
    return made


def _earlier(tx: Tx, plan: Plan) -> Plan | None:
    if plan.key is None:
        return None
    id = made_by_key(tx, plan.key, plan.created_by, plan.body_hash)
    return None if id is None else known(tx, id)


def _note(tx: Tx, act: Act, plan: Plan, **detail: Any) -> None:
    """Not the scripts, arguments or environments of its tasks, which may hold secrets."""
    audit.append(tx, act, f"plan:{plan.id}", name=plan.name, **detail)


def _insert(tx: Tx, plan: Plan, place: int, task: str | None, reason: str) -> None:
    tx.execute(
        "insert_plan_task",
        plan=plan.id,
        step=plan.step,
        attempt=plan.attempt,
        place=place,
        task=task,
        reason=reason,
    )


def _columns(plan: Plan) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(plan, name) for name in plan.__struct_fields__}
    del fields["key_id"]  # only ever written with what it has sealed
    return {**fields, "steps": to_json(plan.steps)}


def _update(tx: Tx, plan: Plan) -> None:
    if not tx.execute("update_plan", **_columns(plan)):
        raise Stale(f"plan {plan.id} had changed")
