"""What stands in the form of a new queue? What all tasks have, and what its items need."""

import re
import uuid
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from webserver.draft_saved import saved_of_form
from webserver.draft_secrets import secrets_of_form
from webserver.forms import Form
from webserver.items import Lines, of_text
from webserver.page_draft import TEXTS as OF_ALL
from webserver.page_draft import Draft, draft_from, submission_of, texts_of
from webserver.text import exact_duration, parse_duration
from wire.defaults import ALL_AGENTS, QUEUE
from wire.errors import InvalidValue
from wire.requests import ItemsFrom, Submission
from wire.views import TaskView

OF_QUEUES = (
    "items", "items_from", "open", "queue", "rate", "burst", "batch", "per_agent", "agents_max",
    "max_attempts", "retry_pause", "retry_codes",
)  # fmt: skip
FOLDED = (
    "burst", "per_agent", "agents_max", "queue", "retry_pause", "retry_codes", "on_limit",
    "expires_in", "lost_after", "grace", "priority", "user", "cwd", "args", "env",
    "callbacks",
)  # fmt: skip
TEXTS = (*OF_ALL, *OF_QUEUES)

_MULTILINE = frozenset({"script", "args", "env", "items"})
_WHOLE = ("batch", "per_agent", "agents_max", "max_attempts")
_CHANGED_LATER = ("rate", "per_agent", "agents_max", "max_attempts")
_USUAL = Submission(mode=QUEUE, targets=ALL_AGENTS)


@dataclass
class QueueDraft(Draft):
    """As the draft of any task, with the fields of a queue."""

    def blame(self, name: str | None, sentence: str) -> None:
        if name in OF_QUEUES:
            self.errors[name] = sentence
        else:
            super().blame(name, sentence)

    @property
    def unusual(self) -> bool:
        if self.secrets or {"secrets", "secret_files"} & self.errors.keys():
            return True
        usual = _texts_of(_USUAL, "")
        return any(self.texts[name] != usual[name] or name in self.errors for name in FOLDED)

    @property
    def listed(self) -> list[str]:
        """The items that were typed. Blames a line that is none."""
        lines = Lines(of_text)
        try:
            return [*lines.feed(self.texts["items"].encode()), *lines.end()]
        except InvalidValue as wrong:
            self.blame("items", wrong.message[:1].upper() + wrong.message[1:] + ".")
            return []


def fresh_queue() -> QueueDraft:
    return QueueDraft(_texts_of(_USUAL, ""), key=uuid.uuid4().hex)


def queue_of(form: Form) -> QueueDraft:
    texts = {name: form.text(name) if name in _MULTILINE else form.word(name) for name in TEXTS}
    usual = _texts_of(_USUAL, "")
    texts |= {name: usual[name] for name in TEXTS if name not in form.fields}
    texts["open"] = "yes" if form.word("open") else ""
    secrets, saved = secrets_of_form(form), saved_of_form(form)
    return QueueDraft(texts, key=form.word("key"), secrets=secrets, saved=saved)


def queue_from(task: TaskView) -> QueueDraft:
    """What to start from when a queue is to be run again; its items are for the person to give."""
    plain, settings = draft_from(task), task.settings
    known: dict[str, Any] = {name: settings[name] for name in OF_QUEUES[2:] if name in settings}
    if task.queue is not None:
        known |= {name: getattr(task.queue, name) for name in _CHANGED_LATER}
    texts = plain.texts | _queue_texts(replace(_USUAL, **known))
    draft = QueueDraft(texts, key=plain.key, secrets=plain.secrets, saved=plain.saved)
    draft.errors = plain.errors
    return draft


def queue_submission_of(draft: QueueDraft) -> Submission:
    """The queue that the draft describes, without its items and secrets; as `submission_of`."""
    submission, texts = submission_of(draft), draft.texts
    submission.mode = QUEUE
    submission.parallel = _whole(draft, "parallel")
    submission.expires_in = _seconds(draft, "expires_in", "30 days")
    submission.lost_after = _seconds(draft, "lost_after", "60 s")
    submission.retry_pause = _seconds(draft, "retry_pause", "1 s")
    for name in _WHOLE:
        setattr(submission, name, _whole(draft, name))
    submission.rate = _rate(draft)
    submission.burst = _whole(draft, "burst") if texts["burst"] else None
    submission.retry_codes = _codes(draft)
    submission.queue = texts["queue"] or _USUAL.queue
    submission.open = bool(texts["open"])
    submission.items_from = ItemsFrom(texts["items_from"]) if texts["items_from"] else None
    if not texts["targets"]:
        draft.blame("targets", f"Say who may take the items: {ALL_AGENTS} for all hosts.")
    return submission


def _texts_of(submission: Submission, script: str) -> dict[str, str]:
    return texts_of(submission, script) | _queue_texts(submission)


def _queue_texts(submission: Submission) -> dict[str, str]:
    texts = {name: str(getattr(submission, name)) for name in (*_WHOLE, "queue")}
    texts["rate"] = "" if submission.rate is None else f"{submission.rate:g}"
    texts["burst"] = "" if submission.burst is None else str(submission.burst)
    texts["retry_pause"] = exact_duration(submission.retry_pause) or "0"
    texts["retry_codes"] = ", ".join(map(str, submission.retry_codes or ()))
    return texts | {"items": "", "items_from": "", "open": "yes" if submission.open else ""}


def _whole(draft: QueueDraft, name: str) -> int:
    usual = _texts_of(_USUAL, "")[name] or "0"
    text = draft.texts[name] or usual
    if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        return int(text)
    draft.blame(name, "This takes a whole number.")
    return int(usual)


def _seconds(draft: QueueDraft, name: str, usual: str) -> float:
    seconds = parse_duration(draft.texts[name] or usual)
    if seconds is None:
        draft.blame(name, "This takes a duration such as 90 s, 15 min, 1 h 30 min or 2 days.")
        return 0.0
    return seconds


_RATE = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(?:(?:/|per|an?)\s*(s|second|min|minute|h|hour))?"
)
_PER_S = {"s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


def _rate(draft: QueueDraft) -> float | None:
    """Items a second of "50", "30/min", "5 per hour"; None for nothing: as fast as they go."""
    text = draft.texts["rate"].lower()
    if not text:
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        draft.blame("rate", "This takes a number of items a second, or such as 30/min or 5/h.")
        return None
    return float(found[1]) / _PER_S[found[2] or "s"]


def _codes(draft: QueueDraft) -> list[int] | None:
    """None for nothing: every exit code but 0 is tried again."""
    words = draft.texts["retry_codes"].replace(",", " ").split()
    if all(re.fullmatch("[0-9]{1,3}", word, re.ASCII) for word in words):
        return [int(word) for word in words] or None
    draft.blame("retry_codes", "This takes exit codes with commas, such as 75, 111.")
    return None
