"""Which words let hosts and web servers in? Join tokens: what they give, how long, how often.

Functions over one transaction; of a token only its SHA-256 is stored.
"""

import secrets
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from master import audit
from master.audit import Act
from master.changes import NewSecret
from master.ids import hash_of, new_id
from master.reader import Reader
from master.rows import to_json
from master.transaction import Tx
from utils import iso
from wire.errors import Conflict, InvalidValue, NotEnrolled, NotFound

ROLES = ("agent", "web")
SECRET_BYTES = 32
MOST = 1_000  # join tokens at once
SHOWN_AFTER_S = 30 * 86400.0  # how long an expired one is still listed


class NewToken(Struct, frozen=True, kw_only=True):
    """`agent`: the one host that gets a new key by it; None: it enrols new ones.

    `uses` None: any number. `expires_in` None: never. `by_hand`: its hosts wait for an admin.
    """

    role: str
    name: str
    labels: Mapping[str, str] = {}
    uses: int | None = None
    expires_in: float | None = None
    by_hand: bool = False
    agent: str | None = None


class JoinToken(Struct, frozen=True):
    """A row, without the secret."""

    id: str
    role: str
    name: str
    labels: dict[str, str]
    by_hand: bool
    agent: str | None
    used: int
    uses_left: int | None
    created_at: float
    created_by: str
    expires_at: float | None


class Pass(Struct, frozen=True):
    """What a token that was used gives."""

    name: str
    labels: str  # JSON
    by_hand: bool
    agent: str | None


def make(tx: Tx, new: NewToken, act: Act) -> NewSecret:
    """A token for one host takes the place of those made for it before."""
    if new.role not in ROLES:
        raise InvalidValue(f"role is {new.role!r}; it is one of {', '.join(ROLES)}", field="role")
    tx.execute("delete_expired_join_tokens", before=tx.now - SHOWN_AFTER_S)
    if new.agent is not None:
        tx.execute("delete_join_tokens_of", agent=new.agent)
    if count(tx) >= MOST:
        raise Conflict(f"there are {MOST} join tokens: delete some that are no longer needed")
    made = NewSecret(new_id(), secrets.token_urlsafe(SECRET_BYTES))
    tx.execute(
        "insert_join_token",
        id=made.id,
        secret_sha256=hash_of(made.secret),
        role=new.role,
        name=new.name,
        labels=to_json(new.labels),
        by_hand=new.by_hand,
        agent=new.agent,
        uses_left=new.uses,
        by=act.who,
        expires_at=None if new.expires_in is None else tx.now + new.expires_in,
        now=tx.now,
    )
    audit.append(
        tx,
        act,
        f"agent:{new.agent}" if new.agent is not None else f"join_token:{made.id}",
        name=new.name,
        role=new.role,
        labels=new.labels,
        uses=new.uses,
        expires_in=new.expires_in,
        by_hand=new.by_hand,
    )
    return made


def count(tx: Tx) -> int:
    row = tx.row("count_join_tokens")
    return row[0] if row else 0


def use(tx: Tx, token: str | None, role: str) -> Pass:
    """One use less. Raises NotEnrolled, to whom holds the token with the reason."""
    if token is None:
        raise NotEnrolled(f"this {role} is not enrolled, and no join token came with it")
    digest = hash_of(token)
    found = tx.row("join_token", secret_sha256=digest, role=role)
    if found is None:
        raise NotEnrolled(f"the join token is not one for a {role}, or was deleted")
    name, labels, by_hand, agent, uses_left, expires_at = found
    if expires_at is not None and expires_at <= tx.now:
        raise NotEnrolled(f"the join token {name!r} expired at {iso(expires_at)}")
    if uses_left is not None and uses_left <= 0:
        raise NotEnrolled(f"the join token {name!r} is used up")
    tx.execute("use_join_token", secret_sha256=digest)
    return Pass(name, labels, bool(by_hand), agent)


def remove(tx: Tx, id: str, act: Act) -> None:
    """Nobody else joins by it; hosts that have, stay."""
    if not tx.execute("delete_join_token", id=id):
        raise NotFound(f"no join token has the id {id}")
    audit.append(tx, act, f"join_token:{id}")


def listed(reader: Reader) -> list[JoinToken]:
    """Newest first."""
    found = [_token(*row) for row in reader.rows("join_tokens")]
    return sorted(found, key=lambda token: (-token.created_at, token.id))


def _token(
    id: str,
    role: str,
    name: str,
    labels: str,
    by_hand: int,
    agent: str | None,
    used: int,
    uses_left: int | None,
    created_at: float,
    created_by: str,
    expires_at: float | None,
) -> JoinToken:
    given = msgspec.json.decode(labels, type=dict[str, str])
    return JoinToken(
        id, role, name, given, bool(by_hand), agent, used, uses_left, created_at, created_by,
        expires_at,
    )  # fmt: skip
