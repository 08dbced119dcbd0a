"""Who makes the tasks of schedules when their time has come? One loop on the hub.

It sleeps until the first firing, and is woken by every change. It finds out what the firings come
to (the hosts that the expression names now, the rights of the owner), and the store's verb does
the deciding. All that it keeps in memory may be lost, or be wrong because another process changed
the store: it looks again every second, and what the store says holds.
"""

import time
from collections.abc import Iterable, Sequence

from gevent.event import AsyncResult, Event
from msgspec.structs import replace

from master import compose
from master.beside import beside
from master.changes import NewTask
from master.composer import Composer
from master.database import Verb
from master.dispatch import Dispatcher
from master.live import Live
from master.owners import owner
from master.people_store import PeopleStore
from master.reach import reach_of
from master.records import Task
from master.roster import Roster
from master.saved_submission import Filled
from master.schedule import FiringState, Schedule
from master.schedule_book import ScheduleBook
from master.scheduling import Aim, Fired
from master.script_store import ScriptStore
from master.targets import Fleet, some
from utils import failpoint, getLogger
from wire.errors import Forbidden, NotFound, Refusal
from wire.requests import Submission
from wire.states import ENDED_TASK

log = getLogger(__name__)

LOOK_S = 1.0  # at the latest so long after another process, or the wall's clock, was changed
SWEEP_S = 10.0  # what waits for a task is looked for so often, should its end have been missed
AT_ONCE = 500  # schedules that are read at a time
IN_ONE_COMMIT = 40  # of them fire together: results that come meanwhile wait for no more
PUT_OFF_S = 5.0  # a schedule whose firing failed is tried again after so long


class Scheduler:
    """Fires what is due, with the rights that the owners of the schedules have then."""

    def __init__(
        self,
        book: ScheduleBook,
        roster: Roster,
        dispatcher: Dispatcher,
        live: Live,
        people: PeopleStore,
        scripts: ScriptStore,
    ):
        self._book = book
        self._composer = Composer(live, scripts)
        self._people = people
        self._roster = roster
        self._dispatcher = dispatcher
        self._woken = Event()
        self._freed: set[str] = set()  # schedules of which a task has ended
        self._put_off: dict[str, float] = {}
        self._swept_at = 0.0
        dispatcher.listeners.append(self._saw)

    def run(self) -> None:
        """Never returns. A store that fails for a while does not end it."""
        while True:
            self._woken.clear()
            try:
                self.round()
                pause_s = self._pause_s()
            except Exception:
                log.exception("the firings that are due are tried again in a second")
                pause_s = LOOK_S
            self._woken.wait(pause_s)

    def wake(self) -> None:
        """A schedule was changed."""
        self._woken.set()

    def settle(self, id: str) -> None:
        """Decide all that has come up of this schedule. Raises NotFound, or what the store says."""
        again = True
        while again:
            again = self._fired(self._aimed([self._book.record(id).wait()]))

    def round(self) -> None:
        """Fire all that is due now, and what waited for a task that has ended."""
        self._sweep()
        while True:
            due = self._due()
            freed, self._freed = self._freed - {schedule.id for schedule in due}, set()
            if not (due or freed):
                return
            self._fire([*self._records(freed), *due])

    # ---- what is due

    def _due(self) -> list[Schedule]:
        now = time.monotonic()
        self._put_off = {id: until for id, until in self._put_off.items() if until > now}
        due = self._book.due(self._book.now(), AT_ONCE + len(self._put_off)).wait()
        return [schedule for schedule in due if schedule.id not in self._put_off]

    def _records(self, ids: Iterable[str]) -> list[Schedule]:
        found = []
        for id in ids:
            try:
                found.append(self._book.record(id).wait())
            except NotFound:
                log.debug(f"schedule {id} was removed")
        return found

    def _sweep(self) -> None:
        if time.monotonic() - self._swept_at >= SWEEP_S:
            self._freed.update(self._book.held_up().wait())
            self._swept_at = time.monotonic()

    def _pause_s(self) -> float:
        """Until the first firing, and never long: the wall's clock may be set meanwhile."""
        next_at = self._book.next_firing().wait()
        if next_at is None:
            return LOOK_S
        return min(max(0.0, next_at - self._book.now()), LOOK_S)

    def _saw(self, task: Task) -> None:
        """A task of a schedule has ended: another firing may wait for that."""
        if task.schedule is not None and task.state in ENDED_TASK:
            self._freed.add(task.schedule)
            self._woken.set()

    # ---- firing

    def _fire(self, schedules: Sequence[Schedule]) -> None:
        for start in range(0, len(schedules), IN_ONE_COMMIT):
            self._fired(self._aimed(schedules[start : start + IN_ONE_COMMIT]))

    def _fired(self, aims: Sequence[Aim]) -> bool:
        """Do it; is there more to do at once? The next round does."""
        outcomes = together([self._book.fire(aim) for aim in aims])
        failpoint("fired")
        again = False
        for aim, outcome in zip(aims, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._failed(aim, outcome)
            else:
                self._tell(aim, outcome)
                again = again or outcome.again
                if outcome.again:
                    self._freed.add(aim.schedule)
        return again

    def _failed(self, aim: Aim, error: BaseException) -> None:
        self._put_off[aim.schedule] = time.monotonic() + PUT_OFF_S
        log.error(
            f"schedule {aim.schedule} could not fire: {error!r}; tried again in {PUT_OFF_S:g} s"
        )

    def _tell(self, aim: Aim, fired: Fired) -> None:
        """After the commit: wake agents, tell readers."""
        for changed in fired.changed:
            self._dispatcher.apply(changed)
        if fired.opened is not None:
            log.info(f"schedule {aim.schedule} fired: task {fired.opened.task.id}")
            self._dispatcher.opened(fired.opened.task, list(fired.opened.waiting))
        missed = [one for one in fired.verdicts if one.state is FiringState.MISSED]
        if missed:
            log.warning(
                f"schedule {aim.schedule} missed {len(missed)} due instants, "
                f"the last: {missed[-1].reason}"
            )

    # ---- what a firing comes to

    def _aimed(self, schedules: Sequence[Schedule]) -> list[Aim]:
        """Expressions are resolved beside the hub, each once."""
        fleet = self._roster.fleet()
        resolved = beside(lambda: _resolved(schedules, fleet))
        owners = {schedule.owner_id: schedule.owner for schedule in schedules}
        reaches = {id: self._reach(id, name, fleet) for id, name in owners.items()}
        return [
            self._aim(schedule, found, reaches[schedule.owner_id], fleet)
            for schedule, found in zip(schedules, resolved, strict=True)
        ]

    def _reach(self, owner_id: str, name: str, fleet: Fleet) -> frozenset[str] | Refusal | None:
        """The hosts that an owner may use now, None for all; or why there are none."""
        try:
            return reach_of(owner(self._people, name, owner_id), fleet)
        except Refusal as refusal:
            return refusal

    def _aim(
        self,
        schedule: Schedule,
        found: list[str] | Refusal,
        reach: frozenset[str] | Refusal | None,
        fleet: Fleet,
    ) -> Aim:
        try:
            if isinstance(found, Refusal):
                raise found
            if isinstance(reach, Refusal):
                raise reach
            _check_reach(schedule, reach, found, fleet)
            task = self.task_of(schedule, found, fleet, f"schedule {schedule.name}")
        except Refusal as refusal:
            return Aim(schedule.id, schedule.revision, None, str(refusal))
        return Aim(schedule.id, schedule.revision, task)

    def task_of(self, schedule: Schedule, ids: list[str], fleet: Fleet, created_by: str) -> NewTask:
        """Its task, without an id of its own yet. Raises Refusal."""
        new = self._composer.task_of(schedule.task, ids, fleet, created_by=created_by)
        return _bound(new, schedule)

    def meant(self, task: Submission, fleet: Fleet) -> Filled:
        """The task of a schedule with the script that it has now."""
        return self._composer.meant(task, fleet)


def _check_reach(
    schedule: Schedule, reach: frozenset[str] | None, ids: Sequence[str], fleet: Fleet
) -> None:
    """Raises Forbidden with the hosts that the owner may not use."""
    outside = [] if reach is None else [id for id in ids if id not in reach]
    if outside:
        names = some([fleet.by_id[id].hostname for id in outside])
        raise Forbidden(f"its owner {schedule.owner} is limited to other hosts than {names}")


def _bound(new: NewTask, schedule: Schedule) -> NewTask:

    return replace(new, schedule=schedule.id, name=new.name or schedule.name)


def _resolved(schedules: Sequence[Schedule], fleet: Fleet) -> list[list[str] | Refusal]:
    """In a native thread. Many schedules have the same expression."""
    known: dict[str, list[str] | Refusal] = {}
    found = []
    for schedule in schedules:
        key = repr(schedule.task.targets)
        if key not in known:
            try:
                known[key] = compose.targets(schedule.task, fleet)
            except Refusal as refusal:
                known[key] = refusal
        found.append(known[key])
    return found


def together(verbs: Sequence[Verb[Fired]]) -> list[Fired | BaseException]:
    """Begin all of them before waiting for any, so that they share a commit."""
    outcomes: list[Fired | BaseException | None] = [None] * len(verbs)
    left = len(verbs)
    all_done: AsyncResult[None] = AsyncResult()

    def done(place: int, outcome: Fired | BaseException) -> None:
        nonlocal left
        outcomes[place] = outcome
        left -= 1
        if not left:
            all_done.set(None)

    for place, verb in enumerate(verbs):
        verb.then(lambda outcome, place=place: done(place, outcome))  # type: ignore[misc]
    if verbs:
        all_done.get()
    return [outcome for outcome in outcomes if outcome is not None]
