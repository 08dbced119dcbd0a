"""What can people do about saved groups? Each method answers one call of the web, in a greenlet."""

import re

from master.audit import Act
from master.beside import beside
from master.group_store import GroupStore
from master.host_groups import Saved
from master.reach import check_reach, reach_of, would_pass
from master.rights import ADMIN, Person
from master.roster import Roster
from master.targets import Fleet, fold
from utils import getLogger, iso
from wire.errors import Forbidden, InvalidValue
from wire.host_groups import GetHostGroup, HostGroups, HostGroupView, PutHostGroup, Use
from wire.requests import JustAuth

log = getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")


class GroupDesk:
    """Keeps the roster's groups in step with those of the store."""

    def __init__(self, store: GroupStore, roster: Roster):
        self._store = store
        self._roster = roster

    def load(self) -> None:
        """Blocks the greenlet."""
        self._roster.set_groups({group.name: group.hosts for group in self._store.all().wait()})

    def get_host_groups(self, person: Person, asked: JustAuth) -> HostGroups:
        """All of them, each with what it names now."""
        saved, fleet = self._store.all().wait(), self._roster.fleet()
        return HostGroups(beside(lambda: [_view(group, fleet) for group in saved]))

    def get_host_group(self, person: Person, asked: GetHostGroup) -> HostGroupView:
        """One, with who uses it, and whether the person may run scripts on its hosts."""
        group, fleet = self._store.one(asked.name).wait(), self._roster.fleet()
        used_by = self._store.uses(asked.name).wait()
        view = beside(lambda: _view(group, fleet, used_by))
        view.may_run = would_pass(person, lambda: _check_reach(person, group, fleet))
        return view

    def add_host_group(self, person: Person, asked: PutHostGroup, act: Act) -> HostGroupView:
        _check_name(asked.group.name)
        _check_unlimited(person)
        self._store.add(asked.group, act).wait()
        return self._changed(person, asked.group.name, "added")

    def change_host_group(self, person: Person, asked: PutHostGroup, act: Act) -> HostGroupView:
        """Counts from the next use on; tasks that were submitted keep their hosts."""
        _check_unlimited(person)
        admin = person.role == ADMIN
        self._store.change(asked.group, act, admin=admin).wait()
        return self._changed(person, asked.group.name, "changed")

    def remove_host_group(self, person: Person, asked: GetHostGroup, act: Act) -> HostGroupView:
        """What it was."""
        _check_unlimited(person)
        view = self.get_host_group(person, asked)
        self._store.remove(asked.name, act, admin=person.role == ADMIN).wait()
        self.load()
        log.info(f"group @{asked.name} removed by {person.name}")
        return view

    def _changed(self, person: Person, name: str, how: str) -> HostGroupView:
        self.load()
        log.info(f"group @{name} {how} by {person.name}")
        group, fleet = self._store.one(name).wait(), self._roster.fleet()
        return beside(lambda: _view(group, fleet))


def _view(group: Saved, fleet: Fleet, used_by: list[Use] | None = None) -> HostGroupView:
    view = HostGroupView(
        name=group.name,
        hosts=group.hosts,
        note=group.note,
        changed_by=group.changed_by,
        changed_at=iso(group.changed_at) or "",
        count=0,
        nodeset="",
        used_by=used_by,
    )
    try:
        ids = fleet.resolve(group.hosts)
    except InvalidValue as error:
        view.problem = str(error).removeprefix("targets: ")
    else:
        view.count, view.nodeset = len(ids), fold(fleet.by_id[id].hostname for id in ids)
    return view


def _check_reach(person: Person, group: Saved, fleet: Fleet) -> None:
    """Raises Refusal."""
    ids = beside(lambda: fleet.resolve(group.hosts))
    check_reach(reach_of(person, fleet), {id: fleet.by_id[id].hostname for id in ids})


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"name is {name[:70]!r}; it takes 1 to 63 of A-Z a-z 0-9 . _ -", field="name"
        )


def _check_unlimited(person: Person) -> None:
    """Groups choose hosts for everybody."""
    if person.hosts is not None:
        raise Forbidden(f"{person.name} is limited to {person.hosts} and can't change groups")
