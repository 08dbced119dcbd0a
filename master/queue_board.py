"""Which queues is an agent offered when it polls, and which agents are woken for a queue?

An offer and a wake are hints, made of memory of one process: the transaction of the claim decides.
What is wrong here costs a look in vain, and is mended by the next sweep.

A queue that has something to give wakes, of the agents that may take from it and wait, those that
have waited longest; as many as there is room for, by what the store has said of its items, places
and tokens. Each look ends with the store's word where the queue stands then, so one that came to
nothing (the agent is gone, others were quicker) leaves its place to the next at once. Where the
store names a time (the next token, a further attempt), the queue wakes somebody then. Agents that
are idle, and queues that have nothing to give, cost nothing.
"""

import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from msgspec import Struct

from master.changes import QueueState
from master.queue_choice import choose
from master.queue_crowds import Crowds, Names, Waiting
from master.queue_line import Line, Turns, next_of
from master.queue_timers import Timers
from master.records import Run, Task
from wire.defaults import burst_of
from wire.states import ENDED_TASK, RunState

SPARE = 20  # queues of one level that are offered beside those whose turn it is
AT_ONCE = 64  # wakes under way: enough for the store never to wait for the next
BUNCH_S = 0.01  # a fast queue's tokens are given out together, so often

Level = tuple[str, ...]


class Offer(Struct, eq=False):
    """What an agent is offered: tasks in levels, see `Storage.poll`; `lines`: the turns that were
    given for it; `waiting`: the poll for which it is looked."""

    levels: tuple[Level, ...] = ()
    lines: list[Line] = []
    waiting: Waiting | None = None


class QueueBoard:
    """All queues that go on, and the agents that know of queues.

    `wake(agent)` begins a look for its parked poll, which calls `offer` and in the end `looked`;
    False: none is parked. `named(task)`: the agents that the task's expression means now.
    `is_online(agent)`. `clock`: the store's.
    """

    def __init__(
        self,
        wake: Callable[[str], bool],
        named: Callable[[Task], frozenset[str]],
        is_online: Callable[[str], bool],
        clock: Callable[[], float],
    ):
        self._wake = wake
        self._named = named
        self._is_online = is_online
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._turns = Turns()
        self._crowds = Crowds()
        self.timers = Timers()
        self._fired: dict[str, float] = {}  # when the time of a queue came last
        self._waking: dict[str, Waiting] = {}  # agents that were woken, until their look has ended
        self._touched: dict[str, Line] = {}  # that may have something to give since `go_on`
        self._is_waking = False

    def get(self, task: str) -> Line | None:
        return self._lines.get(task)

    # ---- agents

    def came(self, agent: str, names: Sequence[str] | None) -> None:
        """It registered. `names`: see Register.queues."""
        if names is None:
            self.went(agent)
            return
        self._crowds.came(agent, tuple(names), self._lines.values())
        for line in self._lines.values():
            most = line.state.agents_max
            if most and agent in line.named and len(line.chosen or ()) < most:
                self._choose(line)

    def went(self, agent: str) -> None:
        """It is no agent any more, or knows of no queues."""
        self._crowds.went(agent)

    def parks(self, agent: str, free: int) -> None:
        """Its poll waits from now on."""
        self._waking.pop(agent, None)
        self._crowds.parks(agent, free)

    def leaves(self, agent: str) -> None:
        """Its poll was answered."""
        self._waking.pop(agent, None)
        self._crowds.leaves(agent)

    def has_offer(self, agent: str) -> bool:
        """May there be something for it? Asked at every poll: it costs two look-ups."""
        crowd = self._crowds.of(agent)
        return crowd is not None and bool(crowd.ready)

    def offer(self, agent: str, free: int) -> Offer:
        """For the look that begins now. Each is to be followed by `looked`."""
        waiting = self._crowds.leaves(agent)
        if waiting is not None:
            self._waking[agent] = waiting
        crowd = self._crowds.of(agent)
        if crowd is None or not crowd.ready or free <= 0:
            return Offer(waiting=waiting)
        levels: list[Level] = []
        given: list[Line] = []
        vain = waiting.vain if waiting is not None else ()
        for level in crowd.levels():
            lines = [line for line in level if line.id not in vain]
            picked = self._pick(lines, agent, free - len(given))
            given += picked
            ids = [line.id for line in picked]
            if len(given) < free:
                # Others look for what is left of these. Should they not take it, it goes before
                # whatever comes after.
                ids += [line.id for line in lines if line.has_room_on(agent)][:SPARE]
            if ids:
                levels.append(tuple(ids))
            if len(given) == free:
                break
        return Offer(tuple(levels) if given else (), given, waiting)

    def looked(self, agent: str, offer: Offer, taken: Mapping[str, int]) -> None:
        """The look has ended, and the store's word of it is here. `taken`: runs by task."""
        left = Counter(taken)
        for line in offer.lines:
            self._touched[line.id] = line
            line.promised -= 1
            if left[line.id] > 0:
                left[line.id] -= 1
            else:
                self._turns.take_back(line)
        for task, more in left.items():
            for _ in range(more if task in self._lines else 0):
                self._turns.give(self._lines[task])
        waiting = offer.waiting
        if waiting is not None and self._waking.get(agent) is waiting:
            del self._waking[agent]
            waiting.vain |= {line.id for line in offer.lines if line.may_give} - taken.keys()
            self._crowds.waits_again(agent, waiting)
            crowd = self._crowds.of(agent)
            self._touched |= crowd.ready if crowd is not None else {}
        self.go_on()

    # ---- queues

    def saw_task(self, task: Task, state: QueueState | None = None) -> None:
        """A queue's task is new, or changed."""
        if task.state in ENDED_TASK:
            self._drop(task.id)
            return
        line = self._lines.get(task.id)
        if line is None:
            self._open(task, state or first_state(task))
            return
        moved = task.priority != line.task.priority
        line.task = task
        if moved:
            self._turns.join(line)
            line.is_ready = False  # it begins anew among others
        self._note(line)

    def saw_state(self, state: QueueState) -> None:
        """Where the store has a queue now."""
        line = self._lines.get(state.task)
        if line is None:
            return
        others = state.agents_max != line.state.agents_max
        line.state, line.is_due = state, False
        line.tokens = math.inf if state.room is None else state.room
        at = state.next_at
        if at is not None:
            at = max(at, self._fired.get(state.task, 0.0) + _bunch_s(line.task))
        self.timers.set(state.task, at)
        if others:
            self._choose(line)
        self._note(line)

    def saw_run(self, run: Run) -> None:
        line = self._lines.get(run.task)
        if line is None:
            return
        if run.state is RunState.RUNNING:
            line.holders.setdefault(run.agent, set()).add(run.id)
            return
        held = line.holders.get(run.agent)
        if held is not None:
            held.discard(run.id)
            if not held:
                del line.holders[run.agent]

    def come_due(self) -> None:
        """The times that queues had named have come."""
        now = self._clock()
        for task, at in self.timers.due(now):
            line = self._lines.get(task)
            if line is not None:
                self._fired[task] = now
                line.is_due = True
                rate = _rate(line.task)
                line.tokens = math.inf if rate is None else 1 + math.floor((now - at) * rate)
                self._note(line)
        self.go_on()

    def resolve(self, named: Mapping[str, frozenset[str]]) -> None:
        """What the expressions of tasks mean now."""
        for task, agents in named.items():
            line = self._lines.get(task)
            if line is not None and line.named != agents:
                line.named = agents
                self._choose(line, anew=True)
        self.go_on()

    def suspend(self, lines: Iterable[Line]) -> None:
        """Nobody may take from them until it is resolved anew who may."""
        for line in lines:
            line.named = frozenset()
            self._choose(line, anew=True)

    def load(
        self,
        read: Mapping[str, tuple[Task, QueueState]],
        newer: Container[str],
        holders: Mapping[str, Mapping[str, set[str]]],
        parked: Mapping[str, int],
    ) -> None:
        """What the store has, and the free slots of the polls that wait: whatever was missed is
        mended. `newer`: tasks that have changed since it was read."""
        for id in [id for id in self._lines if id not in read and id not in newer]:
            self._drop(id)
        for id, (task, state) in read.items():
            self.saw_task(task, state)
            line = self._lines.get(id)
            if line is not None:
                line.holders = {agent: set(runs) for agent, runs in holders.get(id, {}).items()}
                self.saw_state(state)
        for agent, free in parked.items():
            if agent not in self._waking:
                self._crowds.parks(agent, free)
        self._turns.keep(self._lines.values())
        for line in self._lines.values():
            if line.state.agents_max:
                self._choose(line)
            self._touched[line.id] = line
        self.go_on()

    def agents(self) -> list[str]:
        """All that know of queues."""
        return self._crowds.agents()

    def ids(self) -> Iterable[str]:
        return self._lines.keys()

    def lines(self) -> list[Line]:
        return list(self._lines.values())

    def serving(self, line: Line) -> list[str]:
        """Of the agents that are meant, those that know of the queue and serve it."""
        return [agent for agent in line.named if self._serves(agent, line)]

    # ---- waking

    def go_on(self) -> None:
        """Wake agents for the queues of which something has changed."""
        if self._is_waking:
            return
        self._is_waking = True
        try:
            while self._touched and len(self._waking) < AT_ONCE:
                _, line = self._touched.popitem()
                self._wake_for(line)
        finally:
            self._is_waking = False

    def _wake_for(self, line: Line) -> None:
        while line.room() > 0:
            agent = self._crowds.idle_for(line)
            if agent is None:
                return
            if len(self._waking) >= AT_ONCE:
                self._touched[line.id] = line
                return
            if not self._wake(agent):
                self.leaves(agent)
            self._crowds.leaves(agent)  # whatever came of it, it is not asked twice

    # ---- below

    def _pick(self, lines: Sequence[Line], agent: str, most: int) -> list[Line]:
        picked: list[Line] = []
        here: Counter[str] = Counter()
        while len(picked) < most:
            open_to = [
                line for line in lines if line.room() > 0 and line.has_room_on(agent, here[line.id])
            ]
            line = next_of(open_to)
            if line is None:
                break
            self._turns.give(line)
            line.promised += 1
            here[line.id] += 1
            picked.append(line)
        return picked

    def _open(self, task: Task, state: QueueState) -> None:
        line = self._lines[task.id] = Line(task, state)
        line.named = self._named(task)
        self._turns.join(line)
        self._choose(line, anew=True)
        self._note(line)

    def _drop(self, id: str) -> None:
        line = self._lines.pop(id, None)
        if line is not None:
            self._crowds.remove(line)
            self._touched.pop(id, None)
            self._fired.pop(id, None)
            self.timers.set(id, None)

    def _note(self, line: Line) -> None:
        begins = line.may_give and not line.is_ready
        line.is_ready = line.may_give
        if line.is_ready:
            self._touched[line.id] = line
        if begins:
            self._turns.begin(line, self._crowds.rivals(line))
        self._crowds.note_ready(line)

    def _choose(self, line: Line, *, anew: bool = False) -> None:
        """Who may take from the line, where only so many may; `anew`: the others changed too."""
        chosen = self._chosen(line) if line.state.agents_max else None
        if chosen == line.chosen and not anew:
            return
        self._crowds.remove(line)
        line.chosen = chosen
        self._crowds.add(line)
        self._touched[line.id] = line

    def _chosen(self, line: Line) -> frozenset[str]:
        return choose(
            line.id,
            line.state.agents_max,
            (agent for agent in self.serving(line) if self._is_online(agent)),
            chosen=line.chosen or frozenset(),
            holding=line.holders,
            chosen_for=self._chosen_for(line),
        )

    def _chosen_for(self, but: Line) -> Counter[str]:
        others = (line.chosen for line in self._lines.values() if line is not but)
        return Counter(agent for chosen in others for agent in chosen or ())

    def _serves(self, agent: str, line: Line) -> bool:
        names: Names | None = self._crowds.names_of(agent)
        return names is not None and (not names or line.state.name in names)


def first_state(task: Task) -> QueueState:
    """Of a task whose queue the store has not told of: it may have something to give."""
    settings = task.settings
    return QueueState(
        task=task.id,
        name=settings.get("queue", "default"),
        untaken=task.waiting,
        retrying=0,
        takable=task.waiting > 0,
        next_at=None,
        room=None if settings.get("rate") is None else _burst(task),
        per_agent=settings.get("per_agent", 0),
        agents_max=settings.get("agents_max", 0),
    )


def _rate(task: Task) -> float | None:
    """Runs a second."""
    rate: float | None = task.settings.get("rate")
    batch: int = task.settings.get("batch", 1)
    return None if rate is None else rate / batch


def _bunch_s(task: Task) -> float:
    """How long tokens may gather, so that a fast queue does not wake somebody for each: far less
    than the bucket holds."""
    rate = _rate(task)
    return 0.0 if rate is None else min(BUNCH_S, _burst(task) / rate / 4)


def _burst(task: Task) -> int:
    """Runs that the bucket holds."""
    batch: int = task.settings.get("batch", 1)
    burst: int = task.settings.get("burst") or burst_of(task.settings.get("rate"), batch)
    return max(1, burst // batch)
