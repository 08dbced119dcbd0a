"""How many at once, how much failure is too much, and how did a task end?"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.task import (
    count,
    counts,
    failures,
    has_place,
    limit_exceeded,
    may_hand_out,
    resolve_parallel,
    verdict,
    waiting_reason,
)
from tests.factories import make_task
from wire.states import AgentState, RunState, Stop, TaskState

# ---- parallel


@pytest.mark.parametrize(
    ("asked", "total", "resolved"),
    [
        (1, 10, 1),
        (0, 10, 0),
        (50, 10, 50),
        ("25%", 4, 1),
        ("25%", 5, 2),  # rounded up
        ("1%", 10, 1),  # at least one
        ("100%", 10_000, 10_000),
        ("29%", 100, 29),  # 28.999999999999996 in floats
        ("7%", 100, 7),  # 7.000000000000001 in floats
        ("25%", 1, 1),
    ],
)
def test_it_resolves_parallel(asked, total, resolved):
    assert resolve_parallel(asked, total) == resolved


@pytest.mark.parametrize("asked", ["0%", "101%", "25", "", "%", "-5%", "2.5%", "²%", "1e1%", " 5%"])
def test_it_refuses_a_share_that_is_none(asked):
    with pytest.raises(ValueError, match='"1%" to "100%"'):
        resolve_parallel(asked, 10)


@pytest.mark.parametrize("asked", [-1, True, False])
def test_it_refuses_a_number_that_is_none(asked):
    with pytest.raises(ValueError, match="0 for all"):
        resolve_parallel(asked, 10)


def test_it_has_a_place_while_fewer_are_running():
    assert has_place(make_task(5, parallel=2, running=1))
    assert not has_place(make_task(5, parallel=2, running=2))
    assert has_place(make_task(5, parallel=0, running=4))


# ---- limits


@pytest.mark.parametrize(
    ("fail_count", "fail_rate", "total", "failed", "exceeded"),
    [
        (None, None, 10, 10, False),  # neither: failures never stop it
        (-1, None, 10, 10, False),
        (-1, 0.0, 10, 10, False),
        (0, None, 10, 0, False),
        (0, None, 10, 1, True),
        (2, None, 10, 2, False),  # equalled is not exceeded
        (2, None, 10, 3, True),
        (None, 0.0, 10, 0, False),  # 0 given alone: none is tolerated
        (None, 0.0, 10, 1, True),
        (None, 0.1, 30, 3, False),
        (None, 0.1, 30, 4, True),
        (None, 0.29, 100, 29, False),  # 0.29 * 100 is less than 29 in floats
        (None, 0.29, 100, 30, True),
        (None, 0.07, 100, 7, False),
        (None, 0.07, 100, 8, True),  # 0.07 * 100 is more than 7 in floats
        (None, 0.3, 1, 1, True),
        (None, 1.0, 10, 10, False),
        (5, 0.1, 10, 2, True),  # both: whichever is exceeded first
        (1, 0.9, 10, 2, True),
        (1, 0.9, 10, 1, False),
        (1, 0.0, 10, 1, True),
    ],
)
def test_it_stops_a_task_whose_limit_is_exceeded(fail_count, fail_rate, total, failed, exceeded):
    task = make_task(total, failed=failed, fail_count=fail_count, fail_rate=fail_rate)

    assert (limit_exceeded(task) is not None) is exceeded


def test_it_says_which_limit_was_exceeded():
    task = make_task(10, failed=2, timeout=1, fail_count=2, fail_rate=0.5)

    assert limit_exceeded(task) == (
        "3 of 10 runs failed, more than fail_count 2 and fail_rate 0.5 allows"
    )


def test_it_counts_failed_timeout_and_unknown_as_failures():
    task = make_task(9, failed=1, timeout=2, unknown=3, cancelled=1, skipped=1, succeed=1)

    assert failures(task) == 6


@given(hundredths=st.integers(0, 100), total=st.integers(1, 20_000), failed=st.integers(0, 20_000))
def test_it_compares_with_the_rate_that_was_written(hundredths, total, failed):
    failed = min(failed, total)
    task = make_task(total, failed=failed, fail_rate=hundredths / 100)

    exceeded = limit_exceeded(task) is not None

    assert exceeded is (failed > Fraction(hundredths, 100) * total)


# ---- the end


def test_it_has_no_verdict_while_a_run_waits_or_runs():
    assert verdict(make_task(3, succeed=2)) is None
    assert verdict(make_task(3, succeed=2, running=1)) is None


@pytest.mark.parametrize(
    ("ended", "limits", "state"),
    [
        ({"succeed": 3}, {}, TaskState.SUCCEED),
        ({"succeed": 2, "failed": 1}, {}, TaskState.FAILED),
        ({"succeed": 2, "failed": 1}, {"fail_count": -1}, TaskState.FAILED),
        ({"succeed": 2, "failed": 1}, {"fail_count": 1}, TaskState.SUCCEED),
        ({"succeed": 1, "failed": 2}, {"fail_count": 1}, TaskState.FAILED),
        ({"succeed": 2, "skipped": 1}, {"fail_count": 1}, TaskState.SUCCEED),
        ({"succeed": 2, "skipped": 1}, {"fail_count": 0}, TaskState.FAILED),
        ({"succeed": 1, "failed": 1, "skipped": 1}, {"fail_count": 1}, TaskState.FAILED),
        ({"succeed": 2, "cancelled": 1}, {"fail_count": 0}, TaskState.FAILED),
        ({"succeed": 2, "cancelled": 1}, {"fail_rate": 0.5}, TaskState.SUCCEED),
        ({"succeed": 2, "unknown": 1}, {"fail_rate": 0.34}, TaskState.SUCCEED),
        ({"succeed": 2, "timeout": 1}, {"fail_rate": 0.33}, TaskState.FAILED),
        ({"skipped": 3}, {}, TaskState.FAILED),  # all hosts offline, offline is "skip"
        ({"skipped": 3}, {"fail_rate": 1.0}, TaskState.SUCCEED),
    ],
)
def test_it_ends_a_task(ended, limits, state):
    end = verdict(make_task(3, **ended, **limits))

    assert end is not None and end[0] is state


@pytest.mark.parametrize(
    ("ended", "limits", "state"),
    [
        ({"succeed": 1}, {}, TaskState.SUCCEED),
        ({"failed": 1}, {}, TaskState.FAILED),
        ({"failed": 1}, {"fail_rate": 0.99}, TaskState.FAILED),
        ({"failed": 1}, {"fail_rate": 1.0}, TaskState.SUCCEED),
        ({"failed": 1}, {"fail_count": 1}, TaskState.SUCCEED),
    ],
)
def test_it_ends_a_task_of_one_run(ended, limits, state):
    end = verdict(make_task(1, **ended, **limits))

    assert end is not None and end[0] is state


def test_it_ends_a_cancelled_task():
    end = verdict(make_task(3, succeed=1, cancelled=2, stop=Stop.CANCEL, fail_rate=1.0))

    assert end == (TaskState.CANCELLED, "cancelled")


def test_it_ends_a_task_well_when_the_cancel_came_too_late():
    end = verdict(make_task(3, succeed=3, stop=Stop.CANCEL))

    assert end == (TaskState.SUCCEED, "every run succeeded, the cancel came too late")


def test_it_keeps_a_task_failed_when_the_failure_that_stopped_it_was_disproved():
    task = make_task(3, succeed=2, skipped=1, stop=Stop.LIMIT, reason="1 of 3", fail_count=1)

    assert verdict(task) == (TaskState.FAILED, "1 of 3")


def test_it_tells_how_many_did_not_succeed():
    assert verdict(make_task(3, succeed=2, failed=1)) == (
        TaskState.FAILED,
        "1 of 3 runs did not succeed",
    )
    assert verdict(make_task(3, succeed=2, failed=1, fail_count=1)) == (
        TaskState.SUCCEED,
        "1 of 3 runs did not succeed, which fail_count 1 allows",
    )


# ---- counters and reasons


def test_it_moves_a_number_of_runs_between_counters():
    task = count(make_task(10_000), RunState.WAITING, RunState.SKIPPED, 10_000)

    assert (task.waiting, task.skipped) == (0, 10_000)
    assert sum(counts(task).values()) == 10_000


@pytest.mark.parametrize(
    ("task", "agent", "free", "held", "reason"),
    [
        (make_task(state=TaskState.PAUSED), AgentState.OFFLINE, 0, None, "paused"),
        (make_task(), AgentState.ONLINE, 1, "restored", "hand-outs are held: restored"),
        (make_task(), AgentState.OFFLINE, None, None, "the host is offline"),
        (
            make_task(3, parallel=2, running=2),
            AgentState.ONLINE,
            0,
            None,
            "waits for one of 2 parallel places",
        ),
        (make_task(), AgentState.STALE, 0, None, "all slots of the host are busy"),
        (make_task(), AgentState.ONLINE, None, None, "about to be handed out"),
    ],
)
def test_it_says_why_a_run_waits(task, agent, free, held, reason):
    assert waiting_reason(task, agent, free=free, held=held) == reason


def test_it_hands_out_nothing_of_a_task_that_is_stopped_paused_or_ended():
    assert may_hand_out(make_task())
    assert not may_hand_out(make_task(stop=Stop.LIMIT))
    assert not may_hand_out(make_task(state=TaskState.PAUSED))
    assert not may_hand_out(make_task(state=TaskState.FAILED))
