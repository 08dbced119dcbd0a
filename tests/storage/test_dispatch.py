"""What memory and readers of events are told, whatever is committed in one moment."""

import gevent
import pytest

from master.desk import Desk
from master.dispatch import Dispatcher
from master.events import Ring
from master.live import Live
from master.rights import Person
from master.roster import Roster
from master.secrets import Vault
from master.waiters import Waiters
from tests.storage.cast import by, make_result
from tests.support import until
from wire.requests import Auth, ById

ALICE = Person("alice", "operator")


class Hub:
    """The rooms of a master that speak of what was committed."""

    def __init__(self, house):
        roster, waiters = Roster(5.0), Waiters()
        live = Live(roster, house.clock)
        self.ring = Ring(live.event)
        self.dispatcher = Dispatcher(house.store, roster, self.ring, waiters, live)
        self.desk = Desk(
            house.store, roster, self.dispatcher, self.ring, waiters, live, Vault(bytes(32))
        )


@pytest.fixture
def hub(house):
    return Hub(house)


def test_a_task_that_ends_while_a_sweep_reads_leaves_no_window_behind(house, hub, monkeypatch):
    (web01,) = house.enrol("web01")
    task = house.submit([web01])
    run = house.run_one(web01)
    waiting_agents = house.store.waiting_agents

    def end_first(*asked):
        hub.dispatcher.apply(house.finish(run).changed)
        return waiting_agents(*asked)

    monkeypatch.setattr(house.store, "waiting_agents", end_first)
    hub.dispatcher.load()
    assert hub.dispatcher._windows.get(task.id) is None


def test_the_last_that_readers_hear_of_a_task_is_the_last_that_was_committed(house, hub):
    (web01,) = house.enrol("web01")
    task = house.submit([web01])
    run = house.run_one(web01)
    start = hub.ring.since(None).next
    # Given a cancel that is committed, and behind it the end, before the hub has a turn
    cancelling = gevent.spawn(hub.desk.cancel_task, ALICE, ById(Auth(), task.id), by())
    gevent.sleep(0)
    committed = house.store._database._hand_back._calls
    until(lambda: len(committed) == 1)
    ended = house.store.finish(web01, make_result(run))
    ended.then(lambda finished: hub.dispatcher.apply(finished.changed))
    until(lambda: len(committed) == 2)
    # When it has one
    cancelling.get(timeout=60)
    # Then
    told = [event.data["state"] for event in hub.ring.since(start).events if event.kind == "task"]
    assert told[-1] == "SUCCEED"
