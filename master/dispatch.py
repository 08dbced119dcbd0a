"""What happens after a commit? Polls are answered, agents woken, readers told.

Everything here runs on the hub, after the transaction that decided, and may be lost
with the process: agents poll again, and a sweep finds what was missed.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from gevent.event import AsyncResult

from master import plan_views
from master.audit import Act
from master.calm import Calm
from master.changes import Added, Changed, Hold, NewTask, PollAnswer, QueueState
from master.events import Ring
from master.filler import Filler
from master.intake import to_wake
from master.live import Live
from master.mailbox import FEW, Mailbox, Parked, Window, Windows
from master.plan import Plan
from master.queue_board import Offer
from master.queue_hub import QueueHub
from master.records import Run, Task
from master.roster import Roster
from master.storage import Storage
from master.task import QUEUE
from master.waiters import Waiters
from utils import failpoint, getLogger
from wire.errors import Refusal, Refused
from wire.messages import Held, Poll, Work
from wire.server import Call
from wire.states import AgentState, RunState, Standing

log = getLogger(__name__)

POLL_S = 30.0  # how long a poll parks
STRAYS_SAID_S = 60.0  # between two lines of the log about strays
WAITING_AT_ONCE = 10_000  # agents of one task that a window loads at a time


class Dispatcher:
    """Answers parked polls; keeps the windows of tasks, the ring of events and waiting readers."""

    def __init__(
        self,
        storage: Storage,
        roster: Roster,
        ring: Ring,
        waiters: Waiters,
        live: Live,
        is_free: Callable[[], bool] = lambda: True,
    ):
        """`is_free()`: nothing has arrived that is not read; see `Windows`, and `read_all`."""
        self._storage = storage
        self._roster = roster
        self._ring = ring
        self._waiters = waiters
        self._live = live
        self._strays_said_at = -STRAYS_SAID_S
        self.mailbox = Mailbox()
        self.filler = Filler(storage, self.apply)
        self.queues = QueueHub(storage, roster, live, self.mailbox, self.look, self._tell_queue)
        self._windows = Windows(self.mailbox, self.look, is_free)
        self._calm = Calm()
        self.listeners: list[Callable[[Task], None]] = []  # are told of every task that changed

    # ---- polls

    def park(self, agent: str, call: Call, poll: Poll) -> None:
        """Park first, then look, in a transaction that begins after the poll arrived."""
        parked = Parked(agent, call, poll, time.monotonic() + POLL_S)
        older = self.mailbox.park(parked)
        if older is not None:
            _answer_empty(older)
        has_offer = self.queues.parks(agent, poll.free)
        if has_offer or self._windows.is_out(agent) or not self._calm.covers(agent, poll):
            self.look(agent)

    def look(self, agent: str) -> bool:
        """Look for work on behalf of the agent's parked poll; False if none is parked.

        An agent that misses its heartbeats would take a place and not hear of it. Its poll is
        ended instead: if it is there after all, it polls anew.
        """
        self._calm.disturb(agent)
        parked = self.mailbox.get(agent)
        if parked is not None and self._live.state(agent) is not AgentState.ONLINE:
            self.drop(agent)
            return False
        if parked is None:
            return False
        if parked.looking:
            parked.again = True
        else:
            parked.looking = True
            offer = self.queues.offer(agent, parked.poll.free)
            # The store cannot grow older while it is open: whoever has polled before only says so.
            is_first = not self._roster.has_polled(agent)
            verb = self._storage.poll(agent, parked.poll, offer.levels, may_hold=is_first)
            try:
                verb.then(partial(self._looked, parked, offer))
            except Refusal:  # the store takes no more now: nobody looks, and nothing is promised
                parked.looking = False
                self.queues.looked(agent, offer, Changed())
                raise
        return True

    def _looked(self, parked: Parked, offer: Offer, outcome: PollAnswer | BaseException) -> None:
        parked.looking = False
        failpoint("claimed")
        changed = Changed()
        try:
            if isinstance(outcome, BaseException):
                self._failed(parked, outcome)
            else:
                changed = outcome.changed
                self._note(parked, outcome)
                self._answered(parked, outcome)
                self.apply(changed)
        finally:  # a look that never ended would keep what it was promised
            self.queues.looked(parked.agent, offer, changed)
            self._windows.looked(parked.agent)

    def _note(self, parked: Parked, outcome: PollAnswer) -> None:
        """What a look found out about an agent, or the store, besides work."""
        agent, poll = parked.agent, parked.poll
        self._roster.polled(agent)
        if outcome.idle and not parked.again and not poll.held:
            self._calm.looked(agent, poll, outcome.grants)
        if outcome.hold is not None and self._live.held is None:
            self._live.held = Hold(outcome.hold, self._live.now())
            log.error(
                f"hand-outs to all agents are held: {outcome.hold}; look at the tasks that wait, "
                "then release them (POST /api/v1/handouts/release)"
            )
        if outcome.standing is not Standing.ENROLLED:
            self._roster.set_standing(agent, outcome.standing, outcome.reason)
            log.error(f"agent {agent} is {outcome.standing}: it is given no work")
        if outcome.strays:
            self._say_strays(agent, outcome.strays)

    def _say_strays(self, agent: str, strays: Sequence[Held]) -> None:
        """Once a minute for all agents: what one says at each poll must not fill the log."""
        now = time.monotonic()
        if now - self._strays_said_at < STRAYS_SAID_S:
            return
        self._strays_said_at = now
        some = ", ".join(held.run[:40] for held in strays[:5])
        log.warning(f"agent {agent} holds {len(strays)} runs that the store does not know: {some}")

    def _answered(self, parked: Parked, outcome: PollAnswer) -> None:
        newest = self.mailbox.get(parked.agent)
        if newest is not parked:
            # The answer was found for a poll that is gone. What it granted is handed out
            # again to the newer one, which sees grants above its hw.
            if newest is not None and (outcome.grants or outcome.words):
                self.look(parked.agent)
        elif outcome.standing is not Standing.ENROLLED:
            self.mailbox.take(parked)
            parked.call.fail(Refused(f"the agent is {outcome.standing}: it is given no work"))
        elif outcome.grants or outcome.words:
            self.mailbox.take(parked)
            parked.call.ok(Work(parked.poll.session, outcome.grants, outcome.words))
        elif parked.again:
            parked.again = False
            self.look(parked.agent)

    def _failed(self, parked: Parked, error: BaseException) -> None:
        if self.mailbox.take(parked):
            parked.call.fail(error)

    def drop(self, agent: str) -> None:
        """The agent has a new session, or none: a poll of the old one is answered empty."""
        parked = self.mailbox.get(agent)
        if parked is not None and self.mailbox.take(parked):
            _answer_empty(parked)

    def refuse(self, agent: str, refusal: Refusal) -> None:
        """The agent is not served any more: its parked poll is told why."""
        self._calm.disturb(agent)
        parked = self.mailbox.get(agent)
        if parked is not None and self.mailbox.take(parked):
            parked.call.fail(refusal)

    def end_overdue_polls(self) -> None:
        for parked in self.mailbox.overdue(time.monotonic()):
            _answer_empty(parked)

    # ---- changes

    def apply(self, changed: Changed) -> None:
        """Tell everybody what a committed verb has changed."""
        for run in changed.runs:
            if self.queues.tells(run):
                self._ring.publish("run", run)
            self._calm.saw(run)
            if run.state is RunState.RUNNING:
                self._windows.handed_out(run.task, run.agent)
        for task in changed.tasks:
            if task.mode != QUEUE:
                self._ring.publish("task", task, moved=task.id in changed.moved)
            self._follow(task)
            self._tell(task)
        self.queues.saw(changed)
        for agent in changed.wake:
            self.look(agent)

    def plan_changed(self, plan: Plan) -> None:
        """A plan was made, began a step, is being cancelled, goes on again or has ended. Not all of
        it is kept for readers: its scripts may be megabytes."""
        self._ring.publish("plan", plan_views.line(plan))

    def _tell_queue(self, task: Task, moved: bool) -> None:
        self._ring.publish("task", task, moved=moved)

    def _tell(self, task: Task) -> None:
        self._waiters.saw(task)
        for listener in self.listeners:
            listener(task)

    def _follow(self, task: Task) -> None:
        """The window of the task learns of its change, or of the wave that was released."""
        window = self._windows.get(task.id)
        if window is None or window.task.released == task.released:
            self._windows.saw(task)
            return
        window.task = task
        reading = self._storage.waiting_agents(task.id, WAITING_AT_ONCE)
        reading.then(partial(self._released, window))

    def _released(self, window: Window, agents: list[str] | BaseException) -> None:
        """What the reader found may be late: a wake is a hint, and only a look decides."""
        if isinstance(agents, BaseException):
            log.warning(f"the wave of task {window.task.id} starts with the next sweep: {agents}")
        elif self._windows.get(window.task.id) is window:
            for agent in agents:
                self._calm.disturb(agent)
            self._windows.open(window.task, agents)

    def read_all(self) -> None:
        """All that had arrived is read: there is time for what can wait."""
        self._windows.go_on()

    def grew(self, run: Run) -> None:
        """More of a run's output has arrived."""
        if self.queues.tells(run):
            self._ring.publish("output", run)

    def look_for_all(self) -> None:
        """Hand-outs go on after a hold: every parked agent may have something to start."""
        for parked in self.mailbox.all():
            self.look(parked.agent)

    def submit(self, new: NewTask, act: Act) -> Added:
        """Store a task and wake those of its agents that may start. Blocks the greenlet.

        The looks of a small task are queued right behind it, so that most often one commit has
        both; those of a large one are paced by its window.
        """
        outcome: AsyncResult[Added] = AsyncResult()

        def done(stored: Added | BaseException) -> None:
            if isinstance(stored, BaseException):
                outcome.set_exception(stored)
                return
            outcome.set(stored)  # first: it is stored, whatever becomes of the wakes
            if stored.created:
                self.opened(stored.task, to_wake(new, stored.task))

        self._storage.add_task(new, act).then(done)
        for agent in _first(new):
            self.look(agent)
        added: Added = outcome.get()
        return added

    def opened(self, task: Task, agents: list[str], queues: Sequence[QueueState] = ()) -> None:
        """A new task: wake those of its agents that may start now. `queues`: where its own is."""
        if task.mode == QUEUE:
            self.queues.opened(task, queues)
            self._tell(task)
            if any(queue.filling for queue in queues):
                self.filler.wake()
            return
        for agent in agents:
            self._calm.disturb(agent)
        self._ring.publish("task", task)
        self._tell(task)
        if task.waiting:
            self._windows.open(task, agents)

    # ---- what memory has missed

    def load(self) -> None:
        """Open the windows of all active tasks, at the start and in every sweep.

        Blocks the greenlet. Reading them anew mends whatever a lost wake left behind.
        """
        tasks = self._storage.active_tasks().wait()
        self.queues.load(tasks)
        for task in tasks:
            if task.mode == QUEUE or not task.waiting:
                continue  # were it to end meanwhile, nobody would close its window
            window = self._windows.get(task.id)
            if window is None or _starved(window):
                agents = self._storage.waiting_agents(task.id, WAITING_AT_ONCE).wait()
                self._windows.open(task, agents)


def _first(new: NewTask) -> list[str]:
    """Those that will most likely find a place in the new task, if it is a small one; the first
    wave is not known yet."""
    if new.rolling or len(new.targets) > FEW:
        return []
    waiting = [agent for agent, _ in new.targets if agent not in new.skip]
    return waiting[: new.parallel or None]


def _starved(window: Window) -> bool:
    """It has places and nobody left to ask, though runs wait."""
    return not window.line and window.has_place()


def _answer_empty(parked: Parked) -> None:
    parked.call.ok(Work(parked.poll.session))
