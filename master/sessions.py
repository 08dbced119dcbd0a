"""Who is logged in? Sessions of people, opened, found and ended, over one transaction.

The store keeps the hash of a session's secret. A session ends when it is unused too long, and
at a fixed time after the log-in however much it is used.
"""

import secrets
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from master.ids import hash_of, new_id
from master.people import Account, account
from master.reader import Reader
from master.rights import Owner, Person, limit_of, person_of_token
from master.rows import to_json
from master.transaction import Tx
from utils import iso
from wire.errors import NotFound, Unauthenticated
from wire.people import SESSION_PREFIX, SessionView

SECRET_BYTES = 32
MOST_OF_OWNER = 100  # beyond, the one that was used longest ago ends

REFUSED = "name or password is wrong, or this person may not log in"


class Span(Struct, frozen=True):
    """How long a session lasts."""

    idle_s: float
    life_s: float


class Opened(Struct, frozen=True):
    """The only time the secret is seen."""

    secret: str
    person: Person


def log_in(
    tx: Tx, verified: Account, rehashed: str | None, address: str, old: str | None, span: Span
) -> Opened:
    """A session for a person whose password was found right.

    Unauthenticated if they were disabled, removed or given another password since then.
    `rehashed`: the same password by today's parameters, to be kept from now on; `old`: the
    secret of the session that this browser has had, which ends.
    """
    try:
        now = account(tx, verified.id)
    except NotFound:
        raise Unauthenticated(REFUSED) from None
    if now.disabled or now.password != verified.password:
        raise Unauthenticated(REFUSED)
    return open_for(tx, now, rehashed or now.password, address, old, span)


def open_for(
    tx: Tx, account: Account, password: str, address: str, old: str | None, span: Span
) -> Opened:
    """`password`: the hash to be kept from now on."""
    tx.execute("note_login", id=account.id, password=password, now=tx.now)
    if old is not None:
        tx.execute("delete_session_by_secret", secret_sha256=hash_of(old))
    person = Person(
        account.name,
        account.role,
        limit_of(account.role, account.hosts),
        "session",
        address=address,
        person=account.id,
    )
    return _open(tx, person, None, tx.now + span.life_s)


def log_in_by_token(tx: Tx, person: Person, span: Span) -> Opened:
    """A session that is worth what the token is worth that `person` came by, and ends with it."""
    row = tx.row("expiry_of_token", id=person.credential)
    if row is None:
        raise Unauthenticated("the token was revoked")
    ends_at = tx.now + span.life_s
    return _open(tx, person, person.credential, ends_at if row[0] is None else min(ends_at, row[0]))


def _open(tx: Tx, person: Person, token: str | None, expires_at: float) -> Opened:
    """Under a new id and secret, never one that the browser brought along."""
    id, secret = new_id(), SESSION_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    table, owner = _owned(person.owner)
    tx.execute("delete_expired_sessions", now=tx.now)
    tx.execute(f"delete_least_used_sessions_of_{table}", owner=owner, most=MOST_OF_OWNER - 1)
    tx.execute(
        "insert_session",
        id=id,
        secret_sha256=hash_of(secret),
        person=person.person,
        token=token,
        address=person.address,
        now=tx.now,
        expires_at=expires_at,
    )
    return Opened(secret, replace(person, credential=token or id, session=id))


def holder(reader: Reader, secret: str, idle_s: float) -> Person | None:
    """Whom the session lets in now; None: there is none, or no more."""
    row = reader.row(
        "session_holder",
        secret_sha256=hash_of(secret),
        now=reader.now,
        used_after=reader.now - idle_s,
    )
    if row is None:
        return None
    id, token, label, tokens_role, person, name, role, hosts = row
    if token is not None:
        opener = person_of_token(token, label, tokens_role, person, name, role, hosts)
        return replace(opener, session=id)
    return Person(name, role, limit_of(role, hosts), "session", id, person=person, session=id)


def of_owner(reader: Reader, whose: Owner, current: str | None, idle_s: float) -> list[SessionView]:
    """Those that are open, the one used last first; `current`: the id of the one that asks."""
    table, owner = _owned(whose)
    rows = reader.rows(
        f"sessions_of_{table}", owner=owner, now=reader.now, used_after=reader.now - idle_s
    )
    return [
        SessionView(
            id=id,
            address=address,
            created_at=iso(created_at) or "",
            last_used=iso(used_at) or "",
            expires_at=iso(expires_at) or "",
            current=id == current,
        )
        for id, address, created_at, used_at, expires_at in rows
    ]


def end(tx: Tx, id: str, whose: Owner) -> None:
    """NotFound: it is not one of theirs."""
    table, owner = _owned(whose)
    if not tx.execute(f"delete_session_of_{table}", id=id, owner=owner):
        raise NotFound(f"no session of yours has the id {id}")


def end_all(tx: Tx, whose: Owner) -> None:
    table, owner = _owned(whose)
    tx.execute(f"delete_sessions_of_{table}", owner=owner, spared="")


def note_used(tx: Tx, used_at: Mapping[str, float]) -> None:
    tx.execute("note_sessions_used", rows=to_json(list(used_at.items())))


def _owned(whose: Owner) -> tuple[str, str]:
    """Which column names the owner, as the queries are named, and its id."""
    if whose.person is not None:
        return "person", whose.person
    assert whose.token is not None, "an owner is a person or a token"
    return "token", whose.token
