"""Which hosts does a task act on, and may this person act on all of them?

The same hosts are looked at when an act is judged and when a view says what somebody may do, so
that no page offers what is refused afterwards.
"""

from collections.abc import Iterable, Mapping, Sequence

from master.again import REPEATABLE
from master.queue_hub import QueueHub
from master.reach import beyond, check_reach, reach_of, would_pass
from master.records import Task
from master.rights import OPERATOR, Person, covers
from master.roster import Roster
from master.storage import Storage
from master.task import QUEUE
from wire.errors import Forbidden
from wire.states import RunState
from wire.views import RunView, TaskRights

NOTHING = TaskRights(steer=False, retry=[])
EVERYTHING = TaskRights(steer=True, retry=list(REPEATABLE))


class TaskReach:
    """Every method blocks its greenlet. Hosts are {id: hostname}; those that are no longer
    enrolled are nobody's concern."""

    def __init__(self, storage: Storage, roster: Roster, queues: QueueHub):
        self._storage = storage
        self._roster = roster
        self._queues = queues

    # ---- before an act

    def check(self, person: Person, id: str) -> None:
        """For whatever changes a task. Raises Forbidden, NotFound."""
        if person.hosts is not None:
            self.check_hosts(person, self._acted_on(self._storage.task_record(id).wait()))

    def check_run(self, person: Person, id: str) -> None:
        """For what changes one run alone. Raises Forbidden, NotFound."""
        if person.hosts is not None:
            run = self._storage.run_record(id).wait()
            self.check_hosts(person, {run.agent: run.hostname})

    def check_hosts(self, person: Person, hosts: Mapping[str, str]) -> None:
        """Forbidden, when one of them is not among those of a limited operator."""
        check_reach(reach_of(person, self._roster.fleet()), hosts)

    def meant_by(self, task: Task) -> dict[str, str]:
        """Those that a queue means now; a fan-out has its hosts in its runs."""
        return self._named(self._queues.meant_by(task)) if task.mode == QUEUE else {}

    # ---- for a view

    def rights(self, person: Person, id: str) -> TaskRights:
        """What the person may do with a task. Raises NotFound."""
        if not covers(person.role, OPERATOR):
            return NOTHING
        if person.hosts is None:
            return EVERYTHING
        try:
            reach = reach_of(person, self._roster.fleet())
        except Forbidden:
            return NOTHING
        task = self._storage.task_record(id).wait()
        if not beyond(reach, self._acted_on(task)):
            return EVERYTHING
        retry = [one for one in REPEATABLE if not beyond(reach, self._repeated(task, one))]
        return TaskRights(steer=False, retry=list(retry))

    def may_cancel(self, person: Person, run: RunView) -> bool:
        return would_pass(person, lambda: self.check_hosts(person, {run.agent: run.hostname}))

    # ---- below

    def _acted_on(self, task: Task) -> dict[str, str]:
        """Those of its runs; of a queue those that may take from it now, or are at work on it."""
        if task.mode == QUEUE:
            return self._named(self._queues.acts_on(task))
        return self._of_runs(task, tuple(RunState))

    def _repeated(self, task: Task, state: RunState) -> dict[str, str]:
        """Those that a retry of the runs in this state would run on."""
        return self.meant_by(task) if task.mode == QUEUE else self._of_runs(task, (state,))

    def _of_runs(self, task: Task, states: Sequence[RunState]) -> dict[str, str]:
        return dict(self._storage.targets_of(task.id, states).wait().targets)

    def _named(self, ids: Iterable[str]) -> dict[str, str]:
        by_id = self._roster.fleet().by_id
        return {id: by_id[id].hostname for id in ids if id in by_id}
