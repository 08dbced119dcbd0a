"""The agent's session when two things fall into one moment, which no test from outside can time."""

import time

import gevent
import pytest

from agent.cm import ConnectionManager, Troubles
from agent.identity import Host, Identity
from agent.msg import Message, Snapshot
from tests.support import until
from wire.errors import Unavailable
from wire.keys import make_keys
from wire.messages import HeartbeatAnswer, Registered

HEARTBEAT_S = 0.5


class Master:
    """Takes whoever registers, parks every poll, and answers no result."""

    def __init__(self):
        self.registered = 0

    def send(self, type, payload, reply):
        if type == "register":
            self.registered += 1
            return Registered(f"session-{self.registered}", HEARTBEAT_S, 30.0, "0", 1)
        if type == "result":
            raise Unavailable("no answer")
        return HeartbeatAnswer(HEARTBEAT_S, 0.0)

    def call(self, method, payload, reply, limit_s):
        gevent.event.Event().wait()


class NoRuns:
    """Holds none, and has room for four."""

    busy = 0
    short_of_room = False

    def snapshot(self):
        return Snapshot(0, 4, ())


@pytest.fixture
def master():
    return Master()


@pytest.fixture
def runs():
    return NoRuns()


@pytest.fixture
def connection(master, runs):
    identity = Identity("a" * 32, make_keys())
    made = ConnectionManager(
        client=master,
        message=Message(identity, Host("m", "b"), "journal", "web01", 4),
        runs=runs,
        token=None,
        troubles=Troubles(),
        on_registered=lambda: None,
        on_lost=lambda error: None,
    )
    yield made
    made.stop()


def lose_a_result(connection):
    with pytest.raises(Unavailable):
        connection.send("result", lambda session: None, dict)


def test_it_registers_again_when_the_session_is_lost_while_a_heartbeat_falls_due(
    connection, master
):
    connection.start()
    until(lambda: master.registered, sleep=gevent.sleep)
    # Both timers are over when the hub looks at them, the one that loses the session first.
    gevent.spawn_later(HEARTBEAT_S / 2, lose_a_result, connection)
    gevent.sleep(0)
    time.sleep(HEARTBEAT_S * 1.5)
    until(lambda: master.registered > 1, sleep=gevent.sleep)
