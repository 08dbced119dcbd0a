"""Who is offered what, and who is woken for it, over a store in memory and a clock by hand?"""

from collections import Counter

import pytest

from tests.unit.queue_shop import Shop
from wire.states import Stop, TaskState


def agents(number: int, slots: int = 1) -> dict[str, int]:
    return {f"a{place}": slots for place in range(number)}


def all_poll(shop: Shop) -> None:
    for agent in list(shop.free):
        shop.poll(agent)


def taken_by_task(shop: Shop) -> Counter[str]:
    return Counter(task for _, task, _ in shop.taken)


def taken_by_agent(shop: Shop) -> Counter[str]:
    return Counter(agent for _, _, agent in shop.taken)


# ---- who is woken


def test_new_items_wake_as_many_as_there_are() -> None:
    shop = Shop(agents(10))
    all_poll(shop)
    shop.submit("t", 3)
    assert len(shop.looks) == 3
    shop.settle()
    assert len(shop.taken) == 3
    assert shop.vain == 0


def test_agents_that_come_later_find_the_items_themselves() -> None:
    shop = Shop(agents(2))
    shop.submit("t", 5)
    assert not shop.looks
    shop.poll("a1")
    shop.settle()
    assert taken_by_agent(shop) == {"a1": 1}


def test_it_leaves_agents_alone_that_know_of_no_queues() -> None:
    shop = Shop(agents(1))
    shop.board.came("a0", None)
    shop.submit("t", 5)
    shop.poll("a0")
    assert not shop.looks
    assert not shop.board.has_offer("a0")


def test_nothing_is_offered_while_there_is_nothing_to_give() -> None:
    shop = Shop(agents(1))
    shop.submit("t", 0)
    shop.poll("a0")
    assert not shop.board.has_offer("a0")
    assert not shop.looks


def test_a_woken_agent_that_is_gone_leaves_its_place_to_the_next() -> None:
    shop = Shop(agents(5))
    all_poll(shop)
    for agent in ("a0", "a1", "a2"):
        shop.vanish(agent)
    shop.submit("t", 1)
    shop.settle()
    assert taken_by_agent(shop) == {"a3": 1}


def test_it_wakes_no_more_at_once_than_keep_the_store_busy() -> None:
    shop = Shop(agents(1000))
    all_poll(shop)
    shop.submit("t", 1000)
    assert 0 < len(shop.looks) <= 64
    shop.settle()
    assert taken_by_agent(shop) == {f"a{place}": 1 for place in range(1000)}


def test_a_freed_place_wakes_the_next() -> None:
    shop = Shop(agents(3))
    all_poll(shop)
    shop.submit("t", 10, parallel=1)
    shop.settle()
    assert len(shop.live) == 1
    for done in range(1, 10):
        shop.finish_all()
        shop.settle()
        assert (len(shop.taken), len(shop.live)) == (done + 1, 1)


def test_per_agent_bounds_what_one_agent_has() -> None:
    shop = Shop(agents(3, slots=8))
    all_poll(shop)
    shop.submit("t", 100, settings={"per_agent": 2})
    shop.settle()
    assert taken_by_agent(shop) == {"a0": 2, "a1": 2, "a2": 2}
    shop.finish(next(iter(shop.live.values())))
    shop.settle()
    assert len(shop.taken) == 7


def test_a_poll_that_is_replaced_while_it_is_looked_for_is_looked_for_again() -> None:
    shop = Shop(agents(2))
    shop.poll("a0")
    shop.submit("t", 1)
    shop.poll("a0")  # newer, before the first look was committed
    shop.settle()
    assert len(shop.taken) == 1
    shop.submit("u", 1)
    shop.finish_all()
    shop.settle()
    assert taken_by_task(shop) == {"t": 1, "u": 1}


def test_one_that_was_asked_in_vain_is_asked_for_other_queues_meanwhile() -> None:
    shop = Shop(agents(1))
    shop.poll("a0")
    shop.submit("t", 5)
    agent, offer = shop.looks.pop()
    shop.board.looked(agent, offer, {})  # for a reason that is not known here
    assert not shop.looks
    shop.submit("u", 1)
    shop.settle()
    assert taken_by_task(shop)["u"] == 1


def test_pause_and_resume() -> None:
    shop = Shop(agents(2))
    shop.submit("t", 5, state=TaskState.PAUSED)
    all_poll(shop)
    assert not shop.looks
    shop.change("t", state=TaskState.RUNNING)
    shop.settle()
    assert len(shop.taken) == 2


def test_a_stopped_task_is_offered_to_nobody() -> None:
    shop = Shop(agents(1))
    shop.submit("t", 5)
    shop.change("t", stop=Stop.CANCEL)
    shop.poll("a0")
    assert not shop.looks


# ---- rates


@pytest.mark.parametrize("rate", [1.0, 50.0, 1000.0])
def test_a_rate_is_exact_over_a_minute(rate: float) -> None:
    shop = Shop(agents(20))
    all_poll(shop)
    shop.submit("t", 1_000_000, settings={"rate": rate, "burst": max(1, int(rate / 20))})
    shop.pass_time(10.0 if rate > 100 else 60.0)
    lasted = 10.0 if rate > 100 else 60.0
    wanted = rate * lasted
    assert wanted * 0.99 <= len(shop.taken) <= wanted * 1.01 + max(1, int(rate / 20))


def test_a_rate_holds_while_agents_come_and_go() -> None:
    shop = Shop(agents(20))
    all_poll(shop)
    shop.submit("t", 1_000_000, settings={"rate": 50.0})
    for second in range(60):
        leaving, coming = f"a{second % 20}", f"a{(second + 10) % 20}"
        shop.vanish(leaving)
        shop.offline.discard(coming)
        shop.poll(coming)
        shop.pass_time(1.0)
    assert 3000 * 0.98 <= len(shop.taken) <= 3000 * 1.02


def test_tokens_go_to_all_agents_alike() -> None:
    shop = Shop(agents(20))
    all_poll(shop)
    shop.submit("t", 1_000_000, settings={"rate": 50.0, "burst": 1})
    shop.pass_time(20.0)
    counts = taken_by_agent(shop).values()
    assert len(counts) == 20
    assert max(counts) - min(counts) <= 5


def test_a_slow_rate_wakes_one_agent_a_token_and_nobody_between() -> None:
    shop = Shop(agents(100))
    all_poll(shop)
    shop.submit("t", 1000, settings={"rate": 1.0, "burst": 1})
    shop.pass_time(30.0)
    assert 30 <= len(shop.taken) <= 31
    assert shop.vain <= 2


def test_other_queues_go_on_while_one_waits_for_its_rate() -> None:
    shop = Shop(agents(1))
    shop.submit("slow", 1000, priority=5, settings={"rate": 1.0, "burst": 1})
    shop.submit("fast", 100_000)
    shop.poll("a0")
    shop.pass_time(5.0)
    counts = taken_by_task(shop)
    assert 4 <= counts["slow"] <= 6
    assert counts["fast"] > 100


# ---- turns


def test_ten_tasks_of_one_priority_end_together() -> None:
    shop = Shop(agents(7, slots=3))
    for number in range(10):
        shop.submit(f"t{number}", 200)
    all_poll(shop)
    shop.pass_time(1000.0)
    last = [max(at for at, task, _ in shop.taken if task == f"t{n}") for n in range(10)]
    begin = shop.taken[0][0]
    assert len(shop.taken) == 2000
    assert min(last) - begin >= (max(last) - begin) * 0.9


def test_a_small_task_beside_a_huge_one_starts_with_the_next_free_place() -> None:
    shop = Shop(agents(4))
    shop.submit("huge", 1_000_000)
    all_poll(shop)
    for _ in range(200):
        shop.settle()
        shop.finish_all()
    shop.settle()
    shop.submit("small", 10)
    at = len(shop.taken)
    for _ in range(8):
        shop.finish_all()
        shop.settle()
    assert taken_by_task(shop)["small"] == 10
    assert "small" in [task for _, task, _ in shop.taken[at : at + 3]]


def test_submitters_take_turns_however_many_tasks_each_has() -> None:
    shop = Shop(agents(1))
    for number in range(9):
        shop.submit(f"t{number}", 1000, created_by="alice")
    shop.submit("b", 1000, created_by="bob")
    shop.poll("a0")
    for _ in range(400):
        shop.settle()
        shop.finish_all()
    counts = taken_by_task(shop)
    assert 199 <= counts["b"] <= 201
    assert {counts[f"t{number}"] for number in range(9)} <= {21, 22, 23}


def test_who_had_nothing_to_give_has_saved_up_no_turns() -> None:
    shop = Shop(agents(1))
    shop.submit("a", 10_000, created_by="alice")
    shop.submit("b", 0, created_by="bob")
    shop.poll("a0")
    for _ in range(100):
        shop.settle()
        shop.finish_all()
    shop.settle()
    shop.shelves["b"].left = 1000
    shop._told("b")
    at = len(shop.taken)
    for _ in range(20):
        shop.finish_all()
        shop.settle()
    counts = Counter(task for _, task, _ in shop.taken[at:])
    assert abs(counts["a"] - counts["b"]) <= 2


def test_nothing_of_lower_priority_is_taken_while_higher_can_be() -> None:
    shop = Shop(agents(5, slots=2))
    shop.submit("low", 1000, priority=0)
    shop.submit("high", 100, priority=1)
    all_poll(shop)
    while taken_by_task(shop)["high"] < 100:
        shop.settle()
        if shop.shelves["high"].left:
            assert taken_by_task(shop)["low"] == 0
        shop.finish_all()
    shop.settle()
    assert taken_by_task(shop)["low"] > 0


def test_a_change_of_priority_counts_at_once() -> None:
    shop = Shop(agents(1))
    shop.submit("a", 1000, priority=1)
    shop.submit("b", 1000)
    shop.poll("a0")
    shop.settle()
    shop.change("b", priority=2)
    shop.finish_all()
    shop.settle()
    assert [task for _, task, _ in shop.taken] == ["a", "b"]


# ---- who may


def test_an_agent_takes_only_from_queues_that_it_serves_in_its_own_order() -> None:
    shop = Shop(agents(2), {"a0": ["scans", "backups"], "a1": ["other"]})
    shop.submit("b", 2, priority=9, settings={"queue": "backups"})
    shop.submit("s", 2, settings={"queue": "scans"})
    shop.submit("d", 2, settings={"queue": "default"})
    all_poll(shop)
    for _ in range(8):
        shop.settle()
        shop.finish_all()
    assert [task for _, task, _ in shop.taken] == ["s", "s", "b", "b"]
    assert taken_by_agent(shop) == {"a0": 4}


def test_only_hosts_that_the_expression_means_take() -> None:
    shop = Shop(agents(4))
    shop.meant["t"] = frozenset({"a1", "a2"})
    all_poll(shop)
    shop.submit("t", 100)
    shop.settle()
    assert taken_by_agent(shop) == {"a1": 1, "a2": 1}


def test_hosts_that_it_means_from_now_on_are_woken_and_others_take_no_more() -> None:
    shop = Shop(agents(4))
    shop.meant["t"] = frozenset({"a0"})
    all_poll(shop)
    shop.submit("t", 100)
    shop.settle()
    shop.board.resolve({"t": frozenset({"a3"})})
    shop.settle()
    shop.finish_all()
    shop.settle()
    assert taken_by_agent(shop) == {"a0": 1, "a3": 2}


def test_a_queue_with_the_same_hosts_as_another_makes_no_crowd_of_its_own() -> None:
    shop = Shop(agents(50))
    for number in range(20):
        shop.meant[f"t{number}"] = frozenset(f"a{place}" for place in range(25 * (number % 2), 50))
        shop.submit(f"t{number}", 1)
    assert len(shop.board._crowds._by_key) == 2


def test_crowds_that_are_alike_again_become_one() -> None:
    shop = Shop(agents(50))
    shop.submit("all", 1000)
    shop.meant["some"] = frozenset({"a1", "a2"})
    shop.submit("some", 1)
    assert len(shop.board._crowds._by_key) == 2
    all_poll(shop)
    shop.change("some", state=TaskState.SUCCEED, waiting=0)
    assert len(shop.board._crowds._by_key) == 1
    shop.settle()
    assert len(taken_by_agent(shop)) == 50


# ---- agents_max


def test_no_more_agents_than_agents_max_work_on_it() -> None:
    shop = Shop(agents(10, slots=2))
    all_poll(shop)
    shop.submit("t", 100, settings={"agents_max": 3})
    for _ in range(6):
        shop.settle()
        shop.finish_all()
    assert len(taken_by_agent(shop)) == 3


def test_many_queues_with_few_agents_each_spread_over_all() -> None:
    shop = Shop(agents(10))
    for number in range(5):
        shop.submit(f"t{number}", 100, settings={"agents_max": 2})
    all_poll(shop)
    shop.settle()
    assert len(taken_by_agent(shop)) == 10


def sweep(shop: Shop) -> None:
    """What the hub does every few seconds."""
    read = {id: (one.task, one.state(shop.now)) for id, one in shop.shelves.items()}
    holders: dict[str, dict[str, set[str]]] = {}
    for run in shop.live.values():
        holders.setdefault(run.task, {}).setdefault(run.agent, set()).add(run.id)
    parked = {agent: shop.free[agent] for agent in shop.parked}
    shop.board.load(read, set(), holders, parked)


def test_one_that_goes_offline_is_replaced_when_it_holds_nothing_any_more() -> None:
    shop = Shop(agents(3))
    all_poll(shop)
    shop.submit("t", 100, settings={"agents_max": 1})
    shop.settle()
    (first,) = taken_by_agent(shop)
    shop.vanish(first)
    sweep(shop)
    shop.settle()
    assert len(shop.taken) == 1  # it may still be at work
    held = next(iter(shop.live.values()))
    shop.finish(held)  # or its lease has lapsed
    sweep(shop)
    shop.settle()
    assert len(taken_by_agent(shop)) == 2


def test_one_that_leaves_the_expression_is_replaced() -> None:
    shop = Shop(agents(3))
    all_poll(shop)
    shop.submit("t", 100, settings={"agents_max": 1})
    shop.settle()
    (first,) = taken_by_agent(shop)
    shop.finish_all()
    shop.settle()
    others = frozenset(shop.free) - {first}
    shop.board.resolve({"t": others})
    shop.finish_all()
    shop.board.resolve({"t": others - {"nobody"}})
    sweep(shop)
    shop.settle()
    assert set(taken_by_agent(shop)) - {first}


# ---- what was missed


def test_a_sweep_mends_what_was_lost() -> None:
    shop = Shop(agents(3))
    all_poll(shop)
    shop.submit("t", 0)
    shop.shelves["t"].left = 3  # and nobody was told
    sweep(shop)
    shop.settle()
    assert len(shop.taken) == 3


def test_a_sweep_drops_queues_that_have_ended_and_finds_new_ones() -> None:
    shop = Shop(agents(1))
    shop.submit("t", 3)
    shop.submit("u", 3)
    shop.board._drop("u")
    del shop.shelves["t"]
    sweep(shop)
    assert list(shop.board.ids()) == ["u"]
    shop.poll("a0")
    shop.settle()
    assert taken_by_task(shop) == {"u": 1}


def test_what_has_changed_since_a_sweep_began_to_read_is_kept() -> None:
    shop = Shop(agents(1))
    shop.submit("t", 3)
    shop.board.load({}, {"t"}, {}, {})
    assert list(shop.board.ids()) == ["t"]
