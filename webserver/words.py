"""What will a task do, in words? Sentences for people, made of a submission; pure functions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webserver.text import human_count, human_duration
from wire.defaults import FAN_OUT, limits_of, spelled_out
from wire.requests import Submission

# In the order in which people ask.
_SETTINGS = {
    "targets": "Hosts",
    "parallel": "At once",
    "rolling": "Waves",
    "between_waves": "Between waves",
    "wave_pause": "Pause between waves",
    "fail_count": "Failures tolerated",
    "fail_rate": "Failure rate tolerated",
    "on_limit": "Too many failed",
    "timeout": "Time limit of a run",
    "expires_in": "Skipped unless started within",
    "offline": "Hosts that are offline",
    "lost_after": "Given up when silent for",
    "grace": "Between TERM and KILL",
    "user": "Runs as",
    "cwd": "Runs in",
    "args": "Arguments",
    "env": "Environment",
    "secrets": "Secrets",
    "secret_files": "Secret files",
    "priority": "Priority",
    "callbacks": "Tells the callbacks",
    # Of queues alone.
    "queue": "Queue",
    "rate": "Items a second",
    "burst": "Burst",
    "batch": "Items of one run",
    "max_attempts": "Attempts",
    "retry_pause": "Pause before another attempt",
    "retry_codes": "Tried again at exit codes",
    "per_agent": "At once on one host",
    "agents_max": "Hosts at a time",
}
_DURATIONS = frozenset(
    {"timeout", "expires_in", "lost_after", "grace", "wave_pause", "retry_pause"}
)
_NONE_AT_0 = frozenset({"timeout", "wave_pause", "retry_pause"})
BETWEEN_WAVES = {
    "go": "go on",
    "pause_after_failure": "pause after a failure",
    "ask": "wait for a person",
}
_CHOICES: dict[tuple[str, str | int], str] = {
    ("on_limit", "finish"): "running scripts finish",
    ("on_limit", "kill"): "running scripts are killed",
    **{("between_waves", value): words for value, words in BETWEEN_WAVES.items()},
    ("offline", "wait"): "waited for",
    ("offline", "skip"): "skipped",
    ("per_agent", 0): "as many as it has slots",
    ("agents_max", 0): "all that may",
}
_ABSENT = {
    "fail_count": "never stops the task",
    "fail_rate": "never stops the task",
    "user": "the user of the agent",
    "cwd": "the home of the user",
    "args": "none",
    "env": "none",
    "rate": "no limit",
    "burst": "a tenth of a second's worth",
    "retry_codes": "all but 0",
}


@dataclass(frozen=True)
class Setting:
    """One line about a task; `usual`: it is what one gets without asking."""

    label: str
    words: str
    usual: bool


def settings_in_words(settings: Mapping[str, Any]) -> list[Setting]:
    """The settings of a task, unusual ones first, each group in the order of `_SETTINGS`."""
    usual = spelled_out(Submission(mode=settings.get("mode", FAN_OUT)))
    shown = [
        _setting(name, label, settings[name], getattr(usual, name))
        for name, label in _SETTINGS.items()
        if name in settings
    ]
    return sorted(shown, key=lambda setting: setting.usual)


def _setting(name: str, label: str, value: Any, usual: Any) -> Setting:
    """What was left open is as usual."""
    value = usual if value is None else value
    return Setting(label, _value(name, value), value == usual)


def _value(name: str, value: Any) -> str:
    if value is None or value == [] or value == {}:
        return _ABSENT.get(name, "none")
    if name in _DURATIONS:
        return human_duration(value) if value or name not in _NONE_AT_0 else "none"
    if name == "fail_count" and value == -1:
        return _ABSENT[name]
    if name == "parallel":
        return "all" if value == 0 else str(value)
    if name == "fail_rate":
        return f"{value * 100:.4g}%"
    if name == "env":
        return " ".join(f"{key}={text}" for key, text in value.items())
    if name == "args":
        return " ".join(value)
    if name in ("secrets", "secret_files", "callbacks", "retry_codes"):
        return ", ".join(map(str, value))
    return _CHOICES.get((name, value)) or (f"{value:g}" if isinstance(value, float) else str(value))


def what_will_happen(submission: Submission, count: int) -> str:
    """The sentence on the button: "Run on 128 hosts, 10 at a time, stop at the 4th failure"."""
    if count == 1:
        return "Run on 1 host"
    places = places_of(limits_of(submission).parallel, count)
    at_once = "all at once" if places >= count else f"{places:,} at a time"
    if places == 1:
        at_once = "one at a time"
    if submission.rolling:
        at_once = f"in waves of {submission.rolling}, {at_once}"
    return f"Run on {count:,} hosts, {at_once}, {_until(submission, count)}"


def _until(submission: Submission, count: int) -> str:
    tolerated = []
    if submission.fail_count is not None and submission.fail_count >= 0:
        tolerated.append(submission.fail_count)
    if submission.fail_rate is not None and submission.fail_count != -1:
        tolerated.append(math.floor(submission.fail_rate * count + 1e-9))
    if not tolerated or min(tolerated) >= count:
        return "whatever fails"
    if min(tolerated) == 0:
        return "stop at the first failure"
    return f"stop at the {_ordinal(min(tolerated) + 1)} failure"


def _ordinal(number: int) -> str:
    teens = 10 <= number % 100 <= 20
    return f"{number:,}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def places_of(parallel: int | str, count: int) -> int:
    """How many of `count` hosts run at once; what cannot be read counts as one."""
    if isinstance(parallel, int):
        return count if parallel == 0 else max(1, min(count, parallel))
    try:
        return max(1, min(count, math.ceil(count * float(parallel.rstrip("%")) / 100)))
    except (ValueError, OverflowError):
        return 1


def may_not_fit(submission: Submission, count: int) -> str | None:
    """A warning when the last hosts of a rolling task may expire before their turn."""
    limits = limits_of(submission)
    rounds = math.ceil(count / places_of(limits.parallel, count)) if count else 0
    if rounds < 2 or limits.expires_in <= 0:
        return None
    within = human_duration(limits.expires_in)
    if submission.timeout <= 0:
        return (
            f"Runs have no time limit, and hosts whose turn has not come within {within} "
            "are skipped."
        )
    last_s = (rounds - 1) * submission.timeout
    if last_s <= limits.expires_in:
        return None
    return (
        f"If every run takes its {human_duration(submission.timeout)}, the last of "
        f"{human_count(count, 'host')} would start after {human_duration(last_s)}; what has not "
        f"started within {within} is skipped. Raise one of the two, or run more at a time."
    )
