"""What task does a submission make that was written down before? Its hosts are given, and the
saved script that it may name is the one of now."""

from collections.abc import Mapping

from msgspec.structs import replace

from master import compose, submission
from master.changes import NewTask
from master.kept_secrets import check_values
from master.live import Live
from master.queue_rules import refuse_later
from master.saved_scripts import Version
from master.saved_submission import Filled, as_saved, filled
from master.script_store import ScriptStore
from master.secrets import Values, Vault
from master.submission import Plan
from master.submission_secrets import secrets_of
from master.targets import Fleet
from wire.requests import Submission
from wire.states import AgentState


def sound(meant: Submission) -> tuple[Plan, Values]:
    """What a submission with the values of its secrets comes to. Raises InvalidValue, TooLarge."""
    check_values(meant)
    refuse_later(meant)
    return submission.check(meant, takes_secrets=True), secrets_of(meant)


class Composer:
    """For schedules and plans. `vault` seals the secrets of the tasks that are made."""

    def __init__(self, live: Live, scripts: ScriptStore, vault: Vault):
        self._live = live
        self.vault = vault
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
        id: str,
        created_by: str,
        variables: Mapping[str, str] | None = None,
        within: str | None = None,
    ) -> NewTask:
        """Of a task with the values of its secrets; `variables`: what mschedule tells the script
        besides; `within`: the hosts to which who lets it run is limited. Raises Refusal."""
        meant = self.meant(task, fleet)
        plan, secrets = sound(meant.submission)
        env = {**plan.submission.env, **(variables or {})}
        plan = replace(plan, submission=replace(plan.submission, env=env))
        new = compose.new_task(
            plan,
            ids,
            fleet,
            id=id,
            created_by=created_by,
            is_offline=self._is_offline,
            within=within,
        )
        return replace(as_saved(new, meant), secrets=self.vault.seal(id, secrets))

    def secret_parameters(self, task: Submission, fleet: Fleet) -> frozenset[str]:
        """The names of those of its saved script. Raises Refusal."""
        version = None if task.saved is None else self.meant(task, fleet).version
        if version is None:
            return frozenset()
        return frozenset(one.name for one in version.parameters if one.kind == "secret")

    def _runnable(self, name: str, version: int | None) -> Version:
        return self._scripts.runnable(name, version).wait()

    def _is_offline(self, agent: str) -> bool:
        return self._live.state(agent) is AgentState.OFFLINE
