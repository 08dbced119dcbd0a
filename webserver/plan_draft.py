"""What stands in the form of a new plan? Steps of one task each as fields, or all of it as JSON."""

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec

from webserver.body import parse_json
from webserver.forms import Form
from webserver.page_draft import USUAL, Draft, submission_of, texts_of
from wire.errors import InvalidValue, Malformed
from wire.plans import PlanSpec, PlanStep
from wire.requests import Submission

OF_TASK = ("script", "targets", "parallel", "fail_count", "timeout")
FIELDS = ("step", "needs", *OF_TASK)
NEEDS = {"succeeded": "all of it has succeeded", "ended": "all of it has ended"}
FIRST_STEPS = 2
MAX_STEPS = 50

_PLACE = re.compile(r"steps\[(\d+)\](?:\.tasks\[0\])?\.(\w+)")
_USUAL = msgspec.to_builtins(Submission())


@dataclass
class StepDraft:
    """One step with one task; texts as typed, and what is wrong, by field."""

    texts: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)


@dataclass
class PlanDraft:
    """`text`: the plan as JSON, instead of steps. `key` makes sending the form twice harmless.
    `errors[""]` belongs to no field. `asks_secrets`: the text has places for secrets;
    `took_out_secrets`: what was typed there is not in it any more."""

    name: str = ""
    steps: list[StepDraft] = field(default_factory=list)
    text: str | None = None
    key: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    asks_secrets: bool = False
    took_out_secrets: bool = False

    def blame(self, name: str | None, sentence: str) -> None:
        """Put a sentence beside the field that it is about."""
        place = _PLACE.fullmatch(name or "")
        if self.text is not None:
            self.errors["spec"] = sentence
        elif place is not None and int(place[1]) < len(self.steps):
            own = {"name": "step", "script_base64": "script"}.get(place[2], place[2])
            known = own if own in FIELDS else ""
            said = sentence.removeprefix(place[0].removesuffix(place[2]))
            self.steps[int(place[1])].errors[known] = said
        else:
            self.errors["name" if name == "name" else ""] = sentence

    @property
    def is_wrong(self) -> bool:
        return bool(self.errors) or any(step.errors for step in self.steps)


def fresh_plan() -> PlanDraft:
    return PlanDraft(steps=[_fresh_step() for _ in range(FIRST_STEPS)], key=uuid.uuid4().hex)


def _fresh_step() -> StepDraft:
    return StepDraft({"step": "", "needs": "succeeded"} | _texts(USUAL, ""))


def _texts(task: Submission, script: str) -> dict[str, str]:
    return {name: text for name, text in texts_of(task, script).items() if name in OF_TASK}


def plan_of_form(form: Form) -> PlanDraft:
    """As it was typed; steps are in the order of their fields."""
    draft = PlanDraft(form.word("name"), key=form.word("key") or uuid.uuid4().hex)
    if "spec" in form.fields:
        draft.text = form.text("spec")
        return draft
    number = min(MAX_STEPS, max((len(form.many(name)) for name in FIELDS), default=0))
    draft.steps = [_step_of_form(form, place) for place in range(number)]
    return draft


def _step_of_form(form: Form, place: int) -> StepDraft:
    texts = _fresh_step().texts
    for name in FIELDS:
        given = form.many(name)
        if place < len(given):
            texts[name] = given[place] if name == "script" else given[place].strip()
    return StepDraft(texts)


def change(draft: PlanDraft, do: str) -> bool:
    """What a button of the form asks for; False for one that submits."""
    word, _, place = do.partition(" ")
    if word == "add" and len(draft.steps) < MAX_STEPS:
        draft.steps.append(_fresh_step())
    elif word == "remove" and place.isdecimal() and int(place) < len(draft.steps):
        del draft.steps[int(place)]
    elif word == "json":
        spec = spec_of(draft)
        if not draft.is_wrong:
            draft.text = as_json(spec)
    else:
        return False
    return True


def spec_of(draft: PlanDraft) -> PlanSpec:
    """The plan that the draft describes; what cannot be read goes to its errors."""
    if draft.text is None:
        return PlanSpec(name=draft.name, steps=[_step(step) for step in draft.steps])
    try:
        return parse_json(draft.text.encode(), PlanSpec)
    except (Malformed, InvalidValue) as refusal:
        draft.errors["spec"] = refusal.message
        return PlanSpec(steps=[])


def _step(step: StepDraft) -> PlanStep:
    texts = texts_of(USUAL, "") | {name: step.texts[name] for name in OF_TASK}
    task = Draft(texts)
    submission = submission_of(task)
    step.errors.update(task.errors)
    return PlanStep(step.texts["step"], [submission], step.texts["needs"])


def plan_from(spec: PlanSpec) -> PlanDraft:
    """What to start from when a plan is to be submitted again: as JSON, if fields cannot show it
    all."""
    draft = PlanDraft(spec.name, key=uuid.uuid4().hex)
    draft.steps = [
        StepDraft(
            {"step": step.name, "needs": step.needs}
            | _texts(step.tasks[0], step.tasks[0].script or "")
        )
        for step in spec.steps
    ]
    if msgspec.to_builtins(spec_of(draft)) != msgspec.to_builtins(spec) or draft.is_wrong:
        draft.text = as_json(spec)
    draft.asks_secrets = any(_asks_secrets(task) for step in spec.steps for task in step.tasks)
    return draft


def _asks_secrets(task: Submission) -> bool:
    """The master has taken out the values of those that it keeps, also of parameters."""
    saved = {} if task.saved is None else task.saved.parameters
    return bool(task.secrets or task.secret_files or not all(saved.values()))


def as_json(spec: PlanSpec) -> str:
    """For people to read: without what is as usual."""
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    if not spec.name:
        del tree["name"]
    for step in tree["steps"]:
        step["tasks"] = [
            {name: value for name, value in task.items() if value != _USUAL[name]}
            for task in step["tasks"]
        ]
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode()
