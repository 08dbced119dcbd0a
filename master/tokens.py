"""What are API tokens? Made, listed, judged and revoked, over one transaction.

The store keeps the hash of a token. One that has an owner acts for them and goes with them; one
without belongs to nobody in particular.
"""

import math
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from master.changes import NewSecret
from master.ids import hash_of, new_id
from master.person_rules import check_role
from master.reader import Reader
from master.rights import Person, lower, person_of_token
from master.rows import to_json
from master.transaction import Tx
from master.views import from_cursor, to_cursor
from utils import iso
from wire.errors import Conflict, NotFound
from wire.people import TOKEN_PREFIX, TokenView
from wire.views import Page

SECRET_BYTES = 32
MOST_OF_OWNER = 1000
ENDED_KEPT_S = 30 * 86400.0  # an owner's ended tokens are listed so long at least


class _Shown(Struct, array_like=True):
    id: str
    name: str
    role: str
    owner: str | None
    owner_role: str | None
    owner_disabled: bool | None
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None


def make(
    tx: Tx, name: str, role: str, owner: str | None = None, expires_in: float | None = None
) -> NewSecret:
    """`expires_in` seconds, None: never. Raises Conflict when the owner has too many."""
    check_role(role)
    if owner is not None:
        _make_room(tx, owner)
    made = NewSecret(new_id(), TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES))
    tx.execute(
        "insert_api_token",
        id=made.id,
        secret_sha256=hash_of(made.secret),
        role=role,
        label=name,
        owner=owner,
        expires_at=None if expires_in is None else tx.now + expires_in,
        now=tx.now,
    )
    return made


def _make_room(tx: Tx, owner: str) -> None:
    tx.execute("delete_expired_sessions", now=tx.now)
    tx.execute("delete_ended_tokens", owner=owner, before=tx.now - ENDED_KEPT_S)
    row = tx.row("count_tokens_of_owner", owner=owner)
    if row is not None and row[0] >= MOST_OF_OWNER:
        raise Conflict(
            f"there are {MOST_OF_OWNER} tokens of this person, those that ended in the last "
            f"{ENDED_KEPT_S / 86400:.0f} days included: no more are made"
        )


def is_any_there(reader: Reader) -> bool:
    return reader.row("any_api_token") is not None


def holder(reader: Reader, secret: str) -> Person | None:
    """Whom the token lets in now; None: not known, expired, revoked, or its owner disabled."""
    row = reader.row("token_holder", secret_sha256=hash_of(secret), now=reader.now)
    return None if row is None else person_of_token(*row)


def page(reader: Reader, limit: int, cursor: str | None, owner: str | None) -> Page:
    """The newest first; `owner` None: of everybody."""
    before, id = from_cursor(cursor, tuple[float, str]) if cursor is not None else (math.inf, "")
    values: dict[str, object] = {"before": before, "before_id": id, "limit": limit + 1}
    if owner is None:
        rows = reader.rows("list_tokens", **values)
    else:
        rows = reader.rows("list_tokens_of_owner", **values, owner=owner)
    shown = [_shown(row) for row in rows[:limit]]
    more = len(rows) > limit
    last = (shown[-1].created_at, shown[-1].id) if more else None
    views = [_view(one, reader.now) for one in shown]
    return Page(views, to_cursor(last) if last is not None else None)


def view(reader: Reader, id: str) -> TokenView:
    row = reader.row("shown_token", id=id)
    if row is None:
        raise NotFound(f"no token has the id {id}")
    return _view(_shown(row), reader.now)


def revoke(tx: Tx, id: str, owner: str | None) -> None:
    """Once and for all, with the sessions it has opened; `owner` None: whosever it is.

    NotFound: none of theirs."""
    if owner is None:
        found = tx.execute("revoke_api_token", id=id, now=tx.now)
    else:
        found = tx.execute("revoke_token_of_owner", id=id, owner=owner, now=tx.now)
    if not found:
        raise NotFound(f"no token{'' if owner is None else ' of yours'} has the id {id}")
    tx.execute("delete_sessions_of_token", owner=id, spared="")


def note_used(tx: Tx, used_at: Mapping[str, float]) -> None:
    tx.execute("note_tokens_used", rows=to_json(list(used_at.items())))


def _shown(row: tuple[Any, ...]) -> _Shown:
    return msgspec.convert(row, _Shown, strict=False)


def _view(token: _Shown, now: float) -> TokenView:
    state = _state(token, now)
    acts_as = token.role if token.owner_role is None else lower(token.role, token.owner_role)
    return TokenView(
        id=token.id,
        name=token.name,
        role=token.role,
        acts_as=acts_as if state == "active" else None,
        owner=token.owner,
        created_at=iso(token.created_at) or "",
        expires_at=iso(token.expires_at),
        last_used=iso(token.used_at),
        revoked_at=iso(token.revoked_at),
        state=state,
    )


def _state(token: _Shown, now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    return "disabled" if token.owner_disabled else "active"
