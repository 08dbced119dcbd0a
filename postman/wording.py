"""How is an event told to people? One line, then facts, then a link: what chats and mails show."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from wire.letters import Letter

MAX_CHARACTERS = 300  # of one value

_HEADS = {
    "task.started": "has started",
    "task.succeeded": "has succeeded",
    "task.failed": "has failed",
    "task.cancelled": "was cancelled",
    "task.limit_exceeded": "is being stopped: too much of it failed",
    "task.wave_waiting": "waits for a person between two waves",
    "schedule.missed": "has missed its time",
    "schedule.skipped": "was skipped",
    "schedule.failed": "has failed",
    "plan.succeeded": "has succeeded",
    "plan.failed": "has failed",
    "plan.cancelled": "was cancelled",
}
_COUNTS = ("succeed", "failed", "timeout", "cancelled", "skipped", "unknown")
_SAID = {"succeed": "succeeded", "timeout": "timed out"}


class Told(Struct, frozen=True):
    """`link`: None if nobody has said where the pages are."""

    head: str
    facts: list[tuple[str, str]]
    link: str | None

    @property
    def lines(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self.facts]


def told(letter: Letter, web_url: str) -> Told:
    link = f"{web_url.rstrip('/')}{letter.path}" if web_url and letter.path else None
    return Told(_head(letter.event), list(_facts(letter.event)), link)


def _head(event: dict[str, Any]) -> str:
    kind, content = event["type"], event["data"]
    if kind == "test":
        return "This is a test of mschedule"
    subject = kind.partition(".")[0]
    of = content[subject]
    return f"{subject.capitalize()} {_plain(of['name'] or of['id'])} {_HEADS.get(kind, kind)}"


def _facts(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    content = event["data"]
    task = content.get("task")
    if task is not None:
        yield _counted(task), _results(task)
        if task["reason"]:
            yield "Reason", _plain(task["reason"])
        yield "By", _plain(task["created_by"])
        yield "Task", task["id"]
    plan = content.get("plan")
    if plan is not None:
        yield "Steps", _steps(plan["steps"])
        if plan["reason"]:
            yield "Reason", _plain(plan["reason"])
        yield "By", _plain(plan["created_by"])
        yield "Plan", plan["id"]
    if content.get("due_at") and event["type"].startswith("schedule."):
        yield "Due", content["due_at"]
    if content.get("reason"):
        yield "Reason", _plain(content["reason"])
    if "callback" in content:
        yield "Callback", _plain(content["callback"])
        yield "Sent by", _plain(content["by"])


def _counted(task: dict[str, Any]) -> str:
    """What the numbers are of. Letters that an older master wrote are all about hosts."""
    queue = task.get("queue")
    if queue is None:
        return "Hosts"
    return "Items" if queue["batch"] == 1 else f"Batches of {queue['batch']} items"


def _results(task: dict[str, Any]) -> str:
    """`20: 18 succeeded, 2 failed`."""
    counts = [f"{task[name]} {_SAID.get(name, name)}" for name in _COUNTS if task[name]]
    return f"{task['total']}: {', '.join(counts)}" if counts else str(task["total"])


def _steps(steps: list[dict[str, Any]]) -> str:
    """`2 of 3 begun: build, ship`."""
    begun = [step["name"] for step in steps if step["tasks"]]
    names = f": {', '.join(begun)}" if begun else ""
    return _plain(f"{len(begun)} of {len(steps)} begun{names}")


def _plain(text: str) -> str:
    """One line, of bounded length: names and reasons come from other machines."""
    line = "".join(one if one.isprintable() else " " for one in text)
    return line if len(line) <= MAX_CHARACTERS else line[:MAX_CHARACTERS] + "…"
