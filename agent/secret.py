"""Where do a run's secrets lie, and how does its script get them? Nowhere but in private files.

The journal holds their names alone, since what it once held stays in its log for long. The values
are a file in the run's directory from the hand-out to the end of the run, for the supervisor. It
gives them to the script as variables of the environment, or as private files of the script's user
whose path is in a variable; never as arguments, which every user of the host can read.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import os

from agent import rundir

KEPT = "secrets"
FILE = "secret."  # and the name

Pairs = list[tuple[bytes, bytes]]  # name, value; no value can hold a NUL


class Secrets:
    """Those of one run."""

    def __init__(self, variables: Pairs, files: Pairs) -> None:
        self.variables = variables
        self.files = files

    @property
    def values(self) -> "list[bytes]":
        return [value for _, value in self.variables + self.files]

    def __len__(self) -> int:
        return len(self.variables) + len(self.files)


def keep(directory: str, secrets: Secrets) -> None:
    """Write them down for the supervisor; not synced, since after a power loss nothing starts."""
    items = [b"env=" + name + b"=" + value for name, value in secrets.variables]
    items += [b"file=" + name + b"=" + value for name, value in secrets.files]
    rundir.write_file(f"{directory}/{KEPT}", b"".join(item + b"\0" for item in items))


def read(directory: str) -> Secrets:
    """None at all if nothing is kept, or no longer."""
    found: dict[bytes, Pairs] = {b"env": [], b"file": []}
    for item in (rundir.read_file(f"{directory}/{KEPT}") or b"").split(b"\0")[:-1]:
        kind, _, assignment = item.partition(b"=")
        name, _, value = assignment.partition(b"=")
        found[kind].append((name, value))
    return Secrets(found[b"env"], found[b"file"])


def write_files(directory: str, secrets: Secrets, uid: int, gid: int) -> "dict[bytes, int]":
    """A private file of that user for each that is to be one; {name: descriptor open to read}."""
    opened = {}
    for name, value in secrets.files:
        path = path_of(directory, name)
        rundir.write_file(path, value)
        opened[name] = os.open(path, os.O_RDONLY)
        if uid != os.geteuid():
            os.fchown(opened[name], uid, gid)
    return opened


def path_of(directory: str, name: bytes) -> str:
    return f"{directory}/{FILE}{os.fsdecode(name)}"


def remove(directory: str) -> None:
    """The run has ended, or never starts: nobody needs them any more. Whoever comes first does it;
    OSError when somebody has to try again.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        if name == KEPT or name.startswith(FILE):
            _unlink(f"{directory}/{name}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
