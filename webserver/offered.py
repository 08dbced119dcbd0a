"""What do the pages of tasks and plans offer to this person?

The master judges every act, and says with a task or plan what it would let this person do: nobody
is shown what is refused then.
"""

from webserver.api_tasks import RETRIED
from webserver.context import Caller
from wire.plans import PlanView
from wire.views import TaskView

AGAIN = {
    "failed": "on the hosts that have not succeeded",
    "all": "on all hosts that it names now",
}
RESUMABLE = ("FAILED", "CANCELLED")


def may_steer(caller: Caller, task: TaskView) -> bool:
    """Cancel, pause and change it, and whatever else is done with a queue."""
    return caller.may(None if task.may is None else task.may.steer)


def retriable(caller: Caller, task: TaskView) -> dict[str, int]:
    """{state: how many runs are in it}, of those that the person may retry."""
    said = {name: None if task.may is None else name in task.may.retry for name in RETRIED}
    return {
        name: task.counts[name]
        for name in RETRIED
        if task.counts.get(name) and caller.may(said[name])
    }


def may_cancel(caller: Caller, plan: PlanView) -> bool:
    return caller.may(None if plan.may is None else plan.may.cancel)


def resumable(caller: Caller, plan: PlanView) -> dict[str, str]:
    """On which hosts the person may resume it, each with its words."""
    if plan.state not in RESUMABLE:
        return {}
    said = {name: None if plan.may is None else name in plan.may.resume for name in AGAIN}
    return {name: words for name, words in AGAIN.items() if caller.may(said[name])}
