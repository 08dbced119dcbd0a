"""Is a plan sound on the hosts of now? All of it is judged before anything runs, so that what is
wrong in its last step is told at once."""

from collections.abc import Iterator

from master import compose, plan_rules
from master.beside import beside
from master.callback_store import CallbackStore
from master.composer import Composer, sound
from master.kept_secrets import Places, of_plan
from master.plan import HOST_STATES
from master.plan_rules import with_field
from master.reach import check_reach
from master.roster import Roster
from master.targets import Fleet
from wire.plans import PlanSpec
from wire.requests import Submission

Reach = frozenset[str] | None  # ids of hosts; None: all


class PlanJudge:
    """Every method blocks its greenlet."""

    def __init__(self, composer: Composer, roster: Roster, callbacks: CallbackStore):
        self._composer = composer
        self._roster = roster
        self._callbacks = callbacks

    def check(self, spec: PlanSpec, reach: Reach, who: str = "you are") -> None:
        """For what is to begin now, with the values of its secrets. Raises Refusal, with the field
        such as steps[1].tasks[0].name; `who` is limited to others where the reach is."""
        plan_rules.check(spec)
        for field, task, fleet in _tasks(spec, self._roster.fleet()):
            with_field(field, lambda task=task, fleet=fleet: self._check(task, fleet))
            with_field(field, lambda task=task, fleet=fleet: _check_reach(task, fleet, reach, who))

    def apart(self, spec: PlanSpec) -> tuple[PlanSpec, Places]:
        """(the plan as it is written down, its secrets). Raises Refusal."""
        fleet = self._roster.fleet()
        return of_plan(spec, lambda task: self._composer.secret_parameters(task, fleet))

    def check_callbacks(self, spec: PlanSpec) -> None:
        """When it is written down; one that is removed later is no reason not to run. Raises
        InvalidValue."""
        for field, task, _ in _tasks(spec, self._roster.fleet()):
            with_field(field, lambda task=task: self._callbacks.check_known(task.callbacks).wait())

    def check_reach(self, spec: PlanSpec, reach: Reach) -> None:
        """May somebody have a hand in it, who may use these hosts alone? Raises Forbidden."""
        for _, task, fleet in _tasks(spec, self._roster.fleet()):
            _check_reach(task, fleet, reach, "you are")

    def _check(self, task: Submission, fleet: Fleet) -> None:
        sound(self._composer.meant(task, fleet).submission)


def _check_reach(task: Submission, fleet: Fleet, reach: Reach, who: str) -> None:
    """Its hosts are those of when its step begins; that some name is wrong is told now."""
    ids = beside(lambda: compose.named(task, fleet))
    check_reach(reach, {id: fleet.by_id[id].hostname for id in ids}, who)


def _tasks(spec: PlanSpec, fleet: Fleet) -> Iterator[tuple[str, Submission, Fleet]]:
    """(field, task, the fleet as it knows the steps before)."""
    given: dict[str, set[str]] = {}
    for number, step in enumerate(spec.steps):
        known = fleet.knowing(given)
        for place, task in enumerate(step.tasks):
            yield f"steps[{number}].tasks[{place}]", task, known
        given |= {f"{step.name}:{state}": set() for state in HOST_STATES}
