"""Who are the people? Added, changed and removed, over one transaction.

Whatever happens, one admin stays who may log in: counted in the transaction that would take
the last one away.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from master.ids import new_id
from master.person_rules import check_limited, name_key
from master.reader import Reader
from master.rights import ADMIN
from master.transaction import Tx
from master.views import from_cursor, to_cursor
from utils import iso
from wire.errors import Conflict, NotFound
from wire.people import PersonView
from wire.views import Page


class Account(Struct, frozen=True, array_like=True):
    """A person, as the store has them. `password`: what argon2id made of it."""

    id: str
    name: str
    role: str
    hosts: str | None
    password: str
    disabled: bool

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN and not self.disabled


class Change(Struct, frozen=True):
    """What is UNSET stays as it is. `hosts` None: no limit any more."""

    role: str | UnsetType = UNSET
    hosts: str | UnsetType | None = UNSET
    password: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class _Shown(Struct, array_like=True):
    id: str
    name: str
    role: str
    hosts: str | None
    disabled: bool
    created_at: float
    last_login: float | None
    sessions: int


# ---- reading


def account(source: Tx | Reader, id: str) -> Account:
    row = source.row("person", id=id)
    if row is None:
        raise NotFound(f"no person has the id {id}")
    return _account(row)


def account_by_name(source: Tx | Reader, name: str) -> Account | None:
    row = source.row("person_by_name", name_key=name_key(name))
    return None if row is None else _account(row)


def is_anybody_there(source: Tx | Reader) -> bool:
    return source.row("any_person") is not None


def page(reader: Reader, limit: int, cursor: str | None, idle_s: float) -> Page:
    after = from_cursor(cursor, str) if cursor is not None else ""
    since = reader.now - idle_s
    rows = reader.rows(
        "list_people", after=after, limit=limit + 1, now=reader.now, used_after=since
    )
    views = [_view(row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(views, to_cursor(name_key(views[-1].name)) if more else None)


def view(reader: Reader, id: str, idle_s: float) -> PersonView:
    row = reader.row("shown_person", id=id, now=reader.now, used_after=reader.now - idle_s)
    if row is None:
        raise NotFound(f"no person has the id {id}")
    return _view(row)


# ---- changing


def add(tx: Tx, name: str, role: str, hosts: str | None, password: str) -> Account:
    """Raises Conflict when the name is taken, in whatever case."""
    known = account_by_name(tx, name)
    if known is not None:
        raise Conflict(f"there is a person named {known.name} already", field="name")
    added = Account(new_id(), name, role, hosts, password, False)
    tx.execute(
        "insert_person",
        id=added.id,
        name=name,
        name_key=name_key(name),
        role=role,
        hosts=hosts,
        password=password,
        now=tx.now,
    )
    return added


def change(tx: Tx, id: str, wanted: Change, spared: str | None = None) -> Account:
    """All of it or nothing. Whoever is disabled or gets another password loses all sessions,
    but the one that is `spared`. Raises NotFound, Conflict (the last admin), InvalidValue."""
    before = account(tx, id)
    given = msgspec.structs.asdict(wanted).items()
    after = replace(before, **{name: value for name, value in given if value is not UNSET})
    check_limited(after.role, after.hosts)
    if before.is_admin and not after.is_admin:
        _keep_an_admin(tx, before)
    tx.execute(
        "update_person",
        id=id,
        role=after.role,
        hosts=after.hosts,
        password=after.password,
        disabled=after.disabled,
    )
    if after.disabled or after.password != before.password:
        tx.execute("delete_sessions_of_person", owner=id, spared=spared or "")
    return after


def told(before: Account, after: Account) -> dict[str, Any]:
    """What a change is in the audit log: new values, of a password only that it is another."""
    names = [
        name
        for name in ("role", "hosts", "disabled")
        if getattr(before, name) != getattr(after, name)
    ]
    changes = {name: getattr(after, name) for name in names}
    if before.password != after.password:
        changes["password"] = "changed"
    return {"name": after.name, "changes": changes}


def change_password(tx: Tx, id: str, old: str, new: str, spared: str) -> Account:
    """From one hash to another. Conflict: somebody has changed it since the old one was looked
    at."""
    if account(tx, id).password != old:
        raise Conflict("the password was changed meanwhile; log in again")
    return change(tx, id, Change(password=new), spared)


def remove(tx: Tx, id: str) -> Account:
    """With all sessions and tokens; tasks keep the name. Raises NotFound, Conflict."""
    gone = account(tx, id)
    if gone.is_admin:
        _keep_an_admin(tx, gone)
    tx.execute("delete_sessions_of_person", owner=id, spared="")
    tx.execute("delete_tokens_of_owner", owner=id)
    tx.execute("delete_person", id=id)
    return gone


def _keep_an_admin(tx: Tx, leaving: Account) -> None:
    row = tx.row("other_admins", id=leaving.id)
    if row is None or row[0] == 0:
        raise Conflict(
            f"{leaving.name} is the last admin who can log in; make another person one first"
        )


def _account(row: tuple[Any, ...]) -> Account:
    return msgspec.convert(row, Account, strict=False)


def _view(row: tuple[Any, ...]) -> PersonView:
    shown = msgspec.convert(row, _Shown, strict=False)
    return PersonView(
        id=shown.id,
        name=shown.name,
        role=shown.role,
        hosts=shown.hosts,
        disabled=shown.disabled,
        created_at=iso(shown.created_at) or "",
        last_login=iso(shown.last_login),
        sessions=shown.sessions,
    )
