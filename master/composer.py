"""What task does a submission make that was written down before? Its hosts are given, and the
saved script that it may name is the one of now."""

from collections.abc import Mapping

from msgspec.structs import replace

from master import compose, submission
from master.changes import NewTask
from master.live import Live
from master.saved_scripts import Version
from master.saved_submission import Filled, as_saved, filled
from master.script_store import ScriptStore
from master.targets import Fleet
from wire.requests import Submission
from wire.states import AgentState


class Composer:
    """For schedules and plans, which keep no secrets."""

    def __init__(self, live: Live, scripts: ScriptStore):
        self._live = live
        self._scripts = scripts

    def meant(self, task: Submission, fleet: Fleet) -> Filled:
        """The submission with the script that it has now. Raises Refusal."""
        return filled(task, self._runnable, fleet)

    def task_of(
        self,
        task: Submission,
        ids: list[str],
        fleet: Fleet,
        *,
        id: str = "",
        created_by: str,
        variables: Mapping[str, str] | None = None,
    ) -> NewTask:
        """`variables`: what mschedule tells the script besides. Raises Refusal."""
        meant = self.meant(task, fleet)
        plan = submission.check(meant.submission)
        env = {**plan.submission.env, **(variables or {})}
        plan = replace(plan, submission=replace(plan.submission, env=env))
        new = compose.new_task(
            plan, ids, fleet, id=id, created_by=created_by, is_offline=self._is_offline
        )
        return as_saved(new, meant)

    def _runnable(self, name: str, version: int | None) -> Version:
        return self._scripts.runnable(name, version).wait()

    def _is_offline(self, agent: str) -> bool:
        return self._live.state(agent) is AgentState.OFFLINE
