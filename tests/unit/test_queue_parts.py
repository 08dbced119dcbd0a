"""The small rooms of queues: times, pace, words for people, choices, expressions that are old."""

from typing import Any

import pytest

from master.changes import QueueState
from master.queue_choice import choose
from master.queue_news import RUNS_A_SECOND, QueueNews
from master.queue_pace import Pace, left_s, waits_for
from master.queue_timers import Timers
from master.records import Task
from master.targets import Fleet, Host
from tests.factories import make_run, make_task
from wire.errors import InvalidValue
from wire.states import TaskState

# ---- times


def test_a_time_is_told_once_and_the_earliest_first() -> None:
    timers = Timers()
    timers.set("a", 5.0)
    timers.set("b", 3.0)
    assert timers.first() == 3.0
    assert timers.due(4.0) == [("b", 3.0)]
    assert timers.due(9.0) == [("a", 5.0)]
    assert timers.first() is None


def test_a_time_that_is_set_anew_replaces_the_one_before() -> None:
    timers = Timers()
    timers.set("a", 5.0)
    timers.set("a", 8.0)
    assert timers.due(6.0) == []
    timers.set("a", None)
    assert timers.due(9.0) == []
    assert timers.first() is None


# ---- pace


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    for second in range(100):
        pace.saw(second * 5 if second < 50 else 250 + (second - 50) * 2, float(second))
    assert pace.per_second(250 + 49 * 2, 99.0) == pytest.approx(2.0, rel=0.1)


def test_a_queue_that_stands_slows_down_to_nothing() -> None:
    pace = Pace()
    for second in range(10):
        pace.saw(second * 10, float(second))
    assert pace.per_second(90, 9.0) == pytest.approx(10.0)
    pace.saw(90, 100.0)
    assert pace.per_second(90, 100.0) == 0.0


def test_nobody_knows_when_an_open_queue_or_one_that_stands_will_end() -> None:
    task = make_task(total=100, succeed=40)
    assert left_s(task, 6.0) == 10.0
    assert left_s(task, 0.0) is None
    assert left_s(make_task(total=100, succeed=40, open=True), 6.0) is None
    assert left_s(make_task(total=3, succeed=3), 6.0) == 0.0


def state(**fields: Any) -> QueueState:
    given: dict[str, Any] = {
        "task": "t1", "name": "scans", "untaken": 5, "retrying": 0, "takable": True,
        "next_at": None, "room": None, "per_agent": 0, "agents_max": 0,
    }  # fmt: skip
    return QueueState(**(given | fields))


@pytest.mark.parametrize(
    ("task", "facts", "said"),
    [
        (make_task(), {}, ""),
        (make_task(state=TaskState.PAUSED), {}, "paused"),
        (make_task(), {"held": "an older store"}, "hand-outs are held: an older store"),
        (make_task(total=0, open=True), {}, "more items"),
        (make_task(), {"named": 0}, "none is meant"),
        (make_task(), {"serving": 0}, "agents that serve the queue scans"),
        (make_task(), {"online": 0}, "none that may take is online"),
        (make_task(total=3, running=2, parallel=2), {}, "one of its 2 places"),
        (make_task(), {"state": state(takable=False, next_at=110.0)}, "its rate"),
        (
            make_task(),
            {"state": state(takable=False, untaken=0, retrying=1, next_at=110.0)},
            "the next attempt, in 10 s",
        ),
        (make_task(state=TaskState.CANCELLED), {"online": 0}, ""),
    ],
)
def test_it_says_why_nothing_is_handed_out(task: Task, facts: dict[str, Any], said: str) -> None:
    given = {"state": state(), "held": None, "named": 3, "serving": 2, "online": 1} | facts
    where = given.pop("state")
    words = waits_for(task, where, now=100.0, **given)
    assert said in words
    assert bool(said) == bool(words)


# ---- agents_max


def test_whoever_was_chosen_or_holds_items_stays() -> None:
    found = choose("t", 2, ["a", "b", "c"], chosen=frozenset("ac"), holding=["b"], chosen_for={})
    assert "b" in found
    assert len(found & set("ac")) == 1


def test_more_than_so_many_are_kept_only_while_they_hold_items() -> None:
    found = choose("t", 1, ["a"], chosen=frozenset(), holding=["x", "y"], chosen_for={})
    assert found == frozenset("xy")


def test_the_rest_are_those_that_are_chosen_least() -> None:
    chosen_for = {"a": 3, "b": 1, "c": 2}
    found = choose("t", 2, ["a", "b", "c"], chosen=frozenset(), holding=[], chosen_for=chosen_for)
    assert found == frozenset("bc")


# ---- what readers hear


class Told:
    def __init__(self) -> None:
        self.now = 100.0
        self.tasks: list[tuple[int, bool]] = []
        self.news = QueueNews(
            lambda task, moved: self.tasks.append((task.succeed, moved)), lambda: self.now
        )


def test_of_a_slow_queue_each_run_is_told_and_its_task_at_once() -> None:
    told = Told()
    for number in range(5):
        told.now += 1.0
        assert told.news.tells(make_run())
        told.news.saw(make_task(total=9, succeed=number + 1), moved=False)
    assert told.tasks == [(number + 1, False) for number in range(5)]


def test_of_a_fast_one_the_task_is_told_now_and_then_with_the_word_that_runs_moved() -> None:
    told = Told()
    runs = 0
    for number in range(1000):
        told.now += 0.001
        runs += told.news.tells(make_run())
        told.news.saw(make_task(total=2000, succeed=number + 1), moved=False)
        told.news.catch_up()
    assert runs <= 2 * RUNS_A_SECOND
    assert 2 <= len(told.tasks) <= 4
    assert told.tasks[-1][1]


def test_what_was_held_back_is_told_in_a_moment() -> None:
    told = Told()
    for number in (1, 2, 3):
        told.news.saw(make_task(total=9, succeed=number), moved=False)
    assert told.tasks == [(1, False)]
    told.now += 0.6
    told.news.catch_up()
    assert told.tasks == [(1, False), (3, False)]


def test_another_state_is_told_at_once() -> None:
    told = Told()
    told.news.saw(make_task(total=9, succeed=1), moved=False)
    told.news.saw(make_task(total=9, succeed=9, state=TaskState.SUCCEED), moved=True)
    assert told.tasks == [(1, False), (9, True)]


# ---- expressions that were sound once


def test_an_old_expression_passes_over_what_is_gone() -> None:
    hosts = [
        Host("1", "web01", {}),
        Host("2", "web02", {}),
        Host("3", "twin", {}),
        Host("4", "twin", {}),
    ]
    fleet = Fleet(hosts, {"shop": "web01,gone"})
    for expression in ("web[01-03]", "web01,web02,@nowhere", "web01,web02,twin", "@shop,web02"):
        with pytest.raises(InvalidValue):
            fleet.meant(expression)
        assert fleet.forgiving().meant(expression) == {"1", "2"}
