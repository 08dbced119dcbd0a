"""Which saved things do schedules refer to? For whoever is about to change one."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from master.reader import Reader
from master.transaction import Tx
from wire.requests import Saved


class Refers(Struct, frozen=True):
    """A task of a schedule that is not removed, and what it names."""

    id: str
    name: str
    is_paused: bool
    hosts: str  # its expression; "" when its hosts are named by id
    saved: Saved | None


class _Task(Struct, frozen=True):
    targets: list[str] | str = ""
    saved: Saved | None = None


class _Step(Struct, frozen=True):
    tasks: list[_Task] = []


class _Plan(Struct, frozen=True):
    steps: list[_Step] = []


_decode_task = msgspec.json.Decoder(_Task | None).decode
_decode_plan = msgspec.json.Decoder(_Plan).decode


def schedules_that_refer(reader: Reader | Tx) -> list[Refers]:
    """All tasks of all schedules, by name: what a group means may take in any expression."""
    return [
        Refers(
            id,
            name,
            paused_by is not None,
            task.targets if isinstance(task.targets, str) else "",
            task.saved,
        )
        for id, name, text, plan, paused_by in reader.rows("what_schedules_use")
        for task in _tasks(text, plan)
    ]


def _tasks(text: str, plan: str | None) -> Iterator[_Task]:
    task = _decode_task(text)
    if task is not None:
        yield task
    if plan is not None:
        for step in _decode_plan(plan).steps:
            yield from step.tasks
