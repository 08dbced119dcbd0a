"""What can be done with saved groups? Verbs of the store, as in master/storage.py."""

from master import host_groups
from master.audit import Act
from master.database import Database, Verb
from master.host_groups import Saved
from master.transaction import Needs
from wire.host_groups import HostGroup, Use

DIRECT = Needs(direct=True)


class GroupStore:
    """The part of a Storage that is about saved groups."""

    def __init__(self, database: Database):
        self._database = database

    def all(self) -> Verb[list[Saved]]:
        """By name."""
        return self._database.reading(host_groups.all_groups)

    def one(self, name: str) -> Verb[Saved]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: host_groups.one(reader, name))

    def uses(self, name: str) -> Verb[list[Use]]:
        """Whose hosts are chosen by way of the group."""
        return self._database.reading(lambda reader: host_groups.uses(reader, name))

    def add(self, group: HostGroup, act: Act) -> Verb[None]:
        """Raises InvalidValue, Conflict."""
        return self._database.writing(lambda tx: host_groups.add(tx, group, act), DIRECT)

    def change(self, group: HostGroup, act: Act, *, admin: bool) -> Verb[None]:
        """Raises NotFound, InvalidValue, Forbidden."""
        return self._database.writing(
            lambda tx: host_groups.change(tx, group, act, admin=admin), DIRECT
        )

    def remove(self, name: str, act: Act, *, admin: bool) -> Verb[None]:
        """Raises NotFound, Forbidden, Conflict."""
        return self._database.writing(
            lambda tx: host_groups.remove(tx, name, act, admin=admin), DIRECT
        )
