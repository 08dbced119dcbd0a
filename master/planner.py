"""Who takes plans from step to step? One loop on the hub.

It is woken when a task of a plan has ended and when people submit, cancel or resume one. It finds
out what a step comes to (the hosts that its targets name now, the rights of the owner), and the
store's verb does the deciding. Whatever this process misses or forgets, also by being killed, a
look at the plans that wait for nothing finds.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from gevent.event import Event
from msgspec.structs import replace

from master import compose, kept_secrets
from master.beside import beside
from master.changes import NewTask
from master.composer import Composer
from master.dispatch import Dispatcher
from master.ids import new_id
from master.kept_secrets import Places, place_of, put_back
from master.owners import owner
from master.people_store import PeopleStore
from master.plan import (
    ONLY_FAILED,
    Begin,
    HostRun,
    Part,
    Plan,
    hosts_by_state,
    states_of_hosts,
    variables,
)
from master.plan_book import PlanBook, Situation
from master.plan_rules import references
from master.planning import Advanced, Aim, Placed
from master.reach import check_reach, reach_of
from master.records import Task
from master.rights import Person
from master.roster import Roster
from master.targets import Fleet
from master.task import QUEUE
from utils import failpoint, getLogger
from wire.errors import (
    Conflict,
    Forbidden,
    InvalidValue,
    NotFound,
    SecretsUnreadable,
    TooLarge,
)
from wire.requests import Submission
from wire.states import ENDED_TASK, RunState

log = getLogger(__name__)

SWEEP_S = 10.0  # plans that wait for nothing are looked for so often
PUT_OFF_S = 5.0  # a plan that could not be taken further is tried again after so long

MEND = "; whoever resumes the plan becomes its owner"

# What ends a plan when its step cannot begin; any other trouble passes.
FINAL = (InvalidValue, Forbidden, NotFound, Conflict, TooLarge, SecretsUnreadable)


class Planner:
    """Begins the steps of plans, with the rights that their owners have then."""

    def __init__(
        self,
        book: PlanBook,
        roster: Roster,
        dispatcher: Dispatcher,
        people: PeopleStore,
        composer: Composer,
    ):
        self._book = book
        self._roster = roster
        self._dispatcher = dispatcher
        self._people = people
        self._composer = composer
        self.listeners: list[Callable[[Plan], None]] = []  # told of each plan that has ended
        self._woken = Event()
        self._to_do: dict[str, float] = {}  # plans to look at, and not before when
        self._swept_at = -SWEEP_S
        dispatcher.listeners.append(self._saw)

    def run(self) -> None:
        """Never returns. A store that fails for a while does not end it."""
        while True:
            self._woken.clear()
            try:
                self.round()
            except Exception:
                log.exception("the plans that go on are looked for again")
            self._woken.wait(self._pause_s())

    def wake(self, id: str) -> None:
        """Something of the plan has changed."""
        self._to_do[id] = 0.0
        self._woken.set()

    def round(self) -> None:
        """Take all plans further that can go on now."""
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_S:
            self._swept_at = now
            for id in self._book.held_up().wait():
                self._to_do.setdefault(id, 0.0)
        for id in [id for id, at in self._to_do.items() if at <= now]:
            del self._to_do[id]
            self._guarded(id)

    def _pause_s(self) -> float:
        now = time.monotonic()
        first = min([self._swept_at + SWEEP_S, *self._to_do.values()])
        return max(0.0, first - now)

    def _saw(self, task: Task) -> None:
        if task.plan is not None and task.state in ENDED_TASK:
            self.wake(task.plan)

    def _guarded(self, id: str) -> None:
        try:
            self.advance(id)
        except Exception as error:
            self._to_do[id] = time.monotonic() + PUT_OFF_S
            log.error(f"plan {id} could not go on: {error!r}; tried again in {PUT_OFF_S:g} s")

    # ---- one plan

    def advance(self, id: str) -> None:
        """As far as it goes now. Blocks the greenlet."""
        again = True
        while again:
            try:
                situation = self._book.situation(id).wait()
            except NotFound:
                return
            if situation.decision is None:
                return
            failpoint("step_due")
            advanced = self._advanced(situation)
            failpoint("step_begun")
            self.tell(advanced)
            again = advanced.again

    def _advanced(self, situation: Situation) -> Advanced:
        plan, begin = situation.plan, situation.decision
        if not isinstance(begin, Begin):
            return self._book.advance(plan.id, None).wait()
        try:
            who = owner(self._people, plan.owner, plan.owner_id, mend=MEND)
            aim = self.aim(situation, begin, who, f"its owner {plan.owner} is")
            return self._book.advance(plan.id, aim).wait()
        except FINAL as refusal:
            aim = Aim(plan.id, plan.row_version, begin, refusal=str(refusal))
            return self._book.advance(plan.id, aim).wait()

    def tell(self, advanced: Advanced) -> None:
        """After the commit: wake agents, tell readers."""
        for changed in advanced.changed:
            self._dispatcher.apply(changed)
        for opened in advanced.opened:
            log.info(f"plan {opened.task.plan} goes on with task {opened.task.id}")
            self._dispatcher.opened(opened.task, list(opened.waiting))
        if advanced.plan is not None:
            self._dispatcher.plan_changed(advanced.plan)
        if advanced.ended is not None:
            plan = advanced.ended
            self._dispatcher.plan_changed(plan)
            log.info(f"plan {plan.id} ({plan.name}) ended: {plan.state} {plan.reason}".rstrip())
            for listener in self.listeners:
                listener(plan)

    # ---- what a step comes to

    def aim(self, situation: Situation, begin: Begin, person: Person, who: str = "you are") -> Aim:
        """Its tasks, with ids, on the hosts that they name now; `who` is limited to others where
        the person is. Raises Refusal."""
        plan, parts = situation.plan, situation.parts
        fleet = self._roster.fleet()
        reach = reach_of(person, fleet)
        given: dict[str, set[str]] = {}
        told: dict[str, str] = {}
        for number, step in enumerate(plan.steps[: begin.step]):
            runs = self._book.host_runs([part for part in parts if part.step == number]).wait()
            hosts = beside(lambda runs=runs: hosts_by_state(states_of_hosts(runs)))  # type: ignore[misc]
            given |= {f"{step.name}:{state}": ids for state, ids in hosts.items()}
            told |= variables(step.name, hosts)
        fleet = fleet.knowing(given)
        step = plan.steps[begin.step]
        kept = self._kept(plan)
        tasks = []
        for place, task in enumerate(step.tasks):
            earlier = [one for one in parts if (one.step, one.place) == (begin.step, place)]
            placed = self._placed(plan, task, fleet, given, earlier)
            if isinstance(placed, list):
                check_reach(reach, {id: fleet.by_id[id].hostname for id in placed}, who)
                whole = put_back(task, kept.get(place_of(begin.step, place)))
                if whole.mode == QUEUE and references(task) & _of_steps(given):
                    whole = replace(whole, targets=placed)  # known now, and not later
                new = self._new(plan, begin, whole, placed, fleet, told, person.hosts)
                placed = Placed(new=new)
            tasks.append(placed)
        return Aim(plan.id, plan.row_version, begin, tuple(tasks))

    def _kept(self, plan: Plan) -> Places:
        """Its secrets. Raises SecretsUnreadable."""
        if plan.key_id is None:
            return {}
        return kept_secrets.opened(
            self._composer.vault, f"plan {plan.id}", self._book.sealed(plan.id).wait()
        )

    def _placed(
        self,
        plan: Plan,
        task: Submission,
        fleet: Fleet,
        given: dict[str, set[str]],
        earlier: Sequence[Part],
    ) -> Placed | list[str]:
        """The hosts of a task; or what stands in its place: the one of an earlier attempt that
        has succeeded, or none and why."""
        if earlier and earlier[-1].has_succeeded:
            return Placed(kept=earlier[-1].task, reason=earlier[-1].reason)
        if earlier and plan.again == ONLY_FAILED and task.mode != QUEUE:
            return self._failed(earlier, fleet)
        is_by_result = references(task) & _of_steps(given)
        if not is_by_result or not isinstance(task.targets, str):
            return beside(lambda: compose.targets(task, fleet))
        expression = task.targets
        ids = beside(lambda: fleet.resolve(expression))
        if not ids:
            return Placed(reason=f"{expression} names no host")
        return beside(lambda: compose.targets(task, fleet))

    def _failed(self, earlier: Sequence[Part], fleet: Fleet) -> Placed | list[str]:
        """The hosts that have not succeeded in any attempt, of those that are still here."""
        runs = self._book.host_runs(earlier).wait()
        ids = [id for id in not_succeeded(runs) if id in fleet.by_id]
        if not ids:
            return Placed(reason="none of the hosts that had not succeeded is enrolled any more")
        return ids

    def _new(
        self,
        plan: Plan,
        begin: Begin,
        task: Submission,
        ids: list[str],
        fleet: Fleet,
        told: dict[str, str],
        within: str | None,
    ) -> NewTask:
        step = plan.steps[begin.step]
        new = self._composer.task_of(
            task,
            ids,
            fleet,
            id=new_id(),
            created_by=f"plan {plan.name}",
            variables=told,
            within=within,
        )
        return replace(new, plan=plan.id, name=new.name or f"{plan.name}: {step.name}")


def _of_steps(given: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """What a task may name by @step:state, as `references` has it."""
    return {(name, value) for name, _, value in (one.rpartition(":") for one in given)}


def not_succeeded(runs: Sequence[HostRun]) -> list[str]:
    """Hosts, in the order of their runs, whose latest run of the one task is no success."""
    latest = states_of_hosts(runs)
    order = dict.fromkeys(run.agent for run in runs)
    return [agent for agent in order if latest[agent] is not RunState.SUCCEED]
