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

from master.pages import from_cursor, to_cursor
from master.roster import Presence, state_of
from master.targets import natural
from utils import iso
from wire.errors import InvalidValue
from wire.messages import AgentView, ListAgents, Page
from wire.states import AgentState

MOST_RANKED = 200_000

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
    )


class Ranks:
    """The place of each host by hostname, as people count; made anew when a name came or went."""

    def __init__(self) -> None:
        self._version = -1
        self._ranks: dict[str, int] = {}

    def of(self, version: int, hosts: Sequence[Presence]) -> dict[str, int]:
        """`version` says which names these are. May run beside the hub, also twice at once."""
        if version == self._version:
            return self._ranks
        ordered = sorted(hosts, key=_name_key)
        ranks = {host.id: rank for rank, host in enumerate(ordered)}
        self._ranks, self._version = ranks, version
        return ranks


def page(hosts: Sequence[Presence], ranks: dict[str, int], wanted: Wanted, now: float) -> Page:
    """The window of hosts that was asked for. Raises InvalidValue for a cursor of another list."""
    found = _filtered(hosts, wanted, now)
    value = _SORTS[wanted.sort]
    rows = sorted((_key(value(host, now)), ranks[host.id], host) for host in found)
    total = len(rows)
    rows = _after_cursor(rows, wanted)[wanted.offset :]
    shown = [host for _, _, host in rows[: wanted.limit]]
    more = len(rows) > len(shown) and shown
    return Page(
        items=[view(host, now, facts=wanted.facts) for host in shown],
        next=_cursor(wanted, value(shown[-1], now), shown[-1]) if more else None,
        total=total,
    )


def view(host: Presence, now: float, *, facts: bool) -> AgentView:
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
    )
