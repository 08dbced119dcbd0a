"""What stands in the form of a new task? Texts as typed, and what they mean as a submission."""

import base64
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webserver.draft_saved import DraftSaved, saved_of_form, saved_of_settings
from webserver.draft_secrets import DraftSecrets, secrets_of_form, secrets_of_task
from webserver.forms import Form
from webserver.text import exact_duration, parse_duration
from wire.defaults import left_open, spelled_out
from wire.requests import Submission
from wire.views import TaskView

DURATIONS = ("timeout", "expires_in", "lost_after", "grace", "wave_pause")
TEXTS = (
    "script", "targets", "name", "timeout", "parallel", "fail_count", "fail_rate", "on_limit",
    "rolling", "between_waves", "wave_pause", "offline", "expires_in", "lost_after", "grace",
    "priority", "user", "cwd", "args", "env", "callbacks", "expect",
)  # fmt: skip
MULTILINE = frozenset({"script", "args", "env"})
USUAL = spelled_out(Submission())

SECRETS = ("secrets", "secret_files")
SAVED = ("saved", "parameters")

_FIELDS = {"script_base64": "script", "expect": "targets"}


@dataclass
class Draft:
    """What stands in the form: texts as typed, ticked hosts, and what is wrong, by field.

    `key` makes sending the form twice harmless. `errors[""]` belongs to no field.
    """

    texts: dict[str, str]
    ticked: list[str] = field(default_factory=list)
    key: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    secrets: DraftSecrets = field(default_factory=DraftSecrets)
    saved: DraftSaved = field(default_factory=DraftSaved)

    def blame(self, name: str | None, sentence: str) -> None:
        """Put a sentence beside the field that it is about."""
        name = _FIELDS.get(name or "", name)
        self.errors[name if name in (*TEXTS, *SECRETS, *SAVED) else ""] = sentence

    @property
    def unusual(self) -> bool:
        """Does a field that is folded away have something to show?"""
        if self.secrets or any(name in self.errors for name in SECRETS):
            return True
        usual = fresh_draft().texts
        folded = TEXTS[TEXTS.index("on_limit") : TEXTS.index("expect")]
        return any(self.texts[name] != usual[name] or name in self.errors for name in folded)


def fresh_draft() -> Draft:
    return Draft(texts_of(USUAL, ""), key=uuid.uuid4().hex)


def draft_of(form: Form) -> Draft:
    texts = {name: form.text(name) if name in MULTILINE else form.word(name) for name in TEXTS}
    usual = texts_of(USUAL, "")
    texts |= {name: usual[name] for name in TEXTS if name not in form.fields}
    return Draft(
        texts,
        form.many("agent"),
        form.word("key"),
        secrets=secrets_of_form(form),
        saved=saved_of_form(form),
    )


def texts_of(submission: Submission, script: str) -> dict[str, str]:
    """A submission as one would have typed it; its targets only if they are an expression."""
    texts = dict.fromkeys(TEXTS, "") | {"script": script, "name": submission.name}
    submission = spelled_out(submission)
    for name in DURATIONS:
        texts[name] = exact_duration(getattr(submission, name))
    for name in ("parallel", "on_limit", "offline", "priority", "between_waves"):
        texts[name] = str(getattr(submission, name))
    for name in ("fail_count", "fail_rate", "user", "cwd", "rolling"):
        value = getattr(submission, name)
        texts[name] = (
            "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        )
    texts["targets"] = submission.targets if isinstance(submission.targets, str) else ""
    texts["args"] = "\n".join(submission.args)
    texts["env"] = "\n".join(f"{name}={value}" for name, value in submission.env.items())
    texts["callbacks"] = ", ".join(submission.callbacks)
    return texts


def draft_from(task: TaskView) -> Draft:
    """What to start from when a task is to be run again; the hosts are for the caller to add."""
    settings: Mapping[str, Any] = task.settings
    known = {
        name: settings[name]
        for name in Submission.__struct_fields__
        if name in settings and name not in (*SECRETS, *SAVED)
    }
    env = known.get("env", {})  # the counts of a plan's steps are told by plans alone
    known["env"] = {name: env[name] for name in env if not name.startswith("MSCHEDULE_")}
    submission = Submission(**(known | {"name": task.name}))
    draft = fresh_draft()
    draft.secrets, draft.saved = secrets_of_task(task), saved_of_settings(settings)
    try:
        script = base64.b64decode(task.script_base64 or "").decode()
    except UnicodeDecodeError:
        script = ""
        draft.blame("script", "The script of that task is not text: submit it through the API.")
    draft.texts = texts_of(submission, "" if draft.saved else script)
    return draft


def submission_of(draft: Draft) -> Submission:
    """The task that the draft describes; fields that cannot be read go to `draft.errors`.

    Without its secrets, which are for the submit alone: see webserver/draft_secrets.py.
    Only the form is judged here; whether the values are right is for the master to say.
    """
    texts, submission = draft.texts, Submission(script=draft.texts["script"])
    if (saved := draft.saved.as_saved()) is not None:
        submission.script, submission.saved = None, saved
    submission.name, submission.targets = texts["name"], _targets(draft)
    for name in DURATIONS:
        setattr(submission, name, _duration(draft, name))
    submission.parallel = _parallel(texts["parallel"])
    submission.priority = int(_number(draft, "priority", 0.0, whole=True))
    if texts["fail_count"]:
        submission.fail_count = int(_number(draft, "fail_count", 0.0, whole=True))
    if texts["fail_rate"]:
        submission.fail_rate = _fraction(draft)
    submission.on_limit = texts["on_limit"] or USUAL.on_limit
    submission.rolling = texts["rolling"] or None
    submission.between_waves = texts["between_waves"] or USUAL.between_waves
    submission.offline = texts["offline"] or USUAL.offline
    submission.user, submission.cwd = texts["user"] or None, texts["cwd"] or None
    submission.args = [line for line in texts["args"].split("\n") if line]
    submission.env = _env(draft)
    submission.callbacks = re.findall(r"[^\s,]+", texts["callbacks"])
    if texts["targets"] and texts["expect"]:
        submission.expect = texts["expect"]
    return left_open(submission)


def _targets(draft: Draft) -> list[str] | str:
    if draft.ticked and draft.texts["targets"]:
        draft.blame("targets", "Tick hosts or write an expression, not both.")
    return draft.texts["targets"] or draft.ticked


def _parallel(text: str) -> int | str | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII) else text or USUAL.parallel


def _number(draft: Draft, name: str, default: float, *, whole: bool = False) -> float:
    try:
        number = float(draft.texts[name] or default)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 2**53 or (whole and number != int(number)):
        draft.blame(name, f"This takes a {'whole ' if whole else ''}number.")
        return default
    return number


def _fraction(draft: Draft) -> float:
    """0.1 and 10% alike."""
    text = draft.texts["fail_rate"]
    if not text.endswith("%"):
        return _number(draft, "fail_rate", 0.0)
    try:
        return float(text[:-1]) / 100
    except ValueError:
        draft.blame("fail_rate", "This takes a fraction such as 0.1, or a percentage such as 10%.")
        return 0.0


def _duration(draft: Draft, name: str) -> float:
    usual: float = getattr(USUAL, name)
    if not draft.texts[name]:
        return usual
    seconds = parse_duration(draft.texts[name])
    if seconds is None:
        draft.blame(name, "This takes a duration such as 90 s, 15 min, 1 h 30 min or 2 days.")
        return usual
    return seconds


def _env(draft: Draft) -> dict[str, str]:
    variables: dict[str, str] = {}
    for line in draft.texts["env"].split("\n"):
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not name.strip() or name.strip() in variables:
            draft.blame("env", "This takes one NAME=value a line, each name once.")
            continue
        variables[name.strip()] = value
    return variables
