"""How are the results of a task shown? Runs that came to the same, with the output of the first."""

import base64
from dataclasses import dataclass

from aiohttp import web

from webserver.context import Caller
from webserver.page_output import NOTHING, Shown, outputs_of
from webserver.text import readable
from wire.states import RunState
from wire.views import GroupsView, GroupView, TaskView

GROUPS_WITH_OUTPUT = 10
SCRIPT_SHOWN_BYTES = 64 << 10


@dataclass(frozen=True)
class Group:
    """Hosts that came to the same, with the output of the first; `number` counts from 1."""

    number: int
    view: GroupView
    output: Shown

    @property
    def key(self) -> str:
        """The same for the same result, whatever joins the group."""
        return f"{self.view.state}-{self.view.code}-{(self.view.output_sha256 or '')[:16]}"


async def with_output(request: web.Request, caller: Caller, found: GroupsView) -> list[Group]:
    """Groups that have ended come with output, the largest; what is under way comes last."""
    loud = [group.runs[0] for group in found.groups if group.output_bytes and group.runs]
    shown = await outputs_of(request, caller, loud[:GROUPS_WITH_OUTPUT])
    under_way = (RunState.WAITING, RunState.RUNNING)
    views = sorted(found.groups, key=lambda group: group.state in under_way)
    return [
        Group(number, view, shown.get(view.runs[0], NOTHING) if view.runs else NOTHING)
        for number, view in enumerate(views, start=1)
    ]


def script_of(task: TaskView) -> Shown:
    """The beginning of its script, as text."""
    script = base64.b64decode(task.script_base64 or "")
    return Shown(readable(script[:SCRIPT_SHOWN_BYTES]), max(0, len(script) - SCRIPT_SHOWN_BYTES))
