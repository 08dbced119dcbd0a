"""What do people get when they submit, look at, cancel and resume plans?

Every method runs in a greenlet of its own, for a person that the gate has admitted.
"""

import contextlib

import msgspec
from msgspec.structs import replace

from master import plan, submission
from master.audit import Act
from master.board import check_limit
from master.ids import new_id
from master.kept_secrets import sealed
from master.live import Live
from master.owners import owner_id
from master.plan import AGAIN, Begin, present_parts
from master.plan_book import PlanBook, Situation
from master.plan_judge import PlanJudge
from master.planner import Planner
from master.planning import Advanced
from master.reach import check_reach, reach_of, would_pass
from master.rights import Person
from master.roster import Roster
from master.secrets import Vault, plain_digest
from utils import failpoint, getLogger
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound, Refusal, TooLarge
from wire.plans import (
    AddPlan,
    ListPlans,
    PlanAdded,
    PlanRights,
    PlanSpec,
    PlanState,
    PlanView,
    ResumePlan,
)
from wire.requests import ById
from wire.views import Page

log = getLogger(__name__)

RESUMABLE = (PlanState.FAILED, PlanState.CANCELLED)


class PlanDesk:
    """Judges what people write, and tells the planner of every change."""

    def __init__(
        self,
        book: PlanBook,
        planner: Planner,
        roster: Roster,
        live: Live,
        judge: PlanJudge,
        vault: Vault,
    ):
        self._book = book
        self._vault = vault
        self._judge = judge
        self._planner = planner
        self._roster = roster
        self._live = live

    # ---- looking

    def get_plans(self, person: Person, asked: ListPlans) -> Page:
        return self._book.page(check_limit(asked.limit), asked.cursor).wait()

    def get_plan(self, person: Person, asked: ById) -> PlanView:
        """With what the person may do with it."""
        view = self._book.view(asked.id).wait()
        view.may = self._rights(person, view)
        return view

    def get_plan_spec(self, person: Person, asked: ById) -> PlanSpec:
        """As it was submitted, but for the values of secrets, which are empty."""
        found = self._book.situation(asked.id).wait().plan
        return PlanSpec(name=found.name, steps=found.steps)

    # ---- changing

    def add_plan(self, person: Person, asked: AddPlan, act: Act) -> PlanAdded:
        """Durable when this returns; its first step begins at once. The same key again gives the
        same plan."""
        submission.check_key(asked.key)
        body_hash = self._digest(asked.spec)
        try:
            self._judge.check(asked.spec, reach_of(person, self._roster.fleet()))
            self._judge.check_callbacks(asked.spec)
        except Refusal:
            # The fleet may have changed since the same key made its plan.
            earlier = self._made_by(asked.key, person, body_hash)
            if earlier is None:
                raise
            return PlanAdded(earlier, False)
        spec, kept = self._judge.apart(asked.spec)
        id = new_id()
        begun = plan.begun(
            spec,
            id=id,
            owner=person.name,
            owner_id=owner_id(person),
            created_by=person.name,
            at=self._live.now(),
            key=asked.key,
            body_hash=body_hash,
        )
        made = self._book.add(begun, act, sealed(self._vault, f"plan {id}", kept)).wait()
        failpoint("plan_added")
        if made.created:
            log.info(f"plan {made.plan.id} ({made.plan.name}) of {person.name} accepted")
            self._planner.tell(Advanced(plan=made.plan))
            self._planner.wake(made.plan.id)
        return PlanAdded(made.plan.id, made.created)

    def cancel_plan(self, person: Person, asked: ById, act: Act) -> PlanView:
        """What of it runs is stopped; it has ended when the last of that has."""
        self._check_reach_of_plan(person, asked.id)
        self._planner.tell(self._book.cancel(asked.id, act).wait())
        log.info(f"plan {asked.id} cancelled by {person.name}")
        self._planner.wake(asked.id)
        return self._book.view(asked.id).wait()

    def resume_plan(self, person: Person, asked: ResumePlan, act: Act) -> PlanView:
        """It goes on with the step at which it ended, with the rights of who resumes it."""
        if asked.hosts not in AGAIN:
            raise InvalidValue(
                f"hosts is {asked.hosts[:60]!r}; it takes one of {', '.join(AGAIN)}", field="hosts"
            )
        situation = self._book.situation(asked.id).wait()
        if situation.plan.state in RESUMABLE:
            self._aim_again(situation, asked.hosts, person)  # what could not begin is refused now
        resume = self._book.resume(asked.id, asked.hosts, person.name, owner_id(person), act)
        self._planner.tell(Advanced(plan=resume.wait()))
        log.info(f"plan {asked.id} resumed by {person.name}")
        self._planner.wake(asked.id)
        return self._book.view(asked.id).wait()

    # ---- below

    def _rights(self, person: Person, view: PlanView) -> PlanRights:
        """By the checks of cancel and resume themselves. What stands in the way besides, such as
        hosts that are gone, somebody who resumes is told then."""
        resume: list[str] = []
        if view.state in RESUMABLE:
            resume = [one for one in AGAIN if self._may_resume(view.id, one, person)]
        is_open = view.state == PlanState.RUNNING
        cancel = is_open and would_pass(person, lambda: self._check_reach_of_plan(person, view.id))
        return PlanRights(cancel, resume)

    def _may_resume(self, id: str, hosts: str, person: Person) -> bool:
        def check() -> None:  # reads the plan only for people with a limit
            try:
                self._aim_again(self._book.situation(id).wait(), hosts, person)
            except Forbidden:
                raise
            except Refusal:
                return  # it has nothing to do with rights

        return would_pass(person, check)

    def _aim_again(self, situation: Situation, hosts: str, person: Person) -> None:
        """What its present step would come to, once more. Raises Refusal."""
        found = situation.plan
        begun = present_parts(found, situation.parts)
        begin = Begin(found.step, found.attempt + 1 if begun else found.attempt)
        self._planner.aim(replace(situation, plan=replace(found, again=hosts)), begin, person)

    def _digest(self, spec: PlanSpec) -> str:
        """Whoever has the store alone must not be able to try values against the hash."""
        tasks = [task for step in spec.steps for task in step.tasks]
        has_secrets = any(task.secrets or task.secret_files or task.saved for task in tasks)
        digest = self._vault.digest if has_secrets else plain_digest
        return digest(msgspec.msgpack.encode(spec))

    def _made_by(self, key: str | None, person: Person, body_hash: str) -> str | None:
        if key is None:
            return None
        return self._book.made_by_key(key, person.name, body_hash).wait()

    def _check_reach_of_plan(self, person: Person, id: str) -> None:
        """A limited operator has a hand in plans of hosts that they may all use, also those of a
        step that is just about to begin."""
        if person.hosts is None:
            return
        situation, fleet = self._book.situation(id).wait(), self._roster.fleet()
        runs = self._book.host_runs(situation.parts).wait()
        ids = {run.agent for run in runs} & fleet.by_id.keys()
        check_reach(reach_of(person, fleet), {id: fleet.by_id[id].hostname for id in ids})
        if isinstance(situation.decision, Begin):
            with contextlib.suppress(InvalidValue, NotFound, Conflict, TooLarge):
                self._planner.aim(situation, situation.decision, person)
