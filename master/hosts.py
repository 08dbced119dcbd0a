"""Which hosts does a list show, and in which order? All of it from memory, without the store.

A choice is made on a copy of the list of hosts, beside the hub, which goes on changing
them meanwhile: what is sorted by is read once a host.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from master.roster import Presence, state_of
from master.targets import natural
from master.views import from_cursor, to_cursor
from utils import iso
from wire.errors import InvalidValue, Malformed
from wire.keys import fingerprint
from wire.requests import ListAgents
from wire.states import AgentState, Standing
from wire.views import AgentView, Page

_STANDINGS = [standing for standing in Standing if standing is not Standing.DELETED]
_STATES = list(AgentState)  # in the order in which they are sorted
_decode_facts = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Wanted(Struct, frozen=True):
    """What was asked for, found sound. Texts are in lower case."""

    limit: int
    cursor: str | None
    offset: int
    text: str
    state: AgentState | None
    label: str
    value: str | None  # of the label; None: any
    sort: str
    descending: bool
    facts: bool
    standing: Standing | None  # None: any but pending
    renamed: bool


def check(asked: ListAgents) -> Wanted:
    """Raises InvalidValue with the field that is wrong. `limit` is the caller's to judge."""
    sort = asked.sort.removeprefix("-")
    if sort not in _SORTS:
        raise InvalidValue(
            f"sort is {asked.sort!r}; it takes {', '.join(_SORTS)}, or one of them after a -",
            field="sort",
        )
    if asked.state and asked.state not in _STATES:
        raise InvalidValue(
            f"state is {asked.state!r}; it takes one of {', '.join(_STATES)}", field="state"
        )
    if asked.standing and asked.standing not in _STANDINGS:
        raise InvalidValue(
            f"standing is {asked.standing!r}; it takes one of {', '.join(_STANDINGS)}",
            field="standing",
        )
    if asked.offset < 0:
        raise InvalidValue(f"offset is {asked.offset}; it takes 0 or more", field="offset")
    label, colon, value = (asked.label or "").partition(":")
    return Wanted(
        limit=asked.limit,
        cursor=asked.cursor,
        offset=asked.offset,
        text=(asked.text or "").strip().lower(),
        state=AgentState(asked.state) if asked.state else None,
        label=label,
        value=value if colon else None,
        sort=sort,
        descending=asked.sort.startswith("-"),
        facts=asked.facts,
        standing=Standing(asked.standing) if asked.standing else None,
        renamed=asked.renamed,
    )


class Ranks:
    """The place of each host by hostname, as people count; made anew when a name came or went."""

    def __init__(self) -> None:
        self._made: tuple[int, dict[str, int]] = (-1, {})

    def of(self, version: int, hosts: Sequence[Presence]) -> dict[str, int]:
        """`version` says which names these are. May run beside the hub, also twice at once."""
        made_for, ranks = self._made
        if version != made_for:
            ordered = sorted(hosts, key=lambda host: (natural(host.hostname), host.id))
            ranks = {host.id: rank for rank, host in enumerate(ordered)}
            self._made = version, ranks
        return ranks


def page(hosts: Sequence[Presence], ranks: dict[str, int], wanted: Wanted, now: float) -> Page:
    """The window of hosts that was asked for. Raises Malformed for a cursor of another list."""
    found = _filtered(hosts, wanted, now)
    key = _SORTS[wanted.sort]
    rows = sorted((key(host, now), ranks[host.id], host) for host in found)
    rest = _after_cursor(rows, wanted)[wanted.offset :]
    shown = rest[: wanted.limit]
    return Page(
        items=[view(host, now, facts=wanted.facts) for _, _, host in shown],
        next=_cursor(wanted, shown[-1]) if len(rest) > len(shown) else None,
        total=len(rows),
    )


def view(host: Presence, now: float, *, facts: bool = True) -> AgentView:
    return AgentView(
        id=host.id,
        hostname=host.hostname,
        ip=host.ip,
        labels=host.labels,
        facts=_decode_facts(host.facts) if facts else {},
        state=state_of(host, now),
        standing=host.standing,
        busy=host.busy,
        slots=host.slots,
        last_seen=iso(host.heard_at),
        version=host.version,
        clock_skew=host.skew_s,
        claimed_hostname=host.claims,
        reason=host.reason,
        joined_by=host.joined_by,
        fingerprint=fingerprint(host.key) if host.standing is Standing.PENDING else None,
    )


# ---- filters


def _filtered(hosts: Sequence[Presence], wanted: Wanted, now: float) -> Sequence[Presence]:
    hosts = [host for host in hosts if _stands(host, wanted)]
    if wanted.renamed:
        hosts = [host for host in hosts if host.claims is not None]
    if wanted.label:
        hosts = [host for host in hosts if _is_labelled(host, wanted)]
    if wanted.text:
        hosts = [host for host in hosts if _is_named(host, wanted.text)]
    if wanted.state is not None:
        hosts = [host for host in hosts if state_of(host, now) is wanted.state]
    return hosts


def _stands(host: Presence, wanted: Wanted) -> bool:
    if wanted.standing is None:
        return host.standing is not Standing.PENDING
    return host.standing is wanted.standing


def _is_labelled(host: Presence, wanted: Wanted) -> bool:
    value = host.labels.get(wanted.label)
    return value is not None and wanted.value in (None, value)


def _is_named(host: Presence, text: str) -> bool:
    return (
        text in host.hostname.lower()
        or (host.claims is not None and text in host.claims.lower())
        or text in host.id
        or any(text in address.lower() for address in host.ip)
    )


# ---- order


Row = tuple[Any, int, Presence]  # what is sorted by, the rank, the host


@lru_cache(maxsize=1024)  # a fleet has few versions
def _version_key(version: str) -> list[tuple[int, int, str]]:
    return natural(version)


# A skew is the larger the further off, either way; one that is not known is the smallest.
_SORTS: dict[str, Callable[[Presence, float], Any]] = {
    "hostname": lambda host, now: 0,
    "state": lambda host, now: _STATES.index(state_of(host, now)),
    "busy": lambda host, now: host.busy,
    "last_seen": lambda host, now: host.heard_at,
    "version": lambda host, now: _version_key(host.version),
    "clock_skew": lambda host, now: -1 if host.skew_s is None else abs(host.skew_s),
}


class _Cursor(Struct, array_like=True, frozen=True):
    """The last row of a page, by what it was sorted by."""

    sort: str
    value: float | str
    hostname: str
    id: str


def _cursor(wanted: Wanted, row: Row) -> str:
    value, _, host = row
    if wanted.sort == "version":
        value = host.version
    return to_cursor(_Cursor(wanted.sort, value, host.hostname, host.id))


def _after_cursor(rows: list[Row], wanted: Wanted) -> list[Row]:
    """The rows after the cursor, in the direction that was asked for."""
    if wanted.cursor is None:
        return rows[::-1] if wanted.descending else rows
    last = from_cursor(wanted.cursor, _Cursor)
    if last.sort != wanted.sort or isinstance(last.value, str) != (last.sort == "version"):
        raise Malformed(
            "cursor is of a list that was sorted otherwise; begin without it", field="cursor"
        )
    value = _version_key(last.value) if isinstance(last.value, str) else last.value
    place = value, natural(last.hostname), last.id
    if wanted.descending:
        return rows[: bisect_left(rows, place, key=_place)][::-1]
    return rows[bisect_right(rows, place, key=_place) :]


def _place(row: Row) -> tuple[Any, list[tuple[int, int, str]], str]:
    """Where a row stands, without its rank: the host of a cursor may have none any more."""
    value, _, host = row
    return value, natural(host.hostname), host.id
