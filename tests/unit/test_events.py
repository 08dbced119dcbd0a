"""The numbered ring of changes."""

from typing import Any

from master.events import MOST_RUNS, Ring
from master.plan_views import line
from tests.factories import make_plan, make_run
from tests.unit.test_mailbox import make_task


def make_ring(kept: int = 100) -> Ring:
    def view(record: Any) -> dict[str, Any]:
        return {"id": record.id, "waiting": record.waiting}

    return Ring(view, kept)


def test_it_gives_what_came_after_the_cursor() -> None:
    ring = make_ring()
    start = ring.since(None).next
    ring.publish("task", make_task(id="t1"))
    first = ring.since(start)
    assert [event.data["id"] for event in first.events] == ["t1"]
    ring.publish("task", make_task(id="t2"))
    assert [event.data["id"] for event in ring.since(first.next).events] == ["t2"]
    assert [event.data["id"] for event in ring.since(start).events] == ["t1", "t2"]


def test_it_gives_only_the_newest_change_of_a_task() -> None:
    ring = make_ring()
    start = ring.since(None).next
    for waiting in (3, 2, 1):
        ring.publish("task", make_task(waiting=waiting))
    (event,) = ring.since(start).events
    assert event.data["waiting"] == 1
    assert event.id == ring.since(start).next


def test_a_reader_of_another_start_or_too_late_is_told_to_look_afresh() -> None:
    ring = make_ring(kept=2)
    start = ring.since(None).next
    for n in range(3):
        ring.publish("task", make_task(id=f"t{n}"))
    assert ring.since(start).reset
    assert ring.since("another-1").reset
    assert ring.since("nonsense").reset
    assert ring.since(ring.start + "-99").reset
    assert not ring.since(ring.since(start).next).reset


def test_a_wait_ends_when_something_is_published() -> None:
    ring = make_ring()
    assert not ring.wait(0.0)
    ring.publish("task", make_task())
    assert ring.since(ring.start + "-0").events


def test_it_says_that_many_runs_moved_even_when_a_newer_change_of_the_task_follows() -> None:
    ring = make_ring()
    start = ring.since(None).next
    ring.publish("task", make_task(id="t1"), moved=True)
    ring.publish("task", make_task(id="t1"))
    ring.publish("task", make_task(id="t2"))
    assert [event.moved for event in ring.since(start).events] == [True, False]


def test_it_tells_of_very_many_runs_of_a_task_only_that_they_moved() -> None:
    ring = Ring(lambda record: {"id": record.id}, kept=10 * MOST_RUNS)
    start = ring.since(None).next
    for n in range(MOST_RUNS + 1):
        ring.publish("run", make_run(id=f"r{n}", task="t1"))
        ring.publish("task", make_task(id="t1", waiting=n))
    ring.publish("run", make_run(id="few", task="t2"))
    told = ring.since(start)
    assert [(event.kind, event.data["id"], event.moved) for event in told.events] == [
        ("task", "t1", True),
        ("run", "few", False),
    ]
    assert not ring.since(told.next).events


def test_it_tells_of_plans_which_are_of_no_task() -> None:
    ring = Ring(lambda record: {"id": record.id}, kept=10 * MOST_RUNS)
    start = ring.since(None).next
    for _ in range(2):
        for n in range(MOST_RUNS + 1):
            ring.publish("plan", line(make_plan(id=f"p{n}")))
    told = ring.since(start).events
    assert {(event.kind, event.task, event.moved) for event in told} == {("plan", "", False)}
    assert [event.data["id"] for event in told] == [f"p{n}" for n in range(MOST_RUNS + 1)]


def test_it_tells_of_each_run_while_they_are_not_too_many_or_their_task_says_nothing() -> None:
    ring = Ring(lambda record: {"id": record.id}, kept=10 * MOST_RUNS)
    start = ring.since(None).next
    for n in range(MOST_RUNS):
        ring.publish("run", make_run(id=f"r{n}", task="t1"))
    ring.publish("task", make_task(id="t1"))
    for n in range(MOST_RUNS + 1):
        ring.publish("run", make_run(id=f"s{n}", task="t2"))
    assert len(ring.since(start).events) == 2 * MOST_RUNS + 2
