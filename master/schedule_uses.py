"""Which saved things do schedules refer to? For whoever is about to change one."""

import msgspec
from msgspec import Struct

from master.reader import Reader
from master.transaction import Tx
from wire.requests import Saved


class Refers(Struct, frozen=True):
    """A schedule that is not removed, and what its task names."""

    id: str
    name: str
    is_paused: bool
    hosts: str  # its expression; "" when its hosts are named by id
    saved: Saved | None


class _Task(Struct):
    targets: list[str] | str = ""
    saved: Saved | None = None


_decode = msgspec.json.Decoder(_Task).decode


def schedules_that_refer(reader: Reader | Tx) -> list[Refers]:
    """All schedules, by name: what a group means may take in any expression."""
    found = []
    for id, name, text, paused_by in reader.rows("what_schedules_use"):
        task = _decode(text)
        hosts = task.targets if isinstance(task.targets, str) else ""
        found.append(Refers(id, name, paused_by is not None, hosts, task.saved))
    return found
