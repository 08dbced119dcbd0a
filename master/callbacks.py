"""What has to be told, and how far is that? The outbox of callbacks: verbs, each one transaction.

An event is written by the transaction that makes it, for each callback that wants it; so none is
lost and none is told that never was. Where there is no callback, one value of meta is read for
a task's beginning and end, and nothing at all for what happens between.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from master import audit, callback_book
from master.audit import Act
from master.callback_book import ACTIVE, Callback
from master.callback_events import (
    Event,
    may_tell,
    of_firing,
    of_plan,
    of_task,
    types_of,
    types_of_end,
    wants,
)
from master.ids import new_id
from master.plan import Part, Plan
from master.reader import Reader
from master.records import Task
from master.redelivery import DAY_S, Tried, after
from master.rows import to_json
from master.schedule import FiringState, Schedule, Verdict
from master.task import QUEUE
from master.transaction import NewDelivery, Tx
from utils import iso
from wire.callbacks import DELIVERED, FAILED, TEST, WAITING
from wire.errors import Conflict, NotFound
from wire.letters import MOST_OF_ANSWER_BYTES, Reply

MAX_ERROR_CHARACTERS = 500

_TOLD_FIRINGS = {FiringState.MISSED: "missed", FiringState.SKIPPED: "skipped"}


class Delivery(Struct, frozen=True):
    """One event for one callback. `payload`: "" in lists."""

    id: str
    callback: str
    callback_name: str
    event: str
    object: str
    state: str
    reason: str
    created_at: float
    next_at: float
    ended_at: float | None
    tries: int
    tries_since: int
    patience_from: float
    path: str = ""
    payload: str = ""


class Due(Struct, frozen=True):
    """A delivery that is to be tried now, and for whom."""

    id: str
    callback: Callback
    path: str
    payload: str


# ---- what happens


def note_task(tx: Tx, before: Task, after: Task) -> None:
    """A task changed; called for each change, so the quickest question comes first."""
    if not may_tell(before, after) or not is_anyone_there(tx):
        return
    types = types_of(before, after)
    if types:
        schedule = _name_of_schedule(tx, after.schedule)
        queue = tx.queue(after.id) if after.mode == QUEUE else None
        put(tx, [of_task(type, after, schedule, queue) for type in types])


def note_firing(tx: Tx, schedule: Schedule, verdict: Verdict) -> None:
    """A due instant was decided: who wants to know if it was missed or skipped?"""
    state = _TOLD_FIRINGS.get(verdict.state)
    if state is None or not is_anyone_there(tx):
        return
    told = {"id": schedule.id, "name": schedule.name}
    put(tx, [of_firing(state, told, verdict.due, verdict.until, verdict.reason)])


def note_plan(tx: Tx, plan: Plan, parts: Sequence[Part]) -> None:
    """A plan has ended; `parts` are all of its tasks."""
    if is_anyone_there(tx):
        schedule = _name_of_schedule(tx, plan.schedule)
        put(tx, [of_plan(type, plan, parts, schedule) for type in types_of_end(plan)])


def is_anyone_there(tx: Tx) -> bool:
    return tx.meta(ACTIVE) not in (None, "0")


def put(tx: Tx, events: Sequence[Event]) -> None:
    """One delivery for each callback that wants the event; first see if anyone is there."""
    wanting = [callback.wants for callback in callback_book.all_callbacks(tx) if callback.active]
    for event in events:
        for callback in wanting:
            if wants(callback, event):
                _insert(tx, callback.id, event)


def _name_of_schedule(tx: Tx, id: str | None) -> str | None:
    if id is None:
        return None
    row = tx.row("name_of_schedule", id=id)
    return None if row is None else row[0]


def _insert(tx: Tx, callback: str, event: Event) -> str:
    id = new_id()
    payload = {"type": event.type, "timestamp": iso(tx.now), "data": event.content}
    new = NewDelivery(id, callback, event.type, event.object, event.path, to_json(payload))
    tx.put_delivery(new)
    return id


# ---- what people do


def test(tx: Tx, id: str, act: Act) -> str:
    """Something to deliver that says that it is a test; its id. Raises NotFound, Conflict."""
    callback = _active(tx, id)
    content = {"callback": callback.name, "by": act.who}
    delivery = _insert(tx, id, Event(TEST, f"callback:{id}", "/callbacks", content))
    audit.append(tx, act, f"callback:{id}", name=callback.name, delivery=delivery)
    return delivery


def resend(tx: Tx, id: str, act: Act) -> None:
    """Try it again, from now on for a day, under the same id. Raises NotFound, Conflict."""
    delivery = known(tx, id)
    _active(tx, delivery.callback)
    again = msgspec.structs.replace(
        delivery,
        state=WAITING,
        reason="",
        next_at=tx.now,
        ended_at=None,
        tries_since=0,
        patience_from=tx.now,
    )
    _move(tx, again)
    audit.append(tx, act, f"delivery:{id}", callback=delivery.callback_name, event=delivery.event)


def _active(tx: Tx, id: str) -> Callback:
    callback = callback_book.known(tx, id)
    if not callback.active:
        raise Conflict(f"callback {callback.name} is paused; resume it first")
    return callback


# ---- delivering


def due(reader: Reader, busy: Mapping[str, frozenset[str]], most: int) -> tuple[list[Due], bool]:
    """What is to be tried now, so much of each callback that `most` are under way, and whether
    there is any callback at all.

    `busy`: the deliveries that are under way, by callback.
    """
    found: list[Due] = []
    callbacks = callback_book.all_callbacks(reader)
    for callback in callbacks:
        under_way = busy.get(callback.id, frozenset())
        free = most - len(under_way)
        if not callback.active or free <= 0:
            continue
        rows = reader.rows("due_deliveries", callback=callback.id, now=reader.now, limit=most)
        ready = [Due(id, callback, path, text) for id, _, path, text in rows if id not in under_way]
        found += ready[:free]
    return found, bool(callbacks)


def record(tx: Tx, replies: Sequence[Reply], patience_s: float = DAY_S) -> None:
    """How tries went: their log, and when each delivery is tried again."""
    for reply in replies:
        try:
            delivery = known(tx, reply.id)
        except NotFound:
            continue  # forgotten meanwhile
        delivery = msgspec.structs.replace(
            delivery, tries=delivery.tries + 1, tries_since=delivery.tries_since + 1
        )
        _log(tx, delivery, reply)
        _move(tx, _judged(tx, delivery, reply, patience_s))


def _log(tx: Tx, delivery: Delivery, reply: Reply) -> None:
    tx.execute(
        "insert_try",
        delivery=delivery.id,
        number=delivery.tries,
        at=tx.now,
        took_s=reply.took_s,
        status=reply.status,
        error=reply.error[:MAX_ERROR_CHARACTERS],
        answer=reply.answer[:MOST_OF_ANSWER_BYTES],
    )


def _judged(tx: Tx, delivery: Delivery, reply: Reply, patience_s: float) -> Delivery:
    """One that was dropped meanwhile stays so, whatever became of its last try."""
    if delivery.state != WAITING:
        return delivery
    tried = Tried(
        delivery.id,
        delivery.tries_since,
        delivery.patience_from,
        taken=not reply.error,
        gone=reply.gone,
        retry_after_s=_believable(reply.retry_after_s),
    )
    following = after(tried, tx.now, patience_s)
    if reply.gone:
        callback = callback_book.known(tx, delivery.callback)
        callback_book.pause(tx, callback, "the receiver says that it is gone, with status 410")
    return msgspec.structs.replace(
        delivery,
        state=following.state,
        reason=reply.error[:MAX_ERROR_CHARACTERS],
        next_at=following.at,
        ended_at=tx.now if following.state in (DELIVERED, FAILED) else None,
    )


def _believable(retry_after_s: float | None) -> float | None:
    if retry_after_s is None or not math.isfinite(retry_after_s):
        return None
    return max(0.0, retry_after_s)


def forget(tx: Tx, before: float, limit: int) -> int:
    """At most so many deliveries that ended before then, with their tries, and the callbacks
    that were removed and of which none is left."""
    rows = tx.rows("ended_deliveries", before=before, limit=limit)
    for (id,) in rows:
        tx.execute("delete_tries", delivery=id)
        tx.execute("delete_delivery", id=id)
    tx.execute("forget_callbacks", before=before, limit=limit)
    return len(rows)


# ---- rows


def known(reader: Reader | Tx, id: str) -> Delivery:
    """Raises NotFound."""
    row = reader.row("delivery_by_id", id=id)
    if row is None:
        raise NotFound(f"no delivery has the id {id}")
    return Delivery(*row)


def _move(tx: Tx, delivery: Delivery) -> None:
    names = ("id", "state", "reason", "next_at", "ended_at", "tries", "tries_since")
    fields: dict[str, Any] = {name: getattr(delivery, name) for name in names}
    tx.execute("move_delivery", **fields, patience_from=delivery.patience_from)
