"""What memory keeps of tasks while the store is read."""

from master.dispatch import Dispatcher
from master.events import Ring
from master.live import Live
from master.roster import Roster
from master.waiters import Waiters


def test_a_task_that_ends_while_a_sweep_reads_leaves_no_window_behind(house, monkeypatch):
    roster = Roster(5.0)
    live = Live(roster, house.clock)
    dispatcher = Dispatcher(house.store, roster, Ring(live.event), Waiters(), live)
    (web01,) = house.enrol("web01")
    task = house.submit([web01])
    run = house.run_one(web01)
    waiting_agents = house.store.waiting_agents

    def end_first(*asked):
        dispatcher.apply(house.finish(run).changed)
        return waiting_agents(*asked)

    monkeypatch.setattr(house.store, "waiting_agents", end_first)
    dispatcher.load()
    assert dispatcher._windows.get(task.id) is None
