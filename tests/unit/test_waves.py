"""Which runs of a rolling task may start by now, and what comes after them?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from master import waves
from master.records import Task
from tests.factories import make_task
from wire.states import Stop, TaskState

EXPRESSIONS = st.lists(
    st.one_of(
        st.integers(1, 999).map(str),
        st.integers(1, 100).map("{}%".format),
        st.integers(1, 99).map("+{}".format),
        st.integers(1, 9).map("*{}".format),
    ),
    min_size=1,
    max_size=6,
).filter(lambda parts: parts[0][0] not in "+*")


def rolling(total: int, expression: str, **fields: object) -> Task:
    return make_task(total, rolling=expression, released=0, **fields)


def sizes(expression: str, total: int) -> list[int]:
    """Of all its waves, each over as soon as it has begun."""
    task, found = rolling(total, expression), []
    while not waves.is_whole(task):
        before = task.released or 0
        task = waves.begun(task, 0.0)
        found.append((task.released or 0) - before)
    return found


@pytest.mark.parametrize(
    ("expression", "total", "expected"),
    [
        ("1 10% +10", 100, [1, 10, 20, 30, 39]),
        ("1", 3, [1, 1, 1]),
        ("100%", 7, [7]),
        ("25%", 10, [3, 3, 3, 1]),
        ("1%", 10, [1] * 10),
        ("1 *2", 20, [1, 2, 4, 8, 5]),
        ("5 1 100%", 20, [5, 1, 14]),
        ("50", 10, [10]),
        ("2 *1", 5, [2, 2, 1]),
        ("10% *3 +1", 100, [10, 30, 31, 29]),
    ],
)
def test_it_sizes_the_waves_as_the_expression_says(expression, total, expected):
    assert sizes(expression, total) == expected


@given(EXPRESSIONS, st.integers(1, 2000))
def test_its_waves_sum_to_the_targets(parts, total):
    found = sizes(" ".join(parts), total)
    assert sum(found) == total
    assert min(found) >= 1


@given(EXPRESSIONS, st.integers(1, 2000))
def test_it_knows_the_number_of_waves_from_the_first_to_the_last(parts, total):
    task = rolling(total, " ".join(parts))
    expected = len(sizes(task.rolling, total))
    while not waves.is_whole(task):
        assert waves.waves_in_all(task) == expected
        task = waves.begun(task, 0.0)
    assert (waves.waves_in_all(task), task.wave) == (expected, expected)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "0 parts"),
        ("0", "'0'"),
        ("-1", "'-1'"),
        ("101%", "1% to 100%"),
        ("+10", "no wave before"),
        ("*2 1", "no wave before"),
        ("1 +10%", r"'\+10%'"),
        ("1,2", "'1,2'"),
        ("1 " * 101, "101 parts"),
        ("1" * 30, "…"),
        ("１０", "is written"),
    ],
)
def test_it_says_what_is_wrong_with_an_expression(expression, said):
    with pytest.raises(ValueError, match=said):
        waves.parse(expression)


def test_it_begins_the_next_wave_at_once_if_nothing_was_said():
    task = waves.begun(rolling(10, "3", settings={"expires_in": 60.0}), 100.0)
    assert (task.wave, task.released, task.expires_at) == (1, 3, 160.0)
    after = waves.after_wave(task, 500.0)
    assert (after.wave, after.released, after.expires_at) == (2, 6, 560.0)
    assert after.state is task.state


def test_it_waits_for_a_person_after_each_wave_if_told_to_ask():
    task = waves.begun(rolling(10, "5", between_waves="ask", state=TaskState.RUNNING), 0.0)
    paused = waves.after_wave(task, 10.0)
    assert (paused.state, paused.resume_at, paused.released) == (TaskState.PAUSED, None, 5)
    assert paused.reason == "waits for a person before wave 2 of 2"
    assert waves.after_wave(paused, 20.0) == paused


@pytest.mark.parametrize(("failed", "state"), [(0, TaskState.RUNNING), (1, TaskState.PAUSED)])
def test_it_pauses_after_a_failure_of_this_wave_alone(failed, state):
    task = rolling(10, "5", between_waves="pause_after_failure", state=TaskState.RUNNING, failed=2)
    task = waves.begun(task, 0.0)
    after = waves.after_wave(replace(task, failed=2 + failed), 10.0)
    assert after.state is state


def test_it_pauses_for_a_time_and_lets_nothing_expire_meanwhile():
    task = waves.begun(rolling(10, "5", wave_pause=30.0, state=TaskState.RUNNING), 0.0)
    paused = waves.after_wave(task, 10.0)
    assert (paused.state, paused.resume_at) == (TaskState.PAUSED, 40.0)
    assert paused.expires_at == waves.NEVER
    assert "30 s before wave 2 of 2" in paused.reason


def test_it_goes_on_with_the_next_wave_only_if_the_last_one_is_over():
    task = waves.begun(rolling(10, "5", state=TaskState.RUNNING, started_at=1.0), 0.0)
    paused = waves.paused(task, "paused by alice")
    assert waves.resumed(paused, 5.0, wave_over=False).released == 5
    assert waves.resumed(paused, 5.0, wave_over=True).released == 10
    assert waves.resumed(paused, 5.0, wave_over=False).state is TaskState.RUNNING


def test_it_leaves_a_task_alone_that_is_being_stopped():
    task = waves.begun(rolling(10, "5", state=TaskState.RUNNING, stop=Stop.CANCEL), 0.0)
    assert waves.after_wave(task, 10.0) == task


def test_a_task_without_waves_is_whole_from_the_start():
    task = make_task(10)
    assert waves.is_whole(task)
    assert waves.is_released(task, 9)
    assert waves.begun(task, 0.0) == task
