"""Which polls need no look into the store? Those of agents for whom nothing can have changed.

Most polls of a fleet are of idle agents that come back after their wait, or of agents whose
only run has just ended. All that could concern them since the last look has passed through
this hub, which is told here. Memory of one process: forgetting costs a look.
"""

from collections.abc import Iterable

from msgspec import Struct

from master.books import is_open
from master.records import Run
from wire.messages import Grant, Poll
from wire.states import ENDED_RUN, RunState, Stage


class Last(Struct, eq=False):
    """What the last look found: nothing waits for the agent, and only these runs were open."""

    instance: str
    hw: int  # what the agent's journal has once it took them
    granted: frozenset[str]
    open: set[str]  # those whose end is not in the store yet


class Calm:
    """The agents for whom the last look found nothing more to do."""

    def __init__(self) -> None:
        self._last: dict[str, Last] = {}

    def looked(self, agent: str, poll: Poll, grants: Iterable[Grant]) -> None:
        """A look of which nothing is left: the agent is idle but for what it was granted."""
        runs = frozenset(grant.run for grant in grants)
        hw = max((grant.grant for grant in grants), default=poll.hw)
        self._last[agent] = Last(poll.instance, hw, runs, set(runs))

    def saw(self, run: Run) -> None:
        """A run changed. Its hand-out and its end are what was to come; else look again."""
        last = self._last.get(run.agent)
        if last is None:
            return
        if run.id in last.open and run.state in ENDED_RUN and not is_open(run):
            last.open.discard(run.id)
        elif run.id not in last.open or run.state is not RunState.RUNNING or run.want is not None:
            del self._last[run.agent]

    def disturb(self, agent: str) -> None:
        """There may be something to do for the agent."""
        self._last.pop(agent, None)

    def covers(self, agent: str, poll: Poll) -> bool:
        """Would a look for this poll find nothing to do and nothing to tell?

        What is held has ended, and is the only thing open: no run is missing, none is alive.
        """
        last = self._last.get(agent)
        if last is None or (last.instance, last.hw) != (poll.instance, poll.hw) or not poll.free:
            return False
        held = {one.run for one in poll.held if one.stage is Stage.ENDED}
        return len(held) == len(poll.held) and last.open <= held <= last.granted
