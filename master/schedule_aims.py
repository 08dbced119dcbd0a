"""What would a firing of a schedule come to now? A task or a plan, with the rights of its owner.

Found out beside the store, for all that fire together: an expression that many schedules have is
resolved once.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from master import compose, plan
from master.beside import beside
from master.callback_store import CallbackStore
from master.composer import Composer, sound
from master.ids import new_id
from master.kept_secrets import (
    WHOLE,
    Places,
    of_task,
    opened,
    put_back,
    put_back_plan,
    sealed,
)
from master.owners import owner, owner_id
from master.people_store import PeopleStore
from master.plan_judge import PlanJudge, Reach
from master.plan_rules import with_field
from master.reach import check_reach, reach_of
from master.rights import Person
from master.roster import Roster
from master.schedule import Schedule
from master.schedule_book import ScheduleBook
from master.scheduling import Aim
from master.secrets import Sealed
from master.targets import Fleet
from wire.errors import InvalidValue, Refusal
from wire.plans import PlanSpec
from wire.requests import Submission


class ScheduleAims:
    """Every method blocks its greenlet."""

    def __init__(
        self,
        book: ScheduleBook,
        composer: Composer,
        judge: PlanJudge,
        roster: Roster,
        people: PeopleStore,
        callbacks: CallbackStore,
    ):
        self._book = book
        self._composer = composer
        self._judge = judge
        self._roster = roster
        self._people = people
        self._callbacks = callbacks

    # ---- when it fires

    def of(self, schedules: Sequence[Schedule]) -> list[Aim]:
        """One for each."""
        fleet = self._roster.fleet()
        resolved = beside(lambda: _resolved(schedules, fleet))
        owners = {schedule.owner_id: schedule.owner for schedule in schedules}
        rights = {id: self._rights(id, name, fleet) for id, name in owners.items()}
        return [
            self._aim(schedule, found, rights[schedule.owner_id], fleet)
            for schedule, found in zip(schedules, resolved, strict=True)
        ]

    def _rights(self, owner_id: str, name: str, fleet: Fleet) -> tuple[Person, Reach] | Refusal:
        """An owner, and the hosts that they may use now; or why there are none."""
        try:
            person = owner(self._people, name, owner_id)
            return person, reach_of(person, fleet)
        except Refusal as refusal:
            return refusal

    def _aim(
        self,
        schedule: Schedule,
        found: list[str] | Refusal,
        rights: tuple[Person, Reach] | Refusal,
        fleet: Fleet,
    ) -> Aim:
        who, created_by = f"its owner {schedule.owner} is", f"schedule {schedule.name}"
        try:
            if isinstance(found, Refusal):
                raise found
            if isinstance(rights, Refusal):
                raise rights
            person, reach = rights
            schedule = self.whole(schedule)
            if schedule.plan is not None:
                self._judge.check(_named(schedule, schedule.plan), reach, who)
                return self._plan_of(schedule, schedule.owner, schedule.owner_id, created_by)
            check_reach(reach, {id: fleet.by_id[id].hostname for id in found}, who)
            return self._task_of(schedule, found, fleet, created_by, person.hosts)
        except Refusal as refusal:
            return Aim(schedule.id, schedule.revision, None, str(refusal))

    # ---- by hand

    def by_hand(self, schedule: Schedule, person: Person) -> Aim:
        """With the rights of the person. Raises Refusal."""
        fleet = self._roster.fleet()
        reach = reach_of(person, fleet)
        schedule = self.whole(schedule)
        if schedule.plan is not None:
            self._judge.check(_named(schedule, schedule.plan), reach)
            return self._plan_of(schedule, person.name, owner_id(person), person.name)
        task = schedule.task
        assert task is not None
        ids = beside(lambda: compose.targets(task, fleet))
        check_reach(reach, {id: fleet.by_id[id].hostname for id in ids})
        return self._task_of(schedule, ids, fleet, person.name, person.hosts)

    # ---- when it is saved

    def check(self, schedule: Schedule) -> None:
        """With the values of its secrets. Its hosts are those of each firing: that some name is
        wrong is told now. Raises InvalidValue, for a field such as plan.steps[0].name."""
        if schedule.plan is not None:
            spec = _named(schedule, schedule.plan)
            with_field("plan", lambda: self._judge.check(spec, None))
            with_field("plan", lambda: self._judge.check_callbacks(spec))
        else:
            with_field("task", lambda: self._check_task(schedule.task or Submission()))

    def check_reach(self, person: Person, schedule: Schedule) -> None:
        """A limited operator has a hand in schedules of their own hosts only. Raises Forbidden."""
        fleet = self._roster.fleet()
        reach = reach_of(person, fleet)
        task = schedule.task
        if reach is None:
            return
        if schedule.plan is not None:
            self._judge.check_reach(schedule.plan, reach)
        elif task is not None:
            ids = beside(lambda: compose.named(task, fleet))
            check_reach(reach, {id: fleet.by_id[id].hostname for id in ids})

    def _check_task(self, task: Submission) -> None:
        fleet = self._roster.fleet()
        sound(self._composer.meant(task, fleet).submission)
        if task.expect is not None:
            raise InvalidValue(
                "expect is given; the hosts of a schedule are found at each firing",
                field="expect",
            )
        self._callbacks.check_known(task.callbacks).wait()
        beside(lambda: compose.named(task, fleet))

    # ---- secrets

    def whole(self, schedule: Schedule) -> Schedule:
        """With the values of its secrets. Raises SecretsUnreadable."""
        if schedule.key_id is None:
            return schedule
        found = self._book.sealed(schedule.id).wait()
        kept = opened(self._composer.vault, f"schedule {schedule.id}", found)
        if schedule.plan is not None:
            return replace(schedule, plan=put_back_plan(schedule.plan, kept))
        task = schedule.task
        return schedule if task is None else replace(schedule, task=put_back(task, kept.get(WHOLE)))

    def edited(self, before: Schedule, after: Schedule, person: Person) -> Schedule:
        """What somebody has made of it, with the values of its secrets: where another task or plan
        has none, only those that are the person's own. Raises SecretsUnreadable."""
        is_same = (after.task, after.plan) == (before.task, before.plan)
        if is_same or owner_id(person) == before.owner_id:
            return self.whole(after)
        return after

    def apart(self, schedule: Schedule) -> tuple[Schedule, Sealed | None]:
        """(the schedule as it is written down, its secrets). Raises Refusal."""
        places: Places
        if schedule.plan is not None:
            spec, places = self._judge.apart(schedule.plan)
            bare = replace(schedule, plan=spec)
        else:
            task = schedule.task or Submission()
            secret = self._composer.secret_parameters(task, self._roster.fleet())
            written, kept = of_task(task, secret)
            bare, places = replace(schedule, task=written), {WHOLE: kept}
        return bare, sealed(self._composer.vault, f"schedule {schedule.id}", places)

    # ---- below

    def _task_of(
        self,
        schedule: Schedule,
        ids: list[str],
        fleet: Fleet,
        created_by: str,
        within: str | None,
    ) -> Aim:
        """Raises Refusal."""
        assert schedule.task is not None
        new = self._composer.task_of(
            schedule.task, ids, fleet, id=new_id(), created_by=created_by, within=within
        )
        made = replace(new, schedule=schedule.id, name=new.name or schedule.name)
        return Aim(schedule.id, schedule.revision, made)

    def _plan_of(self, schedule: Schedule, owner: str, owner_id: str, created_by: str) -> Aim:
        """Raises Refusal."""
        assert schedule.plan is not None
        spec, places = self._judge.apart(_named(schedule, schedule.plan))
        id = new_id()
        begun = plan.begun(
            spec, id=id, owner=owner, owner_id=owner_id, created_by=created_by, at=0.0
        )
        made = replace(begun, schedule=schedule.id)
        seal = sealed(self._composer.vault, f"plan {id}", places)
        return Aim(schedule.id, schedule.revision, made, sealed=seal)


def _named(schedule: Schedule, spec: PlanSpec) -> PlanSpec:
    return replace(spec, name=spec.name or schedule.name)


def _resolved(schedules: Sequence[Schedule], fleet: Fleet) -> list[list[str] | Refusal]:
    """In a native thread; nothing for those that make plans."""
    known: dict[str, list[str] | Refusal] = {}
    found: list[list[str] | Refusal] = []
    for schedule in schedules:
        if schedule.task is None:
            found.append([])
            continue
        key = repr((schedule.task.mode, schedule.task.targets))
        if key not in known:
            try:
                known[key] = compose.targets(schedule.task, fleet)
            except Refusal as refusal:
                known[key] = refusal
        found.append(known[key])
    return found
