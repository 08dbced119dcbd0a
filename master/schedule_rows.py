"""How does a schedule become a row and back, and what became of its due instants?"""

from collections.abc import Sequence
from typing import Any

import msgspec

from master import callbacks
from master.reader import Reader
from master.rows import to_json
from master.schedule import Schedule, Verdict, Work
from master.secrets import Sealed
from master.transaction import Stale, Tx
from wire.errors import Conflict, NotFound

_decode = msgspec.json.Decoder(Schedule, strict=False).decode


def known(tx: Tx | Reader, id: str) -> Schedule:
    """Raises NotFound, also for one that was removed."""
    schedule = found(tx, id)
    if schedule is None or schedule.removed_at is not None:
        raise NotFound(f"no schedule has the id {id}")
    return schedule


def decoded(rows: Sequence[tuple[Any, ...]]) -> list[Schedule]:
    return [_decode(row[0]) for row in rows]


def found(tx: Tx | Reader, id: str) -> Schedule | None:
    """Also one that was removed."""
    row = tx.row("schedule_by_id", id=id)
    return None if row is None else _decode(row[0])


def refuse_taken(tx: Tx, schedule: Schedule) -> None:
    """Raises Conflict: another has its name."""
    if tx.row("schedule_named", name=schedule.name) is not None:
        raise Conflict(f"there is a schedule {schedule.name} already", field="name")


def _columns(schedule: Schedule) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(schedule, name) for name in schedule.__struct_fields__}
    del fields["key_id"]  # only ever written with what it has sealed
    nested = {name: to_json(fields[name]) for name in ("timing", "task")}
    plan = None if schedule.plan is None else to_json(schedule.plan)
    return {**fields, **nested, "plan": plan}


def _sealed(sealed: Sealed | None) -> dict[str, Any]:
    if sealed is None:
        return {"key_id": None, "sealed": None}
    return {"key_id": sealed.key_id, "sealed": sealed.content}


def insert(tx: Tx, schedule: Schedule, sealed: Sealed | None) -> None:
    tx.execute("insert_schedule", **_columns(schedule), **_sealed(sealed))


def seal(tx: Tx, id: str, sealed: Sealed | None) -> None:
    """Its secrets from now on."""
    tx.execute("seal_schedule", id=id, **_sealed(sealed))


def update(tx: Tx, schedule: Schedule) -> None:
    """What people set. Raises Stale if the row is not the one that was read."""
    if not tx.execute("update_schedule", **_columns(schedule)):
        raise Stale(f"schedule {schedule.id} had changed")


def move(tx: Tx, schedule: Schedule) -> None:
    """What a decision changes. Raises Stale if the row is not the one that was read."""
    moved = tx.execute(
        "move_schedule",
        id=schedule.id,
        row_version=schedule.row_version,
        decided_until=schedule.decided_until,
        next_due=schedule.next_due,
        next_at=schedule.next_at,
    )
    if not moved:
        raise Stale(f"schedule {schedule.id} had changed")


def insert_firing(
    tx: Tx,
    schedule: Schedule,
    verdict: Verdict,
    now: float,
    work: Work | None = None,
    by: str | None = None,
) -> bool:
    """False: the instant was decided already."""
    inserted = tx.execute(
        "insert_firing",
        schedule=schedule.id,
        due_at=verdict.due,
        until_at=verdict.until,
        state=verdict.state,
        reason=verdict.reason,
        decided_at=now,
        late_s=verdict.late_s,
        by_hand=by,
        **_made(work),
    )
    if inserted:
        callbacks.note_firing(tx, schedule, verdict)
    return inserted > 0


def settle_firing(
    tx: Tx, schedule: Schedule, verdict: Verdict, now: float, work: Work | None = None
) -> bool:
    """False: it waits no more."""
    settled = tx.execute(
        "settle_firing",
        schedule=schedule.id,
        due_at=verdict.due,
        state=verdict.state,
        reason=verdict.reason,
        decided_at=now,
        **_made(work),
    )
    if settled:
        callbacks.note_firing(tx, schedule, verdict)
    return settled > 0


def _made(work: Work | None) -> dict[str, str | None]:
    """The columns that say what it has made."""
    return {
        kind: work.id if work is not None and work.kind == kind else None
        for kind in ("task", "plan")
    }
