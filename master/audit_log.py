"""What does the audit log tell? Records newest first, by filters, at a bounded cost a call.

One filter is the store's, by an index; the others are judged here on what it finds.
"""

from typing import Any

import msgspec
from msgspec import Struct

from master.audit import OK
from master.chain import START, Link
from master.reader import Reader
from master.views import from_cursor, to_cursor
from utils import iso
from wire.audit import AuditPage, AuditRecord

SCANNED = 5_000  # records that one call looks at: some 10 ms
LATEST_MS = 1 << 53
NEWEST = 1 << 62
REFUSED = "refused"

_decode_detail = msgspec.json.Decoder(dict[str, Any]).decode


class Filters(Struct, frozen=True):
    """None: any. Times are milliseconds: from `since_ms` on, before `until_ms`."""

    who: str | None = None
    action: str | None = None
    object: str | None = None
    result: str | None = None
    since_ms: int = -LATEST_MS
    until_ms: int = LATEST_MS


def page(reader: Reader, limit: int, cursor: str | None, wanted: Filters) -> AuditPage:
    """Newest first. Raises Malformed for a cursor that is none."""
    at_ms, seq = from_cursor(cursor, tuple[int, int]) if cursor else (wanted.until_ms, -1)
    query, values = _walk(wanted)
    most = max(SCANNED, limit + 1) if _judged_here(wanted) else limit + 1
    rows = reader.rows(
        query, at_ms=at_ms, seq=min(seq, NEWEST), since=wanted.since_ms, limit=most, **values
    )
    fitting = [row for row in rows if _fits(row, wanted)]
    last = rows[-1] if len(rows) == most else None
    if len(fitting) > limit:
        last = fitting[limit - 1]
    items = [_record(row) for row in fitting[:limit]]
    return AuditPage(items, None if last is None else to_cursor((last[1], last[0])))


def last(reader: Reader) -> Link:
    """The newest record's place in the chain."""
    row = reader.row("last_audit")
    return START if row is None else Link(*row)


def _walk(wanted: Filters) -> tuple[str, dict[str, object]]:
    """The query that finds fewest that do not fit."""
    if wanted.object is not None:
        return "scan_audit_of_object", {"object": wanted.object}
    if wanted.who is not None:
        return "scan_audit_of_person", {"who": wanted.who}
    return "scan_audit", {}


def _judged_here(wanted: Filters) -> bool:
    both = wanted.object is not None and wanted.who is not None
    return both or wanted.action is not None or wanted.result is not None


def _fits(row: tuple[Any, ...], wanted: Filters) -> bool:
    who, action, result = row[2], row[6], row[8]
    if wanted.who is not None and who != wanted.who:
        return False
    if wanted.action is not None and not f"{action}.".startswith(f"{wanted.action}."):
        return False
    if wanted.result == REFUSED:
        return bool(result != OK)
    return wanted.result is None or result == wanted.result


def _record(row: tuple[Any, ...]) -> AuditRecord:
    seq, at_ms, who, kind, credential, address, action, object, result, detail, hash = row
    return AuditRecord(
        seq=seq,
        at=iso(at_ms / 1000) or "",
        who=who,
        kind=kind,
        credential=credential,
        address=address,
        action=action,
        object=object,
        result=result,
        detail=_decode_detail(detail),
        hash=hash,
    )
