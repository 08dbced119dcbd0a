"""What can be done with saved scripts? Verbs of the store, as in master/storage.py."""

from master import saved_scripts
from master.audit import Act
from master.changes import Changed
from master.database import Database, Verb
from master.saved_scripts import Version
from master.transaction import Needs
from wire.scripts import NewScript, NewVersion, ScriptChange, ScriptView, VersionView

DIRECT = Needs(direct=True)


class ScriptStore:
    """The part of a Storage that is about saved scripts."""

    def __init__(self, database: Database):
        self._database = database

    def all(self) -> Verb[list[ScriptView]]:
        """By name."""
        return self._database.reading(saved_scripts.all_scripts)

    def one(self, name: str) -> Verb[ScriptView]:
        """With its versions and the last tasks made from it. Raises NotFound."""
        return self._database.reading(lambda reader: saved_scripts.one(reader, name))

    def version(self, name: str, number: int) -> Verb[VersionView]:
        """With its script. Raises NotFound."""
        return self._database.reading(
            lambda reader: saved_scripts.one_version(reader, name, number)
        )

    def runnable(self, name: str, version: int | None) -> Verb[Version]:
        """What a submission means by the name; None: the latest online. Raises NotFound,
        Conflict. The transaction that adds the task looks again."""
        return self._database.reading(lambda reader: saved_scripts.runnable(reader, name, version))

    def add(self, new: NewScript, act: Act) -> Verb[ScriptView]:
        """With its first version. Raises InvalidValue, TooLarge, Conflict."""
        return self._database.writing(lambda tx: saved_scripts.add(tx, new, act), DIRECT)

    def add_version(self, name: str, new: NewVersion, act: Act) -> Verb[ScriptView]:
        """Raises NotFound, InvalidValue, TooLarge, Conflict."""
        return self._database.writing(
            lambda tx: saved_scripts.add_version(tx, name, new, act), DIRECT
        )

    def change(self, name: str, change: ScriptChange, act: Act) -> Verb[tuple[ScriptView, Changed]]:
        """Raises NotFound, InvalidValue."""
        return self._database.writing(
            lambda tx: saved_scripts.change(tx, name, change, act), DIRECT
        )

    def change_version(
        self, name: str, number: int, state: str, act: Act
    ) -> Verb[tuple[VersionView, Changed]]:
        """Raises NotFound, InvalidValue."""
        return self._database.writing(
            lambda tx: saved_scripts.change_version(tx, name, number, state, act), DIRECT
        )
