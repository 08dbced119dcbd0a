"""Who waits for work, and whom to wake?

Agents poll and the poll parks here; it is answered the instant there is work. A
wake is a hint: it makes the master look again on behalf of a parked poll, and only
the transaction of that look decides. What is here is memory of one process: losing
it, or being wrong, costs a few seconds until the next sweep, never a promise.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from master.records import Task
from master.task import may_hand_out
from wire.messages import Poll
from wire.server import Call
from wire.states import ENDED_TASK

FEW = 64  # runs of a task that are woken for at once: a small task has a person waiting for it
AT_ONCE = 64  # wakes of crowds under way: enough for the store never to wait for the next
A_TURN = 8  # wakes of one crowd before the next one's turn
LONG_S = 0.05


class Parked(Struct, eq=False):
    """A poll that waits for an answer. The newest poll of an agent is its return address."""

    agent: str
    call: Call
    poll: Poll
    deadline: float  # monotonic seconds
    looking: bool = False  # a transaction looks on its behalf
    again: bool = False  # … and something changed meanwhile


class Mailbox:
    """The parked polls, at most one an agent."""

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}  # in the order of their deadlines
        self.on_left: Callable[[str], None] = lambda agent: None  # a poll waits no more

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, parked: Parked) -> Parked | None:
        """Keep this poll; an older one of the agent comes back, to be answered empty."""
        older = self._parked.pop(parked.agent, None)
        self._parked[parked.agent] = parked
        return older

    def get(self, agent: str) -> Parked | None:
        return self._parked.get(agent)

    def take(self, parked: Parked) -> bool:
        """Remove it to be answered; False when a newer poll is the return address."""
        if self._parked.get(parked.agent) is not parked:
            return False
        del self._parked[parked.agent]
        self.on_left(parked.agent)
        return True

    def overdue(self, now: float) -> list[Parked]:
        """Polls whose wait has ended, removed; one that is looked for is left until it was."""
        found = []
        for parked in self._parked.values():
            if parked.deadline > now:
                break
            if not parked.looking:
                found.append(parked)
        for parked in found:
            del self._parked[parked.agent]
            self.on_left(parked.agent)
        return found

    def all(self) -> list[Parked]:
        return list(self._parked.values())


class Window:
    """A task whose runs wait: which agents to wake when there is a place."""

    def __init__(self, task: Task, line: Iterable[str]):
        self.task = task
        self.line = deque(line)  # agents whose turn has not come, in the order of their runs
        self.asked = 0  # wakes whose look has not ended

    @property
    def is_crowd(self) -> bool:
        """So many runs that they wait here for their turn rather than before the store."""
        return self.task.total > FEW

    def has_place(self, more: int = 0) -> bool:
        """One run more than `more` and those asked for may start."""
        task = self.task
        if not may_hand_out(task):
            return False
        return task.parallel == 0 or task.running + self.asked + more < task.parallel


class Windows:
    """The windows of all tasks that have waiting runs, and the wakes under way.

    An agent that is not parked at its turn, or has no free slot, is passed over: the poll
    with which it comes back looks for itself. If that look finds no place, the agent stands
    in line again.

    The wakes of crowds are paced: as many as keep the store busy are under way, and new ones
    begin when nothing that has arrived is unread. So a crowd's queue is here, where it is in
    nobody's way, and not before the store, where whatever else is asked would wait behind it.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        look: Callable[[str], bool],
        is_free: Callable[[], bool] = lambda: True,
    ):
        """`look(agent)` starts a look for the agent's parked poll; False if none is parked.
        `is_free()`: nothing has arrived that is not read."""
        self._mailbox = mailbox
        self._look = look
        self._is_free = is_free
        self._turns: dict[str, Window] = {}  # crowds that may have a place to give, in turn
        self._under_way = 0  # wakes whose look has not ended, of all tasks
        self._went_on_at = time.monotonic()
        self._windows: dict[str, Window] = {}
        self._asked: dict[str, list[str]] = {}  # agent → the tasks it was woken for
        self._out: dict[str, set[str]] = {}  # agent → the tasks in whose line it is no more

    def get(self, task: str) -> Window | None:
        return self._windows.get(task)

    def is_out(self, agent: str) -> bool:
        """Was it passed over, so that its next poll has to look for itself?"""
        return agent in self._out

    def open(self, task: Task, line: Iterable[str]) -> None:
        """Begin, or begin again, to hand out; `line` are the agents of its runs, in order."""
        window = self._windows[task.id] = Window(task, line)
        for asked in self._asked.values():
            window.asked += asked.count(task.id)
        self._fill(window)

    def saw(self, task: Task) -> None:
        """The task's row changed: a place may be free, or the task over."""
        window = self._windows.get(task.id)
        if window is None:
            return
        window.task = task
        if task.waiting == 0 or task.state in ENDED_TASK:
            del self._windows[task.id]
        else:
            self._fill(window)

    def handed_out(self, task: str, agent: str) -> None:
        """The agent has its run of the task: it is not to be woken for that again."""
        self._in_again(agent, task)

    def looked(self, agent: str) -> None:
        """A look for the agent has ended: its wakes are answered, and a place may be left."""
        asked = self._asked.pop(agent, [])
        self._under_way -= len(asked)
        for task in asked:
            if (window := self._windows.get(task)) is not None:
                window.asked -= 1
        for task in list(self._out.get(agent, ())):
            self._line_up(agent, task)
        for task in asked:
            if (window := self._windows.get(task)) is not None:
                self._fill(window)
        self._go_on_if_free()

    def _line_up(self, agent: str, task: str) -> None:
        """The agent has looked in vain. If there was no place for it, one will be free later."""
        window = self._windows.get(task)
        if window is None:
            self._in_again(agent, task)
        elif not window.has_place():
            self._in_again(agent, task)
            window.line.append(agent)

    def _in_again(self, agent: str, task: str) -> None:
        out = self._out.get(agent)
        if out is not None:
            out.discard(task)
            if not out:
                del self._out[agent]

    def go_on(self) -> None:
        """Wake more of the crowds, each in its turn, up to as many as shall be under way."""
        self._went_on_at = time.monotonic()
        while self._turns and self._under_way < AT_ONCE:
            task, window = next(iter(self._turns.items()))
            del self._turns[task]
            if self._windows.get(task) is window:
                self._wake(window, min(A_TURN, AT_ONCE - self._under_way))
                if window.line and window.has_place():
                    self._turns[task] = window

    def _fill(self, window: Window) -> None:
        """Wake as many as there are places; of a crowd, as soon as it is its turn."""
        if not window.is_crowd:
            self._wake(window, len(window.line))
            return
        if window.line and window.has_place():
            self._turns[window.task.id] = window
            self._go_on_if_free()

    def _go_on_if_free(self) -> None:
        """However much arrives, crowds get on."""
        if self._turns and (self._is_free() or time.monotonic() - self._went_on_at > LONG_S):
            self.go_on()

    def _wake(self, window: Window, most: int) -> None:
        """At most so many; one that turns out to be away leaves its place to the next."""
        while most > 0 and (agents := self._next_agents(window, most)):
            for agent in agents:
                if self._look(agent):
                    self._asked.setdefault(agent, []).append(window.task.id)
                    self._under_way += 1
                    most -= 1
                else:
                    window.asked -= 1

    def _next_agents(self, window: Window, most: int) -> list[str]:
        """The agents to wake now, as many as there are places; they count as asked."""
        found: list[str] = []
        while window.line and len(found) < most and window.has_place(len(found)):
            agent = window.line.popleft()
            self._out.setdefault(agent, set()).add(window.task.id)
            parked = self._mailbox.get(agent)
            if parked is not None and parked.poll.free > 0:
                found.append(agent)
        window.asked += len(found)
        return found
