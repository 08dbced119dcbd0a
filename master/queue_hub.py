"""How do queues go on beside the messages? Their times come, the fleet changes, sweeps mend.

The decisions are those of master/queue_board.py; here are the greenlet, the store and the roster
that it needs.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gevent.event import Event as Signal
from msgspec.structs import replace

from master import queue_pace
from master.beside import beside
from master.changes import Changed, QueueState
from master.live import Live
from master.mailbox import Mailbox
from master.queue_board import Offer, QueueBoard
from master.queue_line import Line
from master.queue_news import QueueNews, Tell
from master.queue_rules import WITHIN
from master.records import Run, Task
from master.roster import Roster
from master.storage import Storage
from master.targets import Fleet
from master.task import QUEUE
from utils import getLogger
from wire.defaults import ALL_AGENTS
from wire.errors import InvalidValue
from wire.queues import QueueView
from wire.states import ENDED_TASK, AgentState, RunState
from wire.views import TaskView

log = getLogger(__name__)

LONGEST_S = 10.0  # between two rounds
RESOLVE_S = 0.2  # changes of the fleet are gathered so long, and …
RESOLVE_SHARE = 20  # … so many times as long as resolving took last


class QueueHub:
    """`look(agent)` begins a look for its parked poll; `tell` publishes a task."""

    def __init__(
        self,
        storage: Storage,
        roster: Roster,
        live: Live,
        mailbox: Mailbox,
        look: Callable[[str], bool],
        tell: Tell,
    ):
        self._storage = storage
        self._roster = roster
        self._live = live
        self._mailbox = mailbox
        self._board = QueueBoard(look, self._named, self._is_online, live.now)
        self._news = QueueNews(tell, live.now)
        self._signal = Signal()
        self._until = 0.0  # on the master's clock: when the greenlet comes again by itself
        self._fleet_changed = False
        self._resolve_at = 0.0  # monotonic
        self._changes: defaultdict[str, int] = defaultdict(int)  # by task, to tell what is newer
        roster.listeners.append(self._saw_fleet)
        mailbox.on_left = self._board.leaves

    # ---- polls

    def came(self, agent: str) -> None:
        """An agent has registered."""
        presence = self._roster.get(agent)
        self._board.came(agent, None if presence is None else presence.queues)

    def parks(self, agent: str, free: int) -> bool:
        """Its poll waits. Is there something to look for?"""
        self._board.parks(agent, free)
        return free > 0 and self._board.has_offer(agent)

    def offer(self, agent: str, free: int) -> Offer:
        return self._board.offer(agent, free)

    def looked(self, agent: str, offer: Offer, changed: Changed) -> None:
        """The look has ended, and `saw` was told of what it changed."""
        taken: dict[str, int] = {}
        for run in changed.runs:
            if run.state is RunState.RUNNING and self._board.get(run.task) is not None:
                taken[run.task] = taken.get(run.task, 0) + 1
        self._board.looked(agent, offer, taken)
        self._hurry()

    # ---- changes

    def tells(self, run: Run) -> bool:
        """Is a change of this run told to readers by itself?"""
        return self._board.get(run.task) is None or self._news.tells(run)

    def saw(self, changed: Changed) -> None:
        """A verb is committed. Wakes whom it gives something to do."""
        for task in changed.tasks:
            if task.mode == QUEUE:
                self._saw_task(task, moved=task.id in changed.moved)
        for run in changed.runs:
            self._board.saw_run(run)
        for state in changed.queues:
            self._changes[state.task] += 1
            self._board.saw_state(state)
        if changed.queues or changed.tasks:
            self._board.go_on()
            self._hurry()

    def opened(self, task: Task, states: Sequence[QueueState] = ()) -> None:
        """A new queue; `states`: where it is, if that is not at its beginning."""
        self.saw(Changed(tasks=(task,), queues=tuple(states)))

    def _saw_task(self, task: Task, *, moved: bool) -> None:
        self._changes[task.id] += 1
        self._board.saw_task(task)
        line = self._board.get(task.id)
        if line is not None:
            line.pace.saw(queue_pace.ended_of(task), self._live.now())
        self._news.saw(task, moved=moved)
        if task.state in ENDED_TASK:
            self._news.forget(task.id)
            self._changes.pop(task.id, None)

    # ---- beside the messages

    def run(self) -> None:
        """Never returns. A store that fails for a while does not end it."""
        while True:
            self._signal.clear()
            try:
                self._round()
            except Exception:
                log.exception("queues go on with the next round")
            pause_s = self._pause_s()
            self._until = self._live.now() + pause_s
            self._signal.wait(pause_s)

    def catch_up(self) -> None:
        """Tell readers what has waited for its moment."""
        self._news.catch_up()

    def load(self, tasks: Iterable[Task]) -> None:
        """Compare memory with the store. Blocks the greenlet. `tasks`: all that have not ended,
        as they were just read. What has changed meanwhile is newer than what was read."""
        before = dict(self._changes)
        queues = {task.id: task for task in tasks if task.mode == QUEUE}
        if not queues and not before:
            return
        states = {state.task: state for state in self._storage.queue_states().wait()}
        holders = self._storage.queue_holders().wait()
        read = {
            id: (task, states[id])
            for id, task in queues.items()
            if id in states and self._changes.get(id, 0) == before.get(id, 0)
        }
        newer = {id for id, n in self._changes.items() if n != before.get(id, 0)}
        for agent in self._board.agents():
            presence = self._roster.get(agent)
            if presence is None or presence.queues is None:
                self._board.went(agent)
        parked = {parked.agent: parked.poll.free for parked in self._mailbox.all()}
        self._board.load(read, newer, holders, parked)
        self._changes = defaultdict(int, {id: self._changes[id] for id in self._board.ids()})
        self._hurry()

    def _round(self) -> None:
        if self._fleet_changed and time.monotonic() >= self._resolve_at:
            self._fleet_changed = False
            self._resolve()
        self._board.come_due()

    def _pause_s(self) -> float:
        pauses = [LONGEST_S]
        if (first := self._board.timers.first()) is not None:
            pauses.append(first - self._live.now())
        if self._fleet_changed:
            pauses.append(self._resolve_at - time.monotonic())
        return max(0.0, min(pauses))

    def _hurry(self) -> None:
        """There may be a time now that comes before the one that is waited for."""
        first = self._board.timers.first()
        if first is not None and first < self._until:
            self._signal.set()

    def _saw_fleet(self) -> None:
        """Expressions may mean others now. Until it is known which, a queue that must not go
        beyond somebody's limit goes to nobody."""
        self._board.suspend(line for line in self._board.lines() if WITHIN in line.task.settings)
        if not self._fleet_changed:
            self._fleet_changed = True
            self._resolve_at = max(self._resolve_at, time.monotonic() + RESOLVE_S)
            self._signal.set()

    def _resolve(self) -> None:
        lines = self._board.lines()
        if not lines:
            return
        began = time.monotonic()
        fleet, settings = self._roster.fleet(), {line.id: line.task.settings for line in lines}
        found = beside(lambda: all_named(fleet, settings))
        if self._fleet_changed:  # meanwhile: where a limit holds, this may be too many by now
            found = {id: agents for id, agents in found.items() if WITHIN not in settings[id]}
        self._board.resolve(found)
        took_s = time.monotonic() - began
        self._resolve_at = time.monotonic() + max(RESOLVE_S, RESOLVE_SHARE * took_s)

    def _named(self, task: Task) -> frozenset[str]:
        return named(self._roster.fleet(), task.settings)

    def _is_online(self, agent: str) -> bool:
        return self._live.state(agent) is AgentState.ONLINE

    # ---- for people

    def acts_on(self, task: Task) -> frozenset[str]:
        """The agents that may take from the queue now, and those that have some of it."""
        line = self._board.get(task.id)
        return self.meant_by(task) | (frozenset(line.holders) if line is not None else frozenset())

    def meant_by(self, task: Task) -> frozenset[str]:
        """The agents that the expression of a queue means now, also of one that has ended."""
        return self._named(task)

    def paced(self, view: TaskView) -> TaskView:
        """A row of a list with the pace of its queue; of a fan-out it is as it was."""
        line = self._board.get(view.id)
        if line is None or view.queue is None:
            return view
        return replace(view, queue=self._paced(line, line.task, view.queue))

    def _paced(self, line: Line, task: Task, view: QueueView) -> QueueView:
        per_second = line.pace.per_second(queue_pace.ended_of(task), self._live.now())
        left_s = queue_pace.left_s(task, per_second)
        return replace(view, per_second=round(per_second, 3), left_s=left_s)

    def completed(self, task: Task, view: QueueView) -> QueueView:
        """With what only the running master knows of a queue."""
        line = self._board.get(task.id)
        if line is None:
            return view
        now, serving = self._live.now(), self._board.serving(line)
        online = [one for one in serving if one in line.may_take and self._is_online(one)]
        return replace(
            self._paced(line, task, view),
            agents=len(online),
            waits_for=queue_pace.waits_for(
                task,
                line.state,
                now=now,
                held=self._live.held.reason if self._live.held else None,
                named=len(line.named),
                serving=len(serving),
                online=len(online),
            ),
        )


# ---- what an expression means


def all_named(fleet: Fleet, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """{task: agents}; what several tasks say is looked up once."""
    known: dict[str, frozenset[str]] = {}
    found = {}
    for task, one in settings.items():
        said = f"{one.get('targets')!r} {one.get(WITHIN)!r}"
        if said not in known:
            known[said] = named(fleet, one)
        found[task] = known[said]
    return found


def named(fleet: Fleet, settings: Mapping[str, Any]) -> frozenset[str]:
    """The agents that the settings of a queue mean now.

    Hosts that are not there any more are passed over. `within`: the hosts to which the person who
    submitted it was limited then; one that cannot be read lets nobody through.
    """
    targets = settings.get("targets", ALL_AGENTS)
    if isinstance(targets, str):
        meant = _resolved(fleet.forgiving(), targets)
    else:
        meant = frozenset(targets) & fleet.by_id.keys()
    within = settings.get(WITHIN)
    return meant if within is None else meant & _resolved(fleet, within)


def _resolved(fleet: Fleet, expression: str) -> frozenset[str]:
    try:
        return fleet.meant(expression)
    except InvalidValue as error:
        log.debug(f"{expression!r} means no host now: {error}")
        return frozenset()
