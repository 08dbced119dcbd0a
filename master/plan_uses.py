"""Which saved things do plans refer to that have not ended? For whoever is about to change one."""

import msgspec
from msgspec import Struct

from master.reader import Reader
from master.transaction import Tx
from wire.requests import Saved


class PlanRefers(Struct, frozen=True):
    """A task of a plan that goes on, and what it names. `hosts`: its expression, "" for ids."""

    id: str
    name: str
    hosts: str
    saved: Saved | None


class _Task(Struct):
    targets: list[str] | str = ""
    saved: Saved | None = None


class _Step(Struct):
    tasks: list[_Task] = []


_decode = msgspec.json.Decoder(list[_Step]).decode


def plans_that_refer(reader: Reader | Tx) -> list[PlanRefers]:
    """All tasks of all plans that go on, also of steps that are over: they may be resumed."""
    return [
        PlanRefers(id, name, task.targets if isinstance(task.targets, str) else "", task.saved)
        for id, name, steps in reader.rows("what_plans_use")
        for step in _decode(steps)
        for task in step.tasks
    ]
