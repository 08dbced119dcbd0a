"""Which hosts answer now, and how fast? Asked by ending their parked polls, and timed.

An agent whose poll is answered empty, as at the end of its wait, sends the next one at once: from
the one to the other is the way to the host and back, through its agent. So a ping needs nothing
of the protocol, and an agent of any version answers it. An agent that has no poll parked speaks
just now, and its next message answers. One whose poll was only just parked is asked a moment
later, since an agent holds back a poll that says what the last one said a moment ago.

Hosts are asked in bunches, so that what else the hub has to do goes on between them, and one ping
at a time: who asks meanwhile gets the answer of the one that is under way.
"""

import time
from collections.abc import Callable, Iterable

import gevent
from gevent.event import AsyncResult
from msgspec import Struct

from master.beside import beside
from master.dispatch import POLL_S, Dispatcher
from master.live import Live
from master.rights import Person
from master.roster import Presence, Roster
from master.targets import natural
from wire.errors import InvalidValue
from wire.ping import MAX_TIMEOUT_S, Ping, PingView, PongView
from wire.states import AgentState, Standing

BUNCH = 64  # hosts asked at once …
BETWEEN_BUNCHES_S = 0.015  # … so that 10,000 take less than three seconds
RIPE_S = 1.1  # how long a poll must have been parked to be answered at once by the next
LOOK_S = 0.05  # between looks at those that could not be asked yet


class Round(Struct):
    """One ping. All times are monotonic."""

    asked_at: dict[str, float]  # since when an answer counts
    left: set[str]  # those that are waited for; of hosts that are offline nobody waits
    answered_in: dict[str, float]  # seconds, by agent

    def heard(self, agent: str, now: float) -> None:
        if agent in self.asked_at and agent not in self.answered_in:
            self.answered_in[agent] = now - self.asked_at[agent]
            self.left.discard(agent)


class Pinger:
    """Asks all hosts. `heard` must be called with each message of an agent."""

    def __init__(
        self,
        roster: Roster,
        dispatcher: Dispatcher,
        live: Live,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._roster = roster
        self._dispatcher = dispatcher
        self._live = live
        self._now = monotonic
        self._round: Round | None = None
        self._under_way: AsyncResult[PingView] | None = None

    def ping_agents(self, person: Person, asked: Ping) -> PingView:
        """Blocks the greenlet until all have answered, or their time is over."""
        if not 0 < asked.timeout <= MAX_TIMEOUT_S:
            raise InvalidValue(
                f"timeout is {asked.timeout:g}; it takes more than 0 and up to "
                f"{MAX_TIMEOUT_S:g} seconds",
                field="timeout",
            )
        if self._under_way is None:
            self._under_way = AsyncResult()
            gevent.spawn(self._run, asked.timeout).link(self._under_way)
        found: PingView = self._under_way.get()
        return found

    def heard(self, agent: str) -> None:
        """An agent has spoken. Costs nothing while there is no ping."""
        asking = self._round
        if asking is not None:
            asking.heard(agent, self._now())

    def _run(self, timeout_s: float) -> PingView:
        try:
            return self._ping(timeout_s)
        finally:
            self._round = self._under_way = None

    def _ping(self, timeout_s: float) -> PingView:
        began_at = self._now()
        hosts = [host for host in self._roster.all() if host.standing is Standing.ENROLLED]
        there = {h.id for h in hosts if self._live.state(h.id) is not AgentState.OFFLINE}
        asking = Round(dict.fromkeys((host.id for host in hosts), began_at), there, {})
        self._round = asking
        unripe = self._ask_all(asking)
        until = self._now() + timeout_s
        while asking.left and self._now() < until:
            gevent.sleep(min(LOOK_S, until - self._now()))
            unripe = [agent for agent in unripe if not self._ask(asking, agent)]
        took_s = self._now() - began_at
        return beside(lambda: self._view(hosts, asking, took_s))

    def _ask_all(self, asking: Round) -> list[str]:
        """Ask in bunches; comes back with those that could not be asked."""
        agents = list(asking.left)
        left: list[str] = []
        for start in range(0, len(agents), BUNCH):
            if start:
                gevent.sleep(BETWEEN_BUNCHES_S)
            bunch = agents[start : start + BUNCH]
            left += [agent for agent in bunch if not self._ask(asking, agent)]
        return left

    def _ask(self, asking: Round, agent: str) -> bool:
        """Answer its poll, so that it sends another; False if it has none that is ripe."""
        if agent not in asking.left:
            return True
        parked = self._dispatcher.mailbox.get(agent)
        now = self._now()
        if parked is None or parked.looking or parked.deadline - POLL_S > now - RIPE_S:
            return False
        asking.asked_at[agent] = now
        self._dispatcher.drop(agent)
        return True

    def _view(self, hosts: Iterable[Presence], asking: Round, seconds: float) -> PingView:
        """As the hosts are now; those that were deleted meanwhile are shown as they were."""
        pongs = [self._pong(host, asking.answered_in.get(host.id)) for host in hosts]
        pongs.sort(key=lambda pong: (pong.ms is not None, -(pong.ms or 0), natural(pong.hostname)))
        return PingView(len(pongs), len(asking.answered_in), round(seconds, 3), pongs)

    def _pong(self, host: Presence, answered_in_s: float | None) -> PongView:
        now = self._roster.get(host.id) or host
        return PongView(
            agent=now.id,
            hostname=now.hostname,
            state=self._live.state(now.id),
            ms=None if answered_in_s is None else round(answered_in_s * 1000, 1),
            version=now.version,
            skew_s=now.skew_s,
        )
