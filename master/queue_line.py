"""What does the hub remember of a queue, and whose turn is it to be taken from?

Submitters of one priority take turns, and so do the tasks of each: who has had the fewest is next.
Who comes anew, or had nothing to give for a while, begins level with those who want the same
agents. So nobody saves up turns, and nobody who comes late has to be caught up with.

What is offered to an agent is counted at once, before the store has said what was taken, so that
agents who look at the same time are not all sent to the same task. What was not taken is given
back.
"""

import math
from collections.abc import Iterable

from master.changes import QueueState
from master.queue_pace import Pace
from master.records import Task
from master.task import may_hand_out


class Submitter:
    """Whoever has tasks of one priority. `number`: who came first goes first among those that had
    as many turns."""

    def __init__(self, number: int):
        self.number = number
        self.turns = 0


class Line:
    """A queue that goes on. `named`: the agents that its expression means now; `chosen`: those of
    them that may take, where `agents_max` bounds that."""

    def __init__(self, task: Task, state: QueueState):
        self.task = task
        self.state = state
        self.named: frozenset[str] = frozenset()
        self.chosen: frozenset[str] | None = None
        self.holders: dict[str, set[str]] = {}  # agent → its runs that are alive
        self.promised = 0  # runs that agents look for just now
        self.is_due = False  # the time has come that the state names
        self.tokens = math.inf  # runs that the rate has room for, at most
        self.submitter = Submitter(0)
        self.turns = 0
        self.is_ready = False  # it may give something, and takes its turns
        self.pace = Pace()

    @property
    def may_take(self) -> frozenset[str]:
        """The agents that may, whether they are there or not."""
        return self.named if self.chosen is None else self.chosen

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def may_give(self) -> bool:
        """May anything of it be taken now, as far as is known here?"""
        return may_hand_out(self.task) and (self.state.takable or self.is_due)

    def room(self) -> float:
        """Runs that may be taken now besides those that agents look for already."""
        if not self.may_give:
            return 0
        room = min(self.state.untaken + self.state.retrying, self.tokens)
        if self.task.parallel:
            room = min(room, self.task.parallel - self.task.running)
        return room - self.promised

    def has_room_on(self, agent: str, more: int = 0) -> bool:
        """May the agent have one more of it, beside `more` that it is about to get?"""
        most = self.state.per_agent
        return most == 0 or len(self.holders.get(agent, ())) + more < most


class Turns:
    """The submitters, by priority and name."""

    def __init__(self) -> None:
        self._submitters: dict[tuple[int, str], Submitter] = {}
        self._came = 0

    def join(self, line: Line) -> None:
        """The line takes its turns among those of its priority from now on."""
        key = line.task.priority, line.task.created_by
        if key not in self._submitters:
            self._came += 1
            self._submitters[key] = Submitter(self._came)
        line.submitter, line.turns = self._submitters[key], 0

    def begin(self, line: Line, others: Iterable[Line]) -> None:
        """The line has something to give again; `others`: that do, and are for the same agents."""
        peers = [one for one in others if one.task.priority == line.task.priority]
        own = [one.turns for one in peers if one.submitter is line.submitter]
        if own:
            line.turns = max(line.turns, min(own))
        elif peers:
            least = min(one.submitter.turns for one in peers)
            line.submitter.turns = max(line.submitter.turns, least)

    def keep(self, lines: Iterable[Line]) -> None:
        """Forget submitters that have no line any more."""
        used = {(line.task.priority, line.task.created_by) for line in lines}
        self._submitters = {key: one for key, one in self._submitters.items() if key in used}

    def give(self, line: Line) -> None:
        """The line has its turn."""
        line.submitter.turns += 1
        line.turns += 1

    def take_back(self, line: Line) -> None:
        """It was not used."""
        line.submitter.turns -= 1
        line.turns -= 1


def next_of(lines: Iterable[Line]) -> Line | None:
    """The one whose turn it is; all are of one priority. None: there are none."""
    return min(lines, key=_place, default=None)


def _place(line: Line) -> tuple[int, int, int, int]:
    submitter = line.submitter
    return submitter.turns, submitter.number, line.turns, line.task.seq
