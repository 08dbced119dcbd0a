"""Is a plan refused with a sentence that names the place and what would be right?"""

from typing import Any

import pytest

from master.plan_rules import check
from wire.errors import InvalidValue
from wire.plans import PlanSpec, PlanStep
from wire.requests import Submission


def step(name: str, targets: str = "web01", needs: str = "succeeded", **fields: Any) -> PlanStep:
    return PlanStep(name, [Submission(script="true", targets=targets, **fields)], needs)


def plan(*steps: PlanStep, name: str = "deploy") -> PlanSpec:
    return PlanSpec(name=name, steps=list(steps))


def test_it_takes_a_plan_that_is_sound():
    check(plan(step("build"), step("mend", "@build:failed,@build:timeout,@env:prod", "ended")))


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        (plan(step("a"), name=""), "name", "1 to 100"),
        (plan(), "steps", "0 are given"),
        (plan(*[step(f"s{number}") for number in range(51)]), "steps", "51 are given"),
        (plan(step("a b")), "steps[0].name", "'a b'"),
        (plan(step("a"), step("A")), "steps[1].name", "MSCHEDULE_STEP_A"),
        (plan(step("a-1"), step("a.1")), "steps[1].name", "tell it from step a-1"),
        (plan(step("a", needs="luck")), "steps[0].needs", "succeeded, ended"),
        (plan(PlanStep("a", [])), "steps[0].tasks", "0 are given"),
        (plan(step("a", "@a:failed")), "steps[0].tasks[0].targets", "has not run"),
        (plan(step("a", "@b:failed"), step("b")), "steps[0].tasks[0].targets", "earlier steps"),
        (plan(step("a"), step("b", "@a:lost")), "steps[1].tasks[0].targets", "failed, timeout"),
        (plan(step("a", "web[01")), "steps[0].tasks[0].targets", "bracket"),
        (plan(step("a", expect="x")), "steps[0].tasks[0].expect", "when it begins"),
    ],
)
def test_it_says_what_is_wrong(wrong, field, words):
    with pytest.raises(InvalidValue) as refused:
        check(wrong)
    assert refused.value.field == field
    assert words in str(refused.value)
