"""What do people get when they make, edit, look at and run schedules?

Every method runs in a greenlet of its own, for a person that the gate has admitted.
"""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from master import intake, schedule_views, submission, timing
from master.audit import Act
from master.beside import beside
from master.board import check_limit
from master.changes import NewTask
from master.dispatch import Dispatcher
from master.ids import new_id
from master.owners import owner_id
from master.plan import Plan
from master.planner import Planner
from master.reach import would_pass
from master.rights import Person
from master.schedule import Misfire, Overlap, Schedule, upcoming
from master.schedule_aims import ScheduleAims
from master.schedule_book import ScheduleBook
from master.scheduler import Scheduler
from master.scheduling import NotDecided
from master.secrets import Sealed
from utils import getLogger
from wire.errors import Conflict, InvalidValue, Unavailable
from wire.requests import ById
from wire.schedules import (
    AddSchedule,
    ChangeSchedule,
    GetTimeline,
    ListFirings,
    ListSchedules,
    PreviewSchedule,
    PreviewView,
    Run,
    RunSchedule,
    SchedulePatch,
    ScheduleView,
    TimelineView,
)
from wire.views import Page

log = getLogger(__name__)

MAX_NAME_CHARACTERS = 100
MAX_EACH = 100  # misfires that run after one outage
MAX_GRACE_S = 366 * 86400
MAX_PREVIEW = 100
MAX_HOURS = 7 * 24
TRIES = 5  # to change a schedule that keeps coming up

Choice = TypeVar("Choice", Overlap, Misfire)
Edit = Callable[[Schedule, float], Schedule]


class ScheduleDesk:
    """Judges what people write, and tells the scheduler of every change."""

    def __init__(
        self,
        book: ScheduleBook,
        scheduler: Scheduler,
        aims: ScheduleAims,
        dispatcher: Dispatcher,
        planner: Planner,
    ):
        self._book = book
        self._scheduler = scheduler
        self._aims = aims
        self._dispatcher = dispatcher
        self._planner = planner

    # ---- looking

    def get_schedules(self, person: Person, asked: ListSchedules) -> Page:
        text = (asked.text or "").strip() or None
        limit = check_limit(asked.limit)
        return self._book.page(limit, asked.cursor, text, asked.state or None).wait()

    def get_schedule(self, person: Person, asked: ById) -> ScheduleView:
        """With what the person may do with it."""
        view = self._book.view(asked.id).wait()
        view.may_steer = would_pass(
            person, lambda: self._aims.check_reach(person, self._book.record(asked.id).wait())
        )
        return view

    def preview_schedule(self, person: Person, asked: PreviewSchedule) -> PreviewView:
        """The next due instants of a timing, saved or not."""
        if not 1 <= asked.count <= MAX_PREVIEW:
            raise InvalidValue(
                f"count is {asked.count}; it takes 1 to {MAX_PREVIEW}", field="count"
            )
        when = beside(lambda: timing.parse(asked.when))
        now = self._book.now()
        timing.check_future(when, now)
        return beside(lambda: timing.preview(when, now, asked.count))

    def get_firings(self, person: Person, asked: ListFirings) -> Page:
        limit = check_limit(asked.limit)
        return self._book.firings(asked.schedule, asked.state or None, limit, asked.cursor).wait()

    def get_timeline(self, person: Person, asked: GetTimeline) -> TimelineView:
        """The firings to come of all schedules."""
        if not 1 <= asked.hours <= MAX_HOURS:
            raise InvalidValue(f"hours is {asked.hours}; it takes 1 to {MAX_HOURS}", field="hours")
        now, within_s = self._book.now(), asked.hours * 3600.0
        schedules = self._book.coming(within_s).wait()
        return beside(lambda: schedule_views.timeline(schedules, now, now + within_s))

    # ---- changing

    def add_schedule(self, person: Person, asked: AddSchedule, act: Act) -> ScheduleView:
        """Durable when this returns, and in effect."""
        spec, now = asked.spec, self._book.now()
        schedule = self._checked(
            Schedule(
                id=new_id(),
                name=spec.name.strip(),
                timing=beside(lambda: timing.parse(spec.when)),
                task=spec.task,
                plan=spec.plan,
                overlap=_choice("overlap", spec.overlap, Overlap),
                misfire=_choice("misfire", spec.misfire, Misfire),
                misfire_most=spec.misfire_most,
                misfire_grace_s=spec.misfire_grace,
                owner=person.name,
                owner_id=owner_id(person),
                created_by=person.name,
                created_at=now,
                edited_at=now,
                decided_until=now,
                paused_by=person.name if spec.paused else None,
            )
        )
        timing.check_future(schedule.timing, now)
        if schedule.paused_by is None:
            next_due, next_at = upcoming(schedule, now)
            schedule = replace(schedule, next_due=next_due, next_at=next_at)
        self._aims.check_reach(person, schedule)
        written, sealed = self._aims.apart(schedule)
        self._book.add(written, act, sealed).wait()
        log.info(f"schedule {schedule.id} ({schedule.name}) made by {person.name}")
        return self._changed(schedule)

    def change_schedule(self, person: Person, asked: ChangeSchedule, act: Act) -> ScheduleView:
        """In effect when this returns: what is due later is due as it says now."""
        edit = self._edit_of(asked.patch)
        has_work = not (asked.patch.task is UNSET and asked.patch.plan is UNSET)
        before = self._book.record(asked.id).wait()
        self._aims.check_reach(person, before)
        whole = self._checked(self._aims.edited(before, edit(before, 0.0), person))
        self._aims.check_reach(person, whole)
        written, sealed = self._aims.apart(whole)

        def edited(schedule: Schedule, now: float) -> Schedule:
            _refuse_outdated(schedule, asked.patch)
            after = edit(schedule, now)
            if after.timing != schedule.timing:
                timing.check_future(after.timing, now)
            return replace(
                after,
                task=written.task if has_work else after.task,
                plan=written.plan if has_work else after.plan,
                owner=person.name,
                owner_id=owner_id(person),
                edited_at=now,
                revision=schedule.revision + 1,
            )

        cause = f"edited by {person.name} before its splay"
        schedule = self._change(asked.id, edited, cause, act, sealed if has_work else UNSET)
        log.info(f"schedule {schedule.id} ({schedule.name}) edited by {person.name}")
        return self._changed(schedule)

    def pause_schedule(self, person: Person, asked: ById, act: Act) -> ScheduleView:
        """Nothing of it is due until it is resumed. What runs goes on; what waits does not."""

        def paused(schedule: Schedule, now: float) -> Schedule:
            return replace(schedule, paused_by=schedule.paused_by or person.name)

        schedule = self._steer(person, asked.id, paused, f"paused by {person.name}", act)
        log.info(f"schedule {schedule.id} ({schedule.name}) paused by {person.name}")
        return self._changed(schedule)

    def resume_schedule(self, person: Person, asked: ById, act: Act) -> ScheduleView:
        """From now on it is due again; what would have been due meanwhile was not."""

        def resumed(schedule: Schedule, now: float) -> Schedule:
            return replace(schedule, paused_by=None)

        schedule = self._steer(person, asked.id, resumed, "", act)
        log.info(f"schedule {schedule.id} ({schedule.name}) resumed by {person.name}")
        return self._changed(schedule)

    def remove_schedule(self, person: Person, asked: ById, act: Act) -> dict[str, str]:
        """What it has fired goes on, and its firings stay to be seen."""

        def removed(schedule: Schedule, now: float) -> Schedule:
            return replace(schedule, removed_at=now)

        schedule = self._steer(person, asked.id, removed, f"deleted by {person.name}", act)
        log.info(f"schedule {schedule.id} ({schedule.name}) deleted by {person.name}")
        self._scheduler.wake()
        return {}

    def run_schedule(self, person: Person, asked: RunSchedule, act: Act) -> Run:
        """A task or plan of it now, made by the person, beside all that is due."""
        submission.check_key(asked.key)
        schedule = self._book.record(asked.id).wait()
        body_hash = hashlib.sha256(f"run {asked.id}".encode()).hexdigest()
        aim = self._aims.by_hand(schedule, person)
        if isinstance(aim.made, Plan):
            plan = replace(aim.made, key=asked.key, body_hash=body_hash)
            begun = replace(plan, created_at=self._book.now())
            run = self._begin_plan(schedule, begun, aim.sealed, act)
        else:
            assert aim.made is not None  # a refusal was raised
            new = replace(aim.made, key=asked.key, body_hash=body_hash)
            run = self._begin_task(schedule, new, act)
        if run.created:
            log.info(f"schedule {schedule.id} run by hand of {person.name}: {run.kind} {run.id}")
        return run

    def _begin_task(self, schedule: Schedule, new: NewTask, act: Act) -> Run:
        added = self._book.run_now(schedule.id, new, act).wait()
        if added.created:
            self._dispatcher.opened(added.task, intake.to_wake(new, added.task))
        return Run(added.task.id, "task", added.created)

    def _begin_plan(self, schedule: Schedule, new: Plan, sealed: Sealed | None, act: Act) -> Run:
        made = self._book.run_plan_now(schedule.id, new, act, sealed).wait()
        if made.created:
            self._planner.wake(made.plan.id)
        return Run(made.plan.id, "plan", made.created)

    # ---- below

    def _steer(self, person: Person, id: str, edit: Edit, cause: str, act: Act) -> Schedule:
        self._aims.check_reach(person, self._book.record(id).wait())
        return self._change(id, edit, cause, act)

    def _change(
        self,
        id: str,
        edit: Edit,
        cause: str,
        act: Act,
        sealed: Sealed | UnsetType | None = UNSET,
    ) -> Schedule:
        """What came up before is decided before, as the schedule was."""
        for _ in range(TRIES):
            try:
                return self._book.change(id, edit, cause, act, sealed).wait()
            except NotDecided:
                self._scheduler.settle(id)
        raise Unavailable("the schedule fires again and again just now; nothing was changed")

    def _changed(self, schedule: Schedule) -> ScheduleView:
        self._scheduler.wake()
        return self._book.view(schedule.id).wait()

    def _edit_of(self, patch: SchedulePatch) -> Edit:
        """Judges what stands in the patch; the rest stays as it is when the edit is made."""
        when = patch.when
        given: dict[str, Any] = {
            "name": patch.name if patch.name is UNSET else patch.name.strip(),
            "timing": when if when is UNSET else beside(lambda: timing.parse(when)),
            "task": patch.task,
            "plan": patch.plan,
            "overlap": _choice_or_unset("overlap", patch.overlap, Overlap),
            "misfire": _choice_or_unset("misfire", patch.misfire, Misfire),
            "misfire_most": patch.misfire_most,
            "misfire_grace_s": patch.misfire_grace,
        }
        fields = {name: value for name, value in given.items() if value is not UNSET}
        if len(fields.keys() & {"task", "plan"}) == 1:  # one takes the place of the other
            fields = {"task": None, "plan": None} | fields
        return lambda schedule, now: replace(schedule, **fields)

    def _checked(self, schedule: Schedule) -> Schedule:
        """Raises InvalidValue, TooLarge."""
        name = schedule.name
        if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
            raise InvalidValue(
                f"name is {name[:60]!r}; it takes 1 to {MAX_NAME_CHARACTERS} printable characters",
                field="name",
            )
        for field, value, most in (
            ("misfire_most", schedule.misfire_most, MAX_EACH),
            ("misfire_grace", schedule.misfire_grace_s, MAX_GRACE_S),
        ):
            if not 1 <= value <= most:
                raise InvalidValue(f"{field} is {value}; it takes 1 to {most}", field=field)
        if (schedule.task is None) == (schedule.plan is None):
            raise InvalidValue(
                "task and plan: a schedule makes one of them, so give one", field="task"
            )
        self._aims.check(schedule)
        return schedule


def _refuse_outdated(schedule: Schedule, patch: SchedulePatch) -> None:
    if patch.revision is not UNSET and patch.revision != schedule.revision:
        raise Conflict(
            f"revision is {patch.revision}; {schedule.owner} has edited the schedule since, it is "
            f"revision {schedule.revision} now: look at it again",
            field="revision",
        )


def _choice(field: str, value: str, kind: type[Choice]) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise InvalidValue(
            f"{field} is {value[:60]!r}; it takes one of {', '.join(kind)}", field=field
        ) from None


def _choice_or_unset(field: str, value: str | UnsetType, kind: type[Choice]) -> Choice | UnsetType:
    return UNSET if isinstance(value, UnsetType) else _choice(field, value, kind)
