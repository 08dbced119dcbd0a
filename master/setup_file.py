"""Where does the code for the first log-in lie? In the master's state directory, until used."""

from pathlib import Path

from master.audit import of_system
from master.people_store import PeopleStore
from utils import getLogger, write_private

log = getLogger(__name__)

FILE = "setup-code"
PRINTED_LASTS_S = 3600.0  # a code that somebody has asked for is typed at once


def offer(store: PeopleStore, directory: Path) -> None:
    """At the start: a code for the first person, unless there is one, of either; printed once."""
    file = directory / FILE
    if store.is_anybody_there().wait():
        file.unlink(missing_ok=True)
        return
    if file.exists() and store.is_setup_open().wait():
        log.info(f"the code for the first log in lies in {file}")
        return
    code = store.make_setup_code(None, of_system("setup_code.make")).wait()
    write_private(file, f"{code}\n".encode())
    log.warning(f"no person can log in yet: open /setup in the web, the code is {code}")


def remove(directory: Path) -> None:
    """Its code was used, or is void."""
    (directory / FILE).unlink(missing_ok=True)
