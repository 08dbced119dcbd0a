"""Which hosts answer a ping, and how is each of them asked?"""

import time
from typing import Any

import gevent
import pytest

from master.dispatch import POLL_S
from master.live import Live
from master.mailbox import Mailbox, Parked
from master.ping import BUNCH, RIPE_S, Pinger
from master.rights import Person
from master.roster import Roster
from tests.unit.test_roster import make_agent
from wire.errors import InvalidValue
from wire.messages import Heartbeat, Poll
from wire.ping import Ping, PingView
from wire.requests import Auth
from wire.states import Standing

OTTO = Person("otto", "operator")
LONG_AGO_S = 10.0


class Dispatcher:
    """Parked polls; notes whose were ended, and has those answer that do."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.dropped: list[str] = []
        self.answers: dict[str, float] = {}  # seconds, by agent
        self.pinger: Pinger

    def park(self, agent: str, since_s: float = LONG_AGO_S, answers: float | None = 0.0) -> Parked:
        poll = Poll(session="s", instance="i", hw=0, free=1)
        deadline = time.monotonic() - since_s + POLL_S
        parked = Parked(agent=agent, call=None, poll=poll, deadline=deadline)  # type: ignore[arg-type]
        self.mailbox.park(parked)
        if answers is not None:
            self.answers[agent] = answers
        return parked

    def drop(self, agent: str) -> None:
        parked = self.mailbox.get(agent)
        assert parked is not None and self.mailbox.take(parked)
        self.dropped.append(agent)
        if agent in self.answers:
            gevent.spawn_later(self.answers[agent], self.pinger.heard, agent)


class House:
    def __init__(self) -> None:
        self.now = 1000.0
        self.roster = Roster(5.0)
        self.dispatcher = Dispatcher()
        live = Live(self.roster, lambda: self.now)
        self.pinger = Pinger(self.roster, self.dispatcher, live)  # type: ignore[arg-type]
        self.dispatcher.pinger = self.pinger

    def enrol(self, *ids: str, **fields: Any) -> None:
        for id in ids:
            self.roster.registered(make_agent(id, **fields), self.now)

    def ping(self, timeout: float = 20.0) -> PingView:
        return self.pinger.ping_agents(OTTO, Ping(Auth(), timeout))


@pytest.fixture
def house() -> House:
    return House()


def who_answered(found: PingView) -> list[str]:
    return sorted(pong.agent for pong in found.agents if pong.ms is not None)


def test_it_asks_each_host_once_and_tells_who_answered(house: House) -> None:
    house.enrol("a", "b")
    for agent in ("a", "b"):
        house.dispatcher.park(agent)
    found = house.ping()
    assert sorted(house.dispatcher.dropped) == ["a", "b"]
    assert (found.asked, found.answered, who_answered(found)) == (2, 2, ["a", "b"])


def test_without_hosts_it_is_over_at_once(house: House) -> None:
    found = house.ping()
    assert (found.asked, found.answered, found.agents) == (0, 0, [])


def test_it_tells_who_did_not_answer_in_time_and_puts_them_first(house: House) -> None:
    house.enrol("a", "b2", "b10", "c")
    house.dispatcher.park("a", answers=0.0)
    house.dispatcher.park("b10", answers=None)
    house.dispatcher.park("b2", answers=None)
    house.dispatcher.park("c", answers=0.05)
    found = house.ping(timeout=0.3)
    assert [pong.agent for pong in found.agents] == ["b2", "b10", "c", "a"]
    assert [pong.ms is None for pong in found.agents] == [True, True, False, False]
    assert (found.asked, found.answered) == (4, 2)


def test_a_host_that_is_offline_is_neither_asked_nor_waited_for(house: House) -> None:
    house.enrol("gone")
    house.dispatcher.park("gone")
    house.now += 1000.0
    house.enrol("here")
    house.dispatcher.park("here")
    found = house.ping()
    assert house.dispatcher.dropped == ["here"]
    assert who_answered(found) == ["here"]
    assert [pong.state for pong in found.agents] == ["offline", "online"]


def test_only_hosts_that_are_enrolled_are_asked(house: House) -> None:
    house.enrol("a")
    house.enrol("p", standing=Standing.PENDING)
    house.enrol("q", standing=Standing.QUARANTINED)
    house.dispatcher.park("a")
    assert [pong.agent for pong in house.ping().agents] == ["a"]


def test_whatever_a_host_says_next_answers_if_no_poll_of_it_is_parked(house: House) -> None:
    house.enrol("busy")
    gevent.spawn_later(0.02, house.pinger.heard, "busy")
    assert who_answered(house.ping()) == ["busy"]
    assert house.dispatcher.dropped == []


def test_what_it_said_before_is_no_answer(house: House) -> None:
    house.enrol("a")
    house.pinger.heard("a")
    assert who_answered(house.ping(timeout=0.05)) == []


def test_a_poll_that_was_just_parked_is_ended_a_moment_later(house: House) -> None:
    house.enrol("a")
    house.dispatcher.park("a", since_s=RIPE_S - 0.2)
    found = house.ping()
    assert house.dispatcher.dropped == ["a"]
    (pong,) = found.agents
    assert pong.ms is not None and pong.ms / 1000 < found.seconds


def test_a_poll_that_is_looked_for_is_left_until_it_was(house: House) -> None:
    house.enrol("a")
    parked = house.dispatcher.park("a")
    parked.looking = True
    pinging = gevent.spawn(house.ping)
    gevent.sleep(0.01)
    assert house.dispatcher.dropped == []
    parked.looking = False
    assert who_answered(pinging.get(timeout=60)) == ["a"]


def test_who_asks_meanwhile_gets_the_same_answer(house: House) -> None:
    house.enrol("a")
    house.dispatcher.park("a", answers=0.1)
    pings = [gevent.spawn(house.ping) for _ in range(3)]
    found = [ping.get(timeout=60) for ping in pings]
    assert house.dispatcher.dropped == ["a"]
    assert found[1:] == found[:1] * 2


def test_the_next_ping_asks_anew(house: House) -> None:
    house.enrol("a")
    for _ in range(2):
        house.dispatcher.park("a")
        assert house.ping().answered == 1
    assert house.dispatcher.dropped == ["a", "a"]


def test_many_are_asked_in_bunches_between_which_others_have_their_turn(house: House) -> None:
    agents = [f"a{number}" for number in range(BUNCH * 3)]
    house.enrol(*agents)
    for agent in agents:
        house.dispatcher.park(agent)
    pinging = gevent.spawn(house.ping)
    while not house.dispatcher.dropped:
        gevent.sleep(0)
    assert len(house.dispatcher.dropped) == BUNCH
    assert pinging.get(timeout=60).answered == len(agents)


def test_a_host_that_was_deleted_meanwhile_is_shown_as_it_was(house: House) -> None:
    house.enrol("a")
    house.dispatcher.park("a", answers=None)
    pinging = gevent.spawn(house.ping, 0.1)
    while not house.dispatcher.dropped:
        gevent.sleep(0)
    house.roster.forget("a")
    assert [pong.hostname for pong in pinging.get(timeout=60).agents] == ["host-a"]


def test_it_tells_the_version_and_the_clock_of_a_host(house: House) -> None:
    house.enrol("a", version="1.2")
    presence = house.roster.get("a")
    assert presence is not None
    house.roster.beat(Heartbeat("s", "a", "host-a", [], 0, 1002.5), presence, 1000.0)
    house.dispatcher.park("a")
    (pong,) = house.ping().agents
    assert (pong.version, pong.skew_s, pong.hostname) == ("1.2", 2.5, "host-a")


@pytest.mark.parametrize("timeout", [0.0, -1.0, 30.1, float("nan"), float("inf")])
def test_it_says_which_time_limit_it_takes(house: House, timeout: float) -> None:
    with pytest.raises(InvalidValue, match="it takes more than 0 and up to 30 seconds"):
        house.ping(timeout)
