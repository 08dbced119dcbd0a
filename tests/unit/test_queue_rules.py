"""What is refused of a queue's submission, and of a fan-out that speaks of queues?"""

from typing import Any

import pytest

from master.submission import check, check_changes
from tests.factories import make_task
from wire.defaults import burst_of, limits_of
from wire.errors import InvalidValue, Refusal, TooLarge
from wire.queues import MAX_ITEM_BYTES
from wire.requests import ItemsFrom, Submission, TaskChanges


def make(**fields: Any) -> Submission:
    return Submission(**({"script": "echo $1\n", "mode": "queue", "items": ["a"]} | fields))


def test_it_fills_in_what_a_queue_leaves_open() -> None:
    plan = check(make())
    assert (plan.parallel, plan.expires_in, plan.lost_after) == (0, 30 * 86_400.0, 60.0)
    assert plan.submission.targets == "@*"


def test_it_fills_in_what_a_fan_out_leaves_open() -> None:
    plan = check(Submission(script="true", targets="web1"))
    assert (plan.parallel, plan.expires_in, plan.lost_after) == (1, 86_400.0, 900.0)


def test_it_keeps_what_a_queue_says() -> None:
    plan = check(make(parallel=4, expires_in=60.0, lost_after=5.0, targets="@zone:office"))
    assert (plan.parallel, plan.expires_in, plan.lost_after) == (4, 60.0, 5.0)
    assert plan.submission.targets == "@zone:office"


def test_it_keeps_json_values_as_compact_text() -> None:
    plan = check(make(items=["10.0.0.1", {"host": "a", "ports": [1, 2]}, 7, None, True]))
    assert plan.submission.items == [
        "10.0.0.1",
        '{"host":"a","ports":[1,2]}',
        "7",
        "null",
        "true",
    ]


def test_it_takes_an_open_queue_without_items_and_one_of_another_tasks_output() -> None:
    assert check(make(items=[], open=True)).submission.open
    source = ItemsFrom("t" * 32, ("FAILED",), "output")
    assert check(make(items=[], items_from=source)).submission.items_from == source


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"mode": "fanout"}, "mode", "fan_out or queue"),
        ({"items": []}, "items", "open true"),
        ({"items": ["ok", ""]}, "items", "items[1] is empty"),
        ({"items": ["a\0b"]}, "items", "NUL"),
        ({"items": ["\ud800"]}, "items", "surrogate"),
        ({"items": ["a\nb"], "batch": 2}, "items", "line break"),
        ({"items_from": ItemsFrom("t")}, "items_from", "both"),
        ({"items": [], "items_from": ItemsFrom("t", split="words")}, "items_from.split", "words"),
        ({"items": [], "items_from": ItemsFrom("t", ())}, "items_from.states", "SUCCEED"),
        ({"items": [], "items_from": ItemsFrom("t", ("WAITING",))}, "items_from.states", "WAITING"),
        ({"queue": ""}, "queue", "1 to 63"),
        ({"queue": "a b"}, "queue", "a b"),
        ({"batch": 0}, "batch", "from 1 to"),
        ({"batch": 1001}, "batch", "1000"),
        ({"rate": 0.0}, "rate", "items a second"),
        ({"rate": float("nan")}, "rate", "nan"),
        ({"rate": float("inf")}, "rate", "inf"),
        ({"burst": 5}, "burst", "no rate"),
        ({"rate": 5.0, "burst": 0}, "burst", "number of items"),
        ({"rate": 5.0, "burst": 5, "batch": 10}, "burst", "batch of 10"),
        ({"per_agent": -1}, "per_agent", "no limit"),
        ({"agents_max": -1}, "agents_max", "all that may"),
        ({"max_attempts": 0}, "max_attempts", "1 to 100"),
        ({"retry_pause": -1.0}, "retry_pause", "seconds"),
        ({"retry_codes": [0]}, "retry_codes", "1 to 255"),
        ({"retry_codes": [256]}, "retry_codes", "256"),
        ({"parallel": "10%"}, "parallel", "number of runs"),
        ({"parallel": -1}, "parallel", "-1"),
        ({"rolling": "1 10%"}, "rolling", "queue cannot"),
        ({"between_waves": "ask"}, "between_waves", "queue cannot"),
        ({"wave_pause": 5.0}, "wave_pause", "queue cannot"),
        ({"offline": "skip"}, "offline", "queue cannot"),
    ],
)
def test_it_refuses_what_makes_no_sense(fields: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(make(**fields))
    assert refused.value.field == field
    assert said in str(refused.value)


def test_it_refuses_an_item_that_is_too_large_and_takes_the_largest() -> None:
    check(make(items=["x" * MAX_ITEM_BYTES]))
    with pytest.raises(TooLarge, match=r"items\[1\] has 65537 bytes"):
        check(make(items=["x", "ä" * (MAX_ITEM_BYTES // 2) + "x"]))


@pytest.mark.parametrize(
    "fields",
    [
        {"items": ["a"]},
        {"items_from": ItemsFrom("t")},
        {"open": True},
        {"queue": "scans"},
        {"batch": 10},
        {"rate": 1.0},
        {"per_agent": 1},
        {"agents_max": 1},
        {"max_attempts": 1},
        {"retry_pause": 5.0},
        {"retry_codes": [1]},
    ],
)
def test_it_refuses_of_a_fan_out_what_only_a_queue_has(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="the task is no queue"):
        check(Submission(script="true", targets="web1", **fields))


def queue_task(**settings: Any) -> Any:
    plain = {"mode": "queue", "rate": None, "burst": None, "batch": 1}
    return make_task(mode="queue", settings=plain | settings)


def test_it_changes_the_settings_of_a_queue() -> None:
    changes = TaskChanges(rate=50.0, burst=5, per_agent=2, agents_max=3, max_attempts=1)
    given, _ = check_changes(queue_task(), changes)
    assert given == {
        "rate": 50.0,
        "burst": 5,
        "per_agent": 2,
        "agents_max": 3,
        "max_attempts": 1,
    }


def test_it_takes_a_rate_away_with_its_burst() -> None:
    given, _ = check_changes(queue_task(rate=5.0, burst=10), TaskChanges(rate=None))
    assert given == {"rate": None}


def test_it_refuses_a_change_that_contradicts_what_stays() -> None:
    with pytest.raises(InvalidValue, match="batch of 10"):
        check_changes(queue_task(rate=5.0, batch=10), TaskChanges(burst=5))
    with pytest.raises(InvalidValue, match="there is no rate"):
        check_changes(queue_task(), TaskChanges(burst=5))


def test_it_refuses_changes_that_the_mode_does_not_have() -> None:
    with pytest.raises(InvalidValue, match="rate: the task is no queue"):
        check_changes(make_task(), TaskChanges(rate=1.0))
    with pytest.raises(InvalidValue, match="number of runs"):
        check_changes(queue_task(), TaskChanges(parallel="10%"))
    with pytest.raises(InvalidValue, match="queue cannot have"):
        check_changes(queue_task(), TaskChanges(rolling="1"))


@pytest.mark.parametrize(
    ("rate", "batch", "burst"),
    [(None, 1, 1), (0.5, 1, 1), (50.0, 1, 13), (1000.0, 1, 250), (1.0, 20, 20)],
)
def test_a_burst_is_a_quarter_of_a_second_and_holds_a_batch(
    rate: float | None, batch: int, burst: int
) -> None:
    assert burst_of(rate, batch) == burst


def test_zero_is_kept_as_what_it_is() -> None:
    assert limits_of(Submission(parallel=0)).parallel == 0
