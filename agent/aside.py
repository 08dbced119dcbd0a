"""What becomes of an identity that is not this host's? It is put aside, never deleted.

A disk that was copied has the identity, the journal and the runs of the host that it was copied
from. Nothing of that may be told as this host's own: not the id, and not the results. So when
the machine id is another one than that for which the identity was made, everything goes into a
folder of its own, and the agent joins as a new one. Scripts that run go on, unheard.
"""

import os
import time
from pathlib import Path

from agent.identity import NEW_KEYS, Host
from utils import getLogger, sync_directory, write_private

log = getLogger(__name__)

MACHINE = "machine"  # the file that says for which machine the identity was made

# In this order: after a crash in between, the id that is still there shows that it is to be gone
# on. Once it has gone, all has that could be taken for the new agent's.
_PARTS = ("journal", "runs", "keys", NEW_KEYS, "machine-id", "id", MACHINE)


def leave_to_other_machine(directory: Path, host: Host) -> None:
    """Put the identity aside if it was made for another machine."""
    made_for = _read(directory / MACHINE)
    if not (directory / "id").exists() or made_for in ("", host.machine):
        return
    folder = put_aside(directory)
    log.warning(
        f"the machine id is not the one that this identity was made for: the disk was copied, or "
        f"the machine id changed. The old identity and its journal lie in {folder}; this host "
        "joins as a new one, which needs a join string"
    )


def remember_machine(directory: Path, host: Host) -> None:
    """For which machine the identity is."""
    if _read(directory / MACHINE) != host.machine:
        write_private(directory / MACHINE, host.machine.encode() + b"\n")


def new_identity(directory: Path) -> str:
    """Put aside what there is, and say what to do now."""
    if not (directory / "id").exists():
        return f"there is no identity in {directory}: the next start makes one"
    folder = put_aside(directory)
    return (
        f"the old identity, its journal and its runs lie in {folder}; start the agent with a join "
        "string, and it joins as a new host"
    )


def put_aside(directory: Path) -> Path:
    """Move the identity and all that belongs to it into a folder of its own, which it returns."""
    folder = _free(directory / "aside" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    folder.mkdir(mode=0o700, parents=True)
    for name in _PARTS:
        if (directory / name).exists():
            os.rename(directory / name, folder / name)
            sync_directory(folder)
            sync_directory(directory)
    return folder


def _free(folder: Path) -> Path:
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
