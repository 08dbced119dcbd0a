"""Which polls need no look, and what makes one necessary again."""

import pytest

from master.calm import Calm
from tests.factories import make_poll, make_run
from wire.messages import Grant
from wire.states import RunState, Stage, Want

POLL = make_poll(hw=3)


def make_grant(run: str, grant: int) -> Grant:
    return Grant(run=run, attempt=1, grant=grant, instance="i1", start_in=60.0)


def make_calm(*grants: Grant) -> Calm:
    calm = Calm()
    calm.looked("a1", POLL, grants)
    return calm


def test_an_idle_agent_that_comes_back_is_not_looked_for() -> None:
    calm = make_calm()
    assert calm.covers("a1", POLL)
    assert not calm.covers("a2", POLL)


@pytest.mark.parametrize(
    "poll", [make_poll(hw=4), make_poll(hw=3, instance="i2"), make_poll(hw=3, free=0)]
)
def test_a_poll_that_says_something_else_is(poll) -> None:
    assert not make_calm().covers("a1", poll)


def test_after_the_only_run_has_ended_nothing_is_left_to_look_for() -> None:
    calm = make_calm(make_grant("r1", 4))
    calm.saw(make_run(id="r1", agent="a1", state=RunState.RUNNING))
    assert not calm.covers("a1", make_poll(hw=4))  # it should hold r1: a recall is due
    calm.saw(make_run(id="r1", agent="a1", state=RunState.FAILED))
    assert calm.covers("a1", make_poll(hw=4))


def test_a_run_that_is_held_and_has_ended_waits_for_its_result_only() -> None:
    calm = make_calm(make_grant("r1", 4))
    assert calm.covers("a1", make_poll(hw=4, r1=Stage.ENDED))
    assert not calm.covers("a1", make_poll(hw=4, r1=Stage.LIVE))
    assert not calm.covers("a1", make_poll(hw=4, r1=Stage.ENDED, r0=Stage.ENDED))


def test_one_of_two_runs_that_is_missing_is_looked_for() -> None:
    calm = make_calm(make_grant("r1", 4), make_grant("r2", 5))
    assert not calm.covers("a1", make_poll(hw=5, r1=Stage.ENDED))
    calm.saw(make_run(id="r2", agent="a1", state=RunState.SUCCEED))
    assert calm.covers("a1", make_poll(hw=5, r1=Stage.ENDED))


@pytest.mark.parametrize(
    "run",
    [
        make_run(id="r1", agent="a1", state=RunState.UNKNOWN),
        make_run(id="r1", agent="a1", state=RunState.RUNNING, want=Want.CANCEL),
        make_run(id="r9", agent="a1", state=RunState.CANCELLED),
    ],
)
def test_whatever_else_happens_to_its_runs_makes_a_look_due(run) -> None:
    calm = make_calm(make_grant("r1", 4))
    calm.saw(run)
    assert not calm.covers("a1", make_poll(hw=4, r1=Stage.ENDED))


def test_what_may_bring_work_makes_a_look_due() -> None:
    calm = make_calm()
    calm.disturb("a1")
    assert not calm.covers("a1", POLL)
