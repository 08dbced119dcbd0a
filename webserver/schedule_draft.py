"""What stands in the form of a schedule? Texts as typed, and what they mean as a schedule."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from webserver import plan_draft
from webserver.draft_saved import DraftSaved
from webserver.draft_secrets import add_secrets, secrets_of_submission
from webserver.forms import Form
from webserver.page_draft import Draft, draft_of, fresh_draft, submission_of, texts_of
from webserver.plan_draft import PlanDraft, as_json, fresh_plan, plan_from, plan_of_form
from webserver.text import exact_duration, parse_duration
from wire.plans import PlanSpec
from wire.requests import Submission
from wire.schedules import SchedulePatch, ScheduleSpec, ScheduleView, Timing

KINDS = {"cron": "by the clock (cron)", "every": "again and again", "once": "once"}
OVERLAPS = {
    "skip": "skip the new one",
    "wait": "let the new one wait",
    "replace": "cancel the old one",
    "allow": "run both",
}
MISFIRES = {
    "once": "run once for all that was missed",
    "each": "run each that was missed",
    "skip": "leave out what was missed",
}
OWN_FIELDS = {"cron": ("cron",), "every": ("every", "anchor"), "once": ("at",)}
TIMES = ("at", "anchor", "start", "end")
DURATIONS = ("every", "splay", "misfire_grace")
SCHEDULE_TEXTS = (
    "kind", "at", "every", "anchor", "cron", "zone", "splay", "start", "end",
    "overlap", "misfire", "misfire_most", "misfire_grace", "revision",
)  # fmt: skip
USUAL = {
    **dict.fromkeys(SCHEDULE_TEXTS, ""),
    "kind": "cron",
    "zone": "UTC",
    "splay": "0 s",
    "overlap": "skip",
    "misfire": "once",
    "misfire_most": "10",
    "misfire_grace": "1 h",
}


@dataclass
class ScheduleDraft(Draft):
    """The draft of a task, with the texts of the schedule beside its own; or with that of a plan,
    and then what is said of a task does not count."""

    plan: PlanDraft | None = None

    def blame(self, name: str | None, sentence: str) -> None:
        """The master names the fields of timing, task and plan as `when.…`, `task.…`, `plan.…`."""
        if self.plan is not None and (name or "").startswith("plan."):
            own = str(name).removeprefix("plan.")
            self.plan.blame(own, sentence.removeprefix("plan."))
            return
        place = (name or "").removeprefix("when.").removeprefix("task.")
        if place in SCHEDULE_TEXTS:
            self.errors[place] = sentence
        else:
            super().blame(place or None, sentence)

    @property
    def is_wrong(self) -> bool:
        return bool(self.errors) or (self.plan is not None and self.plan.is_wrong)

    @property
    def sentence(self) -> str:
        """What is to be said of the form as a whole."""
        of_plan = {} if self.plan is None else self.plan.errors
        told = [errors[""] for errors in (self.errors, of_plan) if "" in errors]
        return " ".join([*(told or ["Not saved: see the marked fields."]), *self._told_aside()])

    def _told_aside(self) -> list[str]:
        return [self.errors["revision"]] if "revision" in self.errors else []


def fresh_schedule(task: Draft | None = None) -> ScheduleDraft:
    """Empty, or with the task of a draft."""
    task = task or fresh_draft()
    return ScheduleDraft(
        task.texts | USUAL,
        task.ticked,
        errors=task.errors,
        secrets=task.secrets,
        saved=task.saved,
    )


def fresh_schedule_of_plan(spec: PlanSpec | None = None) -> ScheduleDraft:
    """Empty, or with what a plan was."""
    draft = fresh_schedule()
    draft.plan = fresh_plan()
    if spec is not None:
        draft.texts["name"] = spec.name
        draft.plan = _plan_of(spec, spec.name)
    return draft


def schedule_of_form(form: Form) -> ScheduleDraft:
    task = draft_of(form)
    texts = {name: form.word(name) for name in SCHEDULE_TEXTS if name in form.fields}
    draft = ScheduleDraft(
        task.texts | USUAL | texts, task.ticked, secrets=task.secrets, saved=task.saved
    )
    if form.word("what") == "plan":
        draft.plan = plan_of_form(form)
        draft.plan.name = ""  # it is called like the schedule
    return draft


def schedule_from(schedule: ScheduleView) -> ScheduleDraft:
    """To edit it: times on the clock of its zone, as people write them."""
    when, draft = schedule.when, ScheduleDraft({})
    submission = msgspec.convert(schedule.task or {}, Submission)
    draft.texts = texts_of(submission, _script(draft, submission)) | USUAL
    if submission.saved is not None:
        number = "" if submission.saved.version is None else str(submission.saved.version)
        draft.saved = DraftSaved(submission.saved.script, number, submission.saved.parameters)
    draft.secrets = secrets_of_submission(submission)
    draft.ticked = submission.targets if isinstance(submission.targets, list) else []
    if schedule.plan is not None:
        draft.plan = _plan_of(msgspec.convert(schedule.plan, PlanSpec), schedule.name)
    draft.texts |= {
        "name": schedule.name,
        "kind": when.kind,
        "cron": when.cron or "",
        "every": "" if when.every is None else exact_duration(when.every),
        "zone": when.zone,
        "splay": exact_duration(when.splay),
        "overlap": schedule.overlap,
        "misfire": schedule.misfire,
        "misfire_most": str(schedule.misfire_most),
        "misfire_grace": exact_duration(schedule.misfire_grace),
        "revision": str(schedule.revision),
    }
    draft.texts |= {name: _on_the_clock(getattr(when, name), when.zone) for name in TIMES}
    return draft


def timing_of(draft: ScheduleDraft) -> Timing:
    """What cannot be read goes to `draft.errors`. Fields of other kinds may stay filled in."""
    texts = draft.texts
    kind = texts["kind"] if texts["kind"] in KINDS else "cron"
    own: dict[str, Any] = {name: texts[name] or None for name in OWN_FIELDS[kind]}
    if kind != "once":
        own |= {name: texts[name] or None for name in ("start", "end")}
    if own.get("every"):
        own["every"] = _whole_seconds(draft, "every")
    splay = _whole_seconds(draft, "splay") or 0
    return Timing(kind, zone=texts["zone"] or "UTC", splay=splay, **own)


def spec_of(draft: ScheduleDraft) -> ScheduleSpec:
    """The schedule that the form describes; what cannot be read goes to `draft.errors`."""
    texts = draft.texts
    task, plan = None, None
    if draft.plan is not None:
        plan = plan_draft.spec_of(draft.plan)
    else:
        task = submission_of(draft)
        task.name = ""  # its tasks are called like the schedule
        may_stay = bool(texts["revision"])  # it is edited
        draft.errors |= add_secrets(task, draft.secrets, may_stay=may_stay)
    most = texts["misfire_most"]
    if not (most.isascii() and most.isdecimal() and len(most) < 6):
        draft.blame("misfire_most", "This takes a whole number.")
        most = USUAL["misfire_most"]
    return ScheduleSpec(
        name=texts["name"],
        when=timing_of(draft),
        task=task,
        plan=plan,
        overlap=texts["overlap"],
        misfire=texts["misfire"],
        misfire_most=int(most),
        misfire_grace=_whole_seconds(draft, "misfire_grace") or 0,
    )


def patch_of(draft: ScheduleDraft) -> SchedulePatch:
    """All that the form has, for the revision that it was made from."""
    spec, revision = spec_of(draft), draft.texts["revision"]
    fields = {name: getattr(spec, name) for name in ScheduleSpec.__struct_fields__}
    del fields["paused"], fields["task" if spec.task is None else "plan"]
    if revision.isascii() and revision.isdecimal():
        fields["revision"] = int(revision)
    return SchedulePatch(**fields)


def _plan_of(spec: PlanSpec, name: str) -> PlanDraft:
    """`name`: the schedule's, which the plan has unless it says another."""
    spec = msgspec.structs.replace(spec, name="" if spec.name == name else spec.name)
    draft = plan_from(spec)
    if spec.name and draft.text is None:
        draft.text = as_json(spec)
    return draft


def _whole_seconds(draft: ScheduleDraft, name: str) -> int | None:
    """None, with the error noted, for what is no duration."""
    seconds = parse_duration(draft.texts[name] or "0")
    if seconds is None or seconds != int(seconds):
        draft.blame(name, "This takes whole seconds, such as 90 s, 15 min, 6 h or 2 days.")
        return None
    return int(seconds)


def _script(draft: ScheduleDraft, task: Submission) -> str:
    if task.script_base64 is None:
        return task.script or ""
    try:
        return base64.b64decode(task.script_base64).decode()
    except (binascii.Error, UnicodeDecodeError):
        draft.blame("script", "The script is not text: edit the schedule through the API.")
        return ""


def _on_the_clock(time: str | None, zone: str) -> str:
    """A time of the API on the clock of the zone; with its offset where that shows it twice."""
    if time is None:
        return ""
    moment = datetime.fromisoformat(time).astimezone(ZoneInfo(zone))
    twice = moment.utcoffset() != moment.replace(fold=1 - moment.fold).utcoffset()
    text = moment.replace(microsecond=0).isoformat(" ")
    return text if twice else text[:19]
