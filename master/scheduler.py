"""Who makes the tasks and plans of schedules when their time has come? One loop on the hub.

It sleeps until the first firing, and is woken by every change. It finds out what the firings come
to (the hosts that the expression names now, the rights of the owner), and the store's verb does
the deciding. All that it keeps in memory may be lost, or be wrong because another process changed
the store: it looks again every second, and what the store says holds.
"""

import time
from collections.abc import Iterable, Sequence

from gevent.event import AsyncResult, Event

from master.database import Verb
from master.dispatch import Dispatcher
from master.plan import Plan
from master.planner import Planner
from master.records import Task
from master.schedule import FiringState, Schedule
from master.schedule_aims import ScheduleAims
from master.schedule_book import ScheduleBook
from master.scheduling import Aim, Fired
from utils import failpoint, getLogger
from wire.errors import NotFound
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
        aims: ScheduleAims,
        dispatcher: Dispatcher,
        planner: Planner,
    ):
        self._book = book
        self._aims = aims
        self._dispatcher = dispatcher
        self._planner = planner
        self._woken = Event()
        self._freed: set[str] = set()  # schedules of which a task or plan has ended
        self._put_off: dict[str, float] = {}
        self._swept_at = 0.0
        dispatcher.listeners.append(self._saw)
        planner.listeners.append(self._saw_end)

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
            again = self._fired(self._aims.of([self._book.record(id).wait()]))

    def round(self) -> None:
        """Fire all that is due now, and what waited for something that has ended."""
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

    def _saw_end(self, plan: Plan) -> None:
        """As `_saw`, of a plan."""
        if plan.schedule is not None:
            self._freed.add(plan.schedule)
            self._woken.set()

    # ---- firing

    def _fire(self, schedules: Sequence[Schedule]) -> None:
        for start in range(0, len(schedules), IN_ONE_COMMIT):
            self._fired(self._aims.of(schedules[start : start + IN_ONE_COMMIT]))

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
        for plan in fired.plans:
            log.info(f"schedule {aim.schedule} fired: plan {plan} begins or is replaced")
            self._planner.wake(plan)
        missed = [one for one in fired.verdicts if one.state is FiringState.MISSED]
        if missed:
            log.warning(
                f"schedule {aim.schedule} missed {len(missed)} due instants, "
                f"the last: {missed[-1].reason}"
            )


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
