"""What is asked and told of the audit log? See master/audit.py for what is in it."""

from typing import Any

from msgspec import Struct

from wire.requests import Auth


class GetAudit(Struct):
    """Newest first. A call looks at a bounded number of records: with filters a page may hold
    fewer than `limit`, even none, and still have `next`, with which the search goes on."""

    auth: Auth
    limit: int = 100
    cursor: str | None = None
    who: str | None = None
    action: str | None = None  # the whole, or its beginning up to a dot: task or task.cancel
    object: str | None = None  # kind:id
    result: str | None = None  # ok, refused, or the code of a refusal
    since: float | None = None  # UNIX time
    until: float | None = None  # before this UNIX time


class AuditRecord(Struct):
    """One act. `result` is ok, or the code of the refusal; `hash` is of it and all before it."""

    seq: int
    at: str
    who: str
    kind: str  # session, token, agent, system, nobody
    credential: str  # id of the session or token
    address: str
    action: str
    object: str
    result: str
    detail: dict[str, Any]
    hash: str


class AuditPage(Struct):
    items: list[AuditRecord]
    next: str | None = None
