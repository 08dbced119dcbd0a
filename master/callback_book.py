"""Which callbacks are there? Verbs that add, change and remove them, each one transaction.

URL and secret of a callback are sealed before they come here, and never seen here.
"""

from typing import Any

import msgspec
from msgspec import Struct

from master import audit
from master.audit import Act
from master.callback_events import Wants
from master.reader import Reader
from master.rows import to_json
from master.transaction import Tx
from wire.errors import Conflict, NotFound

MAX_CALLBACKS = 64  # each may have so many letters under way that a slow one delays no other
ACTIVE = "callbacks"  # the name in meta: how many callbacks are active; nothing is told for 0
_LISTS = ("events", "names", "schedules", "recipients")

_decode_list = msgspec.json.Decoder(list[str]).decode


class Callback(Struct, frozen=True, kw_only=True):
    """The row of a callback. `sealed`: its URL and its secret, by the key of that id."""

    id: str
    name: str
    kind: str
    events: list[str]
    tasks: str
    names: list[str]
    schedules: list[str]
    address: str
    username: str
    sender: str
    recipients: list[str]
    active: bool
    problem: str
    changed_by: str
    changed_at: float
    key_id: str
    sealed: bytes
    old_secret_until: float | None = None  # the secret before signs, too, until then

    def __repr__(self) -> str:
        return f"Callback {self.name}"

    @property
    def wants(self) -> Wants:
        return Wants(
            id=self.id,
            name=self.name,
            events=frozenset(self.events),
            tasks=self.tasks,
            names=tuple(self.names),
            schedules=frozenset(self.schedules),
        )


def all_callbacks(reader: Reader | Tx) -> list[Callback]:
    """By name."""
    return [_record(row) for row in reader.rows("callbacks")]


def known(reader: Reader | Tx, id: str) -> Callback:
    """Raises NotFound, also for one that was removed."""
    row = reader.row("callback_by_id", id=id)
    if row is None:
        raise NotFound(f"no callback has the id {id}")
    return _record(row)


def is_known(reader: Reader, name: str) -> bool:
    return reader.row("callback_named", name=name) is not None


def add(tx: Tx, callback: Callback, act: Act) -> Callback:
    """Raises Conflict: the name is taken, or there are too many."""
    _refuse_taken(tx, callback.name)
    number = len(tx.rows("callbacks"))
    if number >= MAX_CALLBACKS:
        raise Conflict(f"there are {number} callbacks; at most {MAX_CALLBACKS} can be")
    return _put(tx, "insert_callback", callback, act)


def change(tx: Tx, callback: Callback, seen_at: float, act: Act) -> Callback:
    """`seen_at`: when the one was changed last that this was made of. Raises NotFound, Conflict."""
    before = known(tx, callback.id)
    if before.changed_at != seen_at:
        raise Conflict(f"callback {before.name} was changed meanwhile; look at it again")
    if callback.name.lower() != before.name.lower():
        _refuse_taken(tx, callback.name)
    return _put(tx, "update_callback", callback, act)


def remove(tx: Tx, id: str, act: Act) -> None:
    """What it still had to deliver is dropped. Raises NotFound."""
    callback = known(tx, id)
    tx.execute("remove_callback", id=id, now=tx.now)
    reason = f"the callback was removed by {act.who}"
    tx.execute("drop_deliveries", callback=id, reason=reason, now=tx.now)
    audit.append(tx, act, f"callback:{id}", name=callback.name)
    _count(tx)


def pause(tx: Tx, callback: Callback, problem: str) -> None:
    """The master does so by itself, when a receiver wants nothing more."""
    tx.execute("pause_callback", id=callback.id, problem=problem)
    act = audit.of_system("callback.pause")
    audit.append(tx, act, f"callback:{callback.id}", name=callback.name, reason=problem)
    _count(tx)


def forget_sealed(tx: Tx, key_id: str) -> int:
    """What is sealed with a key that is gone; the number of callbacks that are paused by it."""
    problem = "its URL and secret are given up, as their key was lost: set them anew"
    gone = tx.execute("forget_sealed_callbacks", key_id=key_id, problem=problem)
    _count(tx)
    return gone


def _put(tx: Tx, statement: str, callback: Callback, act: Act) -> Callback:
    callback = msgspec.structs.replace(callback, changed_by=act.who, changed_at=tx.now)
    fields: dict[str, Any] = {name: getattr(callback, name) for name in callback.__struct_fields__}
    lists = {name: to_json(fields[name]) for name in _LISTS}
    tx.execute(statement, **(fields | lists))
    audit.append(
        tx,
        act,
        f"callback:{callback.id}",
        name=callback.name,
        kind=callback.kind,
        address=callback.address,
        active=callback.active,
    )
    _count(tx)
    return callback


def _count(tx: Tx) -> None:
    active = sum(callback.active for callback in all_callbacks(tx))
    tx.put_meta(ACTIVE, str(active))


def _refuse_taken(tx: Tx, name: str) -> None:
    if tx.row("callback_named", name=name) is not None:
        raise Conflict(f"there is a callback {name} already", field="name")


def _record(row: tuple[Any, ...]) -> Callback:
    fields = dict(zip(Callback.__struct_fields__, row, strict=True))
    lists = {name: _decode_list(fields[name]) for name in _LISTS}
    sealed = fields["sealed"] or b""
    return Callback(**{**fields, **lists, "active": bool(fields["active"]), "sealed": sealed})
