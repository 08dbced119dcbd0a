"""Is a plan sound? Every value is judged before anything of it runs, with a sentence that names
the field, such as steps[1].tasks[0].targets, the value and what would be right."""

import re

from master.plan import HOST_STATES, NEEDS, variable
from master.targets import check_expression, labels_in
from wire.defaults import QUEUE
from wire.errors import InvalidValue
from wire.plans import PlanSpec, PlanStep
from wire.requests import Submission

MAX_NAME_CHARACTERS = 100
MAX_STEPS = 50
MAX_TASKS = 20  # of one step, which all begin in one transaction

_STEP_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")


def check(spec: PlanSpec) -> None:
    """What can be judged without the hosts of now. Raises InvalidValue."""
    name = spec.name
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise _wrong("name", name, f"1 to {MAX_NAME_CHARACTERS} printable characters")
    if not 0 < len(spec.steps) <= MAX_STEPS:
        raise InvalidValue(
            f"steps: {len(spec.steps)} are given; a plan takes 1 to {MAX_STEPS}", field="steps"
        )
    earlier: dict[str, str] = {}  # by the names of their variables
    for number, step in enumerate(spec.steps):
        later = {one.name for one in spec.steps[number:]}
        _check_step(f"steps[{number}]", step, earlier, later)
        earlier[variable(step.name)] = step.name
    _refuse_hosts_of_queues(spec)


def references(task: Submission) -> set[tuple[str, str]]:
    """(name, value) of every @name:value in the targets: a label's, or a step's by state."""
    return labels_in(task.targets) if isinstance(task.targets, str) else set()


def _check_step(field: str, step: PlanStep, earlier: dict[str, str], later: set[str]) -> None:
    """`earlier`: the steps before it; `later`: itself and those behind it."""
    if not _STEP_NAME.fullmatch(step.name):
        raise _wrong(f"{field}.name", step.name, "1 to 63 of A-Z a-z 0-9 . _ -")
    twin = earlier.get(variable(step.name))
    if twin is not None:
        raise InvalidValue(
            f"{field}.name is {step.name!r}; scripts could not tell it from step {twin}, both are "
            f"{variable(step.name)}",
            field=f"{field}.name",
        )
    if step.needs not in NEEDS:
        raise _wrong(f"{field}.needs", step.needs, f"one of {', '.join(NEEDS)}")
    if not 0 < len(step.tasks) <= MAX_TASKS:
        raise InvalidValue(
            f"{field}.tasks: {len(step.tasks)} are given; a step takes 1 to {MAX_TASKS}",
            field=f"{field}.tasks",
        )
    for number, task in enumerate(step.tasks):
        with_field(f"{field}.tasks[{number}]", lambda task=task: _check_task(task, earlier, later))


def _check_task(task: Submission, earlier: dict[str, str], later: set[str]) -> None:
    if task.expect is not None:
        raise InvalidValue(
            "expect is given; the hosts of a step are found when it begins", field="expect"
        )
    if isinstance(task.targets, str):
        check_expression(task.targets, "targets")
    for name, value in sorted(references(task)):
        if name in later and value in HOST_STATES:
            raise InvalidValue(
                f"targets: @{name}:{value} names hosts of a step that has not run by then; only "
                "those of earlier steps are known",
                field="targets",
            )
        if name in earlier.values() and value not in HOST_STATES:
            raise InvalidValue(
                f"targets: @{name}:{value} names hosts of step {name}; they are one of "
                f"{', '.join(HOST_STATES)}",
                field="targets",
            )


def _refuse_hosts_of_queues(spec: PlanSpec) -> None:
    """A queue's items go to whichever host takes them: no host succeeds in it, or fails."""
    queues = {step.name for step in spec.steps if all(one.mode == QUEUE for one in step.tasks)}
    for number, step in enumerate(spec.steps):
        for place, task in enumerate(step.tasks):
            for name, value in sorted(references(task)):
                if name in queues and value in HOST_STATES:
                    field = f"steps[{number}].tasks[{place}].targets"
                    raise InvalidValue(
                        f"{field}: @{name}:{value} names hosts of step {name}, which is a queue: "
                        "its items succeed or fail, and not its hosts",
                        field=field,
                    )


def with_field(field: str, judge):  # type: ignore[no-untyped-def]
    """Do it; a refusal names the place within the plan."""
    try:
        return judge()
    except InvalidValue as error:
        raise InvalidValue(
            f"{field}.{error}", field=f"{field}.{error.field}", details=error.details
        ) from error


def _wrong(field: str, value: str, right: str) -> InvalidValue:
    return InvalidValue(f"{field} is {value[:60]!r}; it takes {right}", field=field)
