"""What becomes of due instants: every policy, as decisions on records."""

from typing import Any

import pytest
from msgspec.structs import replace

from master.schedule import (
    AT_ONCE,
    BACKLOG,
    MAX_WAITING,
    Busy,
    Decision,
    Misfire,
    Overlap,
    Schedule,
    Verdict,
    Work,
    decide,
    put_off,
)
from master.when import When
from wire.requests import Submission

FREE = Busy()
T = 1_800_000_000


def test_it_fires_what_is_on_time():
    decision = decide(make_schedule(), FREE, T + 60.2)
    assert shown(decision) == ["60 fired"]
    assert decision.decided_until == T + 60
    assert decision.next_due == T + 120


def test_it_decides_nothing_before_its_time_and_nothing_twice():
    schedule = make_schedule()
    assert decide(schedule, FREE, T + 59.9).new == ()
    once = after(schedule, decide(schedule, FREE, T + 60))
    assert decide(once, FREE, T + 61).new == ()


def test_it_decides_nothing_again_when_the_clock_goes_back_an_hour():
    schedule = make_schedule(decided_until=T + 3600.0)
    for now in (T, T + 1800, T + 3600):
        decision = decide(schedule, FREE, now)
        assert (decision.new, decision.decided_until) == ((), T + 3600)


def test_it_leaves_out_instants_that_are_decided_by_a_clock_that_went_ahead():
    busy = Busy(taken=frozenset({T + 60.0}))
    assert shown(decide_all(make_schedule(misfire="each"), busy, T + 121)) == ["120 fired"]


def test_it_fires_nothing_while_it_is_paused_or_removed():
    for values in ({"paused_by": "alice"}, {"removed_at": 1.0}):
        decision = decide(make_schedule(**values), FREE, T + 600)
        assert (decision.new, decision.next_at) == ((), None)


def test_it_ends_when_nothing_is_due_any_more():
    schedule = make_schedule(timing=When(kind="once", at=T + 5))
    decision = decide(schedule, FREE, T + 6)
    assert shown(decision) == ["5 fired"]
    assert (decision.next_due, decision.next_at) == (None, None)


def test_it_waits_for_its_splay():
    timing = When(kind="every", seconds=3600, splay_s=3600)
    schedule = make_schedule(timing=timing)
    first = decide(schedule, FREE, T)
    at, due = first.next_at, first.next_due
    assert at is not None and due is not None and at > T
    assert decide(schedule, FREE, at - 0.1).new == ()
    assert put_off(schedule, at - 0.1) == [due]
    assert shown(decide(schedule, FREE, at)) == [f"{due - T} fired"]


# ---- after an outage: five minutes, so that those at 60 to 300 are late or on time


@pytest.mark.parametrize(
    ("misfire", "now", "wanted"),
    [
        ("skip", 301, ["60 missed", "120 missed", "180 missed", "240 missed", "300 fired"]),
        ("skip", 340, ["60 missed", "120 missed", "180 missed", "240 missed", "300 missed"]),
        ("once", 301, ["60 missed", "120 missed", "180 missed", "240 missed", "300 fired"]),
        ("once", 340, ["60 missed", "120 missed", "180 missed", "240 missed", "300 fired"]),
        ("each", 340, ["60 missed", "120 missed", "180 missed", "240 fired", "300 fired"]),
        ("each", 301, ["60 missed", "120 missed", "180 fired", "240 fired", "300 fired"]),
    ],
)
def test_it_runs_of_what_is_late_what_the_policy_says(misfire, now, wanted):
    schedule = make_schedule(misfire=misfire, misfire_most=2)
    assert shown(decide_all(schedule, FREE, T + now)) == wanted


@pytest.mark.parametrize("misfire", Misfire)
def test_it_runs_nothing_that_is_older_than_the_grace(misfire):
    schedule = make_schedule(misfire=misfire, misfire_grace_s=70)
    verdicts = decide_all(schedule, FREE, T + 340)
    ran = [verdict.due - T for verdict in verdicts if verdict.state == "fired"]
    assert ran == {"skip": [], "once": [300], "each": [300]}[misfire]
    verdicts = decide_all(replace(schedule, misfire_grace_s=30), FREE, T + 340)
    assert {verdict.state for verdict in verdicts} == {"missed"}
    assert "late by" in verdicts[-1].reason


def test_it_gives_every_miss_a_reason():
    for misfire in Misfire:
        for verdict in decide_all(make_schedule(misfire=misfire), FREE, T + 7000):
            assert verdict.state == "fired" or verdict.reason


def test_it_takes_a_short_absence_for_none():
    schedule = make_schedule(misfire="skip")
    assert shown(decide(schedule, FREE, T + 89)) == ["60 fired"]
    assert shown(decide(schedule, FREE, T + 91)) == ["60 missed"]


def test_it_decides_a_long_list_in_pieces():
    schedule = make_schedule(timing=When(kind="every", seconds=1))
    seen: list[float] = []
    for _ in range(10):
        decision = decide(schedule, FREE, T + 1200.5)
        assert len(decision.new) <= AT_ONCE
        seen += [verdict.due - T for verdict in decision.new]
        schedule = after(schedule, decision)
        if not decision.more:
            break
    assert seen == list(range(1, 1201))
    assert schedule.next_due == T + 1201


def test_it_tells_of_a_very_long_absence_in_one_row_and_of_its_last_part_one_by_one():
    schedule = make_schedule(timing=When(kind="every", seconds=1))
    now = T + 3 * BACKLOG
    first = decide(schedule, FREE, now)
    (verdict,) = first.new
    assert (verdict.due, verdict.until) == (T + 1, T + 2 * BACKLOG)
    assert (verdict.state, first.more) == ("missed", True)
    then = decide(after(schedule, first), FREE, now)
    assert then.new[0].due == T + 2 * BACKLOG + 1


# ---- while a task of it is active

TASK = Work("task", "t1")
BUSY = Busy(active=[TASK])


def test_it_runs_beside_the_other_where_that_is_allowed():
    assert shown(decide(make_schedule(overlap="allow"), BUSY, T + 60)) == ["60 fired"]


def test_it_skips_and_names_the_task_that_is_in_the_way():
    decision = decide(make_schedule(overlap="skip"), BUSY, T + 60)
    assert shown(decision) == ["60 skipped"]
    assert "t1" in decision.new[0].reason


def test_it_lets_only_the_first_of_several_fire_where_others_are_skipped():
    schedule = make_schedule(overlap="skip", misfire="each")
    assert shown(decide_all(schedule, FREE, T + 180)) == ["60 fired", "120 skipped", "180 skipped"]


def test_it_waits_and_goes_on_one_after_another():
    schedule = make_schedule(overlap="wait")
    first = decide(schedule, BUSY, T + 60)
    assert shown(first) == ["60 waiting"]
    second = decide(after(schedule, first), Busy([TASK], [T + 60.0]), T + 120)
    assert shown(second) == ["120 waiting"]
    third = decide(after(schedule, second), Busy((), [T + 60.0, T + 120.0]), T + 130)
    assert shown(third) == ["60 fired"]
    assert third.new == ()


def test_it_keeps_the_order_where_one_waits_and_another_comes_up():
    schedule = make_schedule(overlap="wait")
    verdicts = decide_all(schedule, Busy((), [T + 0.0]), T + 60)
    assert shown(verdicts) == ["0 fired", "60 waiting"]


def test_it_lets_no_more_than_so_many_wait():
    waiting = [T - 60.0 * place for place in range(MAX_WAITING, 0, -1)]
    decision = decide(make_schedule(overlap="wait"), Busy([TASK], waiting), T + 60)
    assert shown(decision) == ["60 skipped"]


def test_it_cancels_what_it_replaces_and_waits_for_its_end():
    schedule = make_schedule(overlap="replace")
    first = decide(schedule, BUSY, T + 60)
    assert (shown(first), first.cancel) == (["60 waiting"], (TASK,))
    again = decide(after(schedule, first), Busy([TASK], [T + 60.0]), T + 61)
    assert (shown(again), again.cancel) == ([], ())
    newer = decide(after(schedule, first), Busy([TASK], [T + 60.0]), T + 120)
    assert shown(newer) == ["60 skipped", "120 waiting"]
    then = decide(after(schedule, newer), Busy((), [T + 120.0]), T + 121)
    assert shown(then) == ["120 fired"]


def test_it_replaces_nothing_where_nothing_is_active():
    schedule = make_schedule(overlap="replace", misfire="each")
    decision = decide(schedule, FREE, T + 120)
    assert (shown(decision), decision.cancel) == (["60 skipped", "120 fired"], ())


@pytest.mark.parametrize("overlap", Overlap)
def test_it_lets_go_what_waits_when_the_policy_was_changed(overlap):
    decision = decide(make_schedule(overlap=overlap), Busy((), [T - 60.0]), T)
    assert shown(decision) == ["-60 fired"]


def make_schedule(**values: Any) -> Schedule:
    given: dict[str, Any] = {
        "id": "s1",
        "name": "nightly",
        "timing": When(kind="every", seconds=60),
        "task": Submission(script="echo hello", targets="@*"),
        "overlap": "allow",
        "misfire": "once",
        "misfire_most": 10,
        "misfire_grace_s": 3600,
        "owner": "alice",
        "owner_id": "person:p1",
        "created_by": "alice",
        "created_at": float(T),
        "edited_at": float(T),
        "decided_until": float(T),
        **values,
    }
    given["overlap"], given["misfire"] = Overlap(given["overlap"]), Misfire(given["misfire"])
    return Schedule(**given)


def after(schedule: Schedule, decision: Any) -> Schedule:
    return replace(
        schedule,
        decided_until=decision.decided_until,
        next_due=decision.next_due,
        next_at=decision.next_at,
    )


def decide_all(schedule: Schedule, busy: Busy, now: float) -> list[Verdict]:
    """As the store does it: one task at a time, which is active from then on."""
    seen: list[Verdict] = []
    while True:
        decision = decide(schedule, busy, now)
        verdicts = [*decision.settled, *decision.new]
        fired = [one for one in verdicts if one.state == "fired"]
        assert len(fired) <= 1
        seen += verdicts
        if not decision.more:
            return seen
        settled = {one.due for one in decision.settled}
        waiting = [due for due in busy.waiting if due not in settled]
        waiting += [one.due for one in decision.new if one.state == "waiting"]
        active = [*busy.active, *(Work("task", f"of {one.due}") for one in fired)]
        busy = replace(busy, active=active, waiting=waiting)
        schedule = after(schedule, decision)


def shown(decision: Decision | list[Verdict]) -> list[str]:
    if isinstance(decision, Decision):
        decision = [*decision.settled, *decision.new]
    return [f"{verdict.due - T:.0f} {verdict.state}" for verdict in decision]
