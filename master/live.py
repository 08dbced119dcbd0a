"""What does only the running master know? Who is online, and why a run waits.

The store's views are completed here, on the hub, before people see them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from master import views
from master.changes import Hold
from master.records import Run, Task
from master.roster import Roster
from master.task import QUEUE, waiting_reason
from master.waves import is_released
from utils import iso
from wire.plans import PlanLine
from wire.states import AgentState, RunState
from wire.views import AgentView, RunView, TaskView

AnyRun = TypeVar("AnyRun", bound=RunView)


class Live:
    """`held`: why nothing is handed out to anybody; None while hand-outs go on."""

    def __init__(self, roster: Roster, clock: Callable[[], float]):
        self._roster = roster
        self._clock = clock
        self.held: Hold | None = None

    def now(self) -> float:
        return self._clock()

    def state(self, agent: str) -> AgentState:
        return self._roster.state(agent, self._clock())

    def agent(self, view: AgentView) -> AgentView:
        """The host with its state, when it was last heard, and its clock skew."""
        presence = self._roster.get(view.id)
        if presence is None:
            return view
        return replace(
            view,
            state=self.state(view.id),
            last_seen=iso(presence.heard_at),
            ip=presence.ip,
            busy=presence.busy,
            clock_skew=presence.skew_s,
            claimed_hostname=presence.claims,
        )

    def run(self, view: AnyRun, task: Task) -> AnyRun:
        """The run; if it waits, with the reason."""
        if view.state != RunState.WAITING or task.mode == QUEUE:
            return view
        reason = waiting_reason(
            task,
            self.state(view.agent),
            free=self._roster.free(view.agent),
            held=self.held.reason if self.held else None,
            released=is_released(task, view.seq),
        )
        return replace(view, reason=reason)

    def event(self, record: Run | Task | PlanLine) -> dict[str, Any]:
        """What readers of events get of a record: the same object as the API shows."""
        found: dict[str, Any] = msgspec.to_builtins(_view(record))
        return found


def _view(record: Run | Task | PlanLine) -> RunView | TaskView | PlanLine:
    if isinstance(record, Run):
        return views.run_view(record)
    return record if isinstance(record, PlanLine) else views.task_view(record)
