"""What is a saved group? A name for an expression, kept in the store; who uses it, and no cycles.

A group that limits a person is a right: only admins change what it means. A group that is used
is not removed.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from master import audit
from master.audit import Act
from master.plan_uses import plans_that_refer
from master.reader import Reader
from master.schedule_uses import schedules_that_refer
from master.targets import check_expression, groups_in
from master.transaction import Tx
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound
from wire.host_groups import HostGroup, Use

MAX_GROUPS = 1000
MAX_NOTE_CHARACTERS = 500


class Saved(Struct, frozen=True):
    """The row of a group; `changed_at` on the master's clock."""

    name: str
    hosts: str
    note: str
    changed_by: str
    changed_at: float


# ---- decisions


def check(group: HostGroup, others: Mapping[str, str]) -> None:
    """InvalidValue for a group that can't be read, or that would be part of itself.

    `others`: {name: expression} of all groups, this one as it was among them.
    """
    check_expression(group.hosts, "hosts")
    if len(group.note) > MAX_NOTE_CHARACTERS or not group.note.replace("\n", " ").isprintable():
        raise InvalidValue(
            f"note: it takes at most {MAX_NOTE_CHARACTERS} printable characters", field="note"
        )
    known = {**others, group.name: group.hosts}
    missing = sorted(groups_in(group.hosts) - known.keys())
    if missing:
        raise InvalidValue(f"hosts: there is no saved group @{missing[0]}", field="hosts")
    if circle := _circle(group.name, known):
        way = " of ".join(f"@{name}" for name in circle)
        raise InvalidValue(f"hosts: the group would be part of itself: {way}", field="hosts")


def _circle(start: str, known: Mapping[str, str]) -> list[str] | None:
    """The groups on the way from one back to itself."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for name in sorted(groups_in(known.get(way[-1], ""))):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None


def users_of(name: str, groups: Mapping[str, str], others: Iterable[tuple[Use, str]]) -> list[Use]:
    """Who chooses hosts by this group, also by way of another one.

    `others`: what is no group, with its expression.
    """
    meant = _with_users(name, groups)
    within = [Use("group", one) for one in sorted(meant - {name})]
    return within + [use for use, hosts in others if groups_in(hosts) & meant]


def _with_users(name: str, groups: Mapping[str, str]) -> set[str]:
    """The group and all groups that it is part of."""
    meant, new = {name}, {name}
    while new:
        new = {one for one, hosts in groups.items() if groups_in(hosts) & new} - meant
        meant |= new
    return meant


# ---- verbs


def all_groups(reader: Reader) -> list[Saved]:
    return [Saved(*row) for row in reader.rows("host_groups")]


def one(reader: Reader, name: str) -> Saved:
    row = reader.row("host_group", name=name)
    if row is None:
        raise _not_found(name)
    return Saved(*row)


def uses(reader: Reader | Tx, name: str) -> list[Use]:
    """Other groups, the limits of people, schedules, and plans that go on."""
    limits = [(Use("person", who), hosts) for who, hosts in reader.rows("people_with_limits")]
    schedules = [(Use("schedule", one.name), one.hosts) for one in schedules_that_refer(reader)]
    plans = [(Use("plan", one.name), one.hosts) for one in plans_that_refer(reader)]
    found = users_of(name, _expressions(reader), limits + schedules + plans)
    return [use for place, use in enumerate(found) if use not in found[:place]]


def add(tx: Tx, group: HostGroup, act: Act) -> None:
    """Raises InvalidValue, Conflict (the name is taken, or there are too many)."""
    known = _expressions(tx)
    if group.name in known:
        raise Conflict(f"there is a group @{group.name} already", field="name")
    if len(known) >= MAX_GROUPS:
        raise Conflict(f"there are {MAX_GROUPS} groups, the most there may be")
    check(group, known)
    _write(tx, "insert_host_group", group, act)


def change(tx: Tx, group: HostGroup, act: Act, *, admin: bool) -> None:
    """Raises NotFound, InvalidValue, Forbidden for a group that limits people."""
    known = _expressions(tx)
    if group.name not in known:
        raise _not_found(group.name)
    check(group, known)
    if known[group.name] != group.hosts:
        _check_right(tx, group.name, admin)
    _write(tx, "update_host_group", group, act)


def remove(tx: Tx, name: str, act: Act, *, admin: bool) -> None:
    """Raises NotFound, Forbidden as `change` does, and Conflict for a group that is used."""
    _check_right(tx, name, admin)
    if users := uses(tx, name):
        told = ", ".join(f"{use.kind} {use.name}" for use in users[:10])
        raise Conflict(f"@{name} is used by {told}; change that first")
    if not tx.execute("delete_host_group", name=name):
        raise _not_found(name)
    audit.append(tx, act, f"group:{name}")


def _expressions(reader: Reader | Tx) -> dict[str, str]:
    return {row[0]: row[1] for row in reader.rows("host_groups")}


def _check_right(tx: Tx, name: str, admin: bool) -> None:
    limited = [use.name for use in uses(tx, name) if use.kind == "person"]
    if limited and not admin:
        raise Forbidden(
            f"@{name} says on which hosts {limited[0]} may act: only an admin may change it"
        )


def _write(tx: Tx, statement: str, group: HostGroup, act: Act) -> None:
    given = {"name": group.name, "hosts": group.hosts, "note": group.note}
    tx.execute(statement, **given, by=act.who, now=tx.now)
    audit.append(tx, act, f"group:{group.name}", hosts=group.hosts)


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no saved group @{name}")
