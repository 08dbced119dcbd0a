"""What can people do about saved scripts? Each method answers one call, in a greenlet."""

from master.audit import Act
from master.dispatch import Dispatcher
from master.rights import Person
from master.script_store import ScriptStore
from utils import getLogger
from wire.errors import Forbidden
from wire.scripts import (
    AddScript,
    AddVersion,
    ChangeScript,
    ChangeVersion,
    GetScript,
    ListScripts,
    Scripts,
    ScriptView,
    VersionView,
)

log = getLogger(__name__)


class ScriptDesk:
    """Whoever may submit a script to any host may save one; a limited operator may not: others
    run it on theirs."""

    def __init__(self, store: ScriptStore, dispatcher: Dispatcher):
        self._store = store
        self._dispatcher = dispatcher

    def get_scripts(self, person: Person, asked: ListScripts) -> Scripts:
        return Scripts(self._store.all().wait())

    def get_script(self, person: Person, asked: GetScript) -> ScriptView:
        """One, with its versions and where it was used last."""
        return self._store.one(asked.name).wait()

    def get_script_version(self, person: Person, asked: GetScript) -> VersionView:
        return self._store.version(asked.name, asked.version).wait()

    def add_script(self, person: Person, asked: AddScript, act: Act) -> ScriptView:
        _check_unlimited(person)
        made = self._store.add(asked.script, act).wait()
        log.info(f"script {made.name} saved by {person.name}")
        return made

    def add_script_version(self, person: Person, asked: AddVersion, act: Act) -> ScriptView:
        _check_unlimited(person)
        made = self._store.add_version(asked.name, asked.version, act).wait()
        log.info(f"version {made.newest} of script {made.name} saved by {person.name}")
        return made

    def change_script(self, person: Person, asked: ChangeScript, act: Act) -> ScriptView:
        """Disabling it skips what waits of its tasks; what runs goes on."""
        _check_unlimited(person)
        changed, stopped = self._store.change(asked.name, asked.change, act).wait()
        self._dispatcher.apply(stopped)
        log.info(f"script {asked.name} changed by {person.name}")
        return changed

    def change_script_version(self, person: Person, asked: ChangeVersion, act: Act) -> VersionView:
        _check_unlimited(person)
        verb = self._store.change_version(asked.name, asked.version, asked.state, act)
        changed, stopped = verb.wait()
        self._dispatcher.apply(stopped)
        log.info(f"version {asked.version} of script {asked.name} is {changed.state} now")
        return changed


def _check_unlimited(person: Person) -> None:
    if person.hosts is not None:
        raise Forbidden(f"{person.name} is limited to {person.hosts} and can't change scripts")
