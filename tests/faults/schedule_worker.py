"""One of several processes that fire the schedules of one store; killed by its test at any moment.

Usage: schedule_worker.py STORE. The real scheduler, on the real clock; no agents, no wire.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from gevent import monkey

monkey.patch_all()

from master.changes import Changed, QueueState  # noqa: E402
from master.clock import SteadyClock  # noqa: E402
from master.composer import Composer  # noqa: E402
from master.dispatch import Dispatcher  # noqa: E402
from master.live import Live  # noqa: E402
from master.plan import Plan  # noqa: E402
from master.plan_judge import PlanJudge  # noqa: E402
from master.planner import Planner  # noqa: E402
from master.records import Task  # noqa: E402
from master.roster import Roster  # noqa: E402
from master.schedule_aims import ScheduleAims  # noqa: E402
from master.scheduler import Scheduler  # noqa: E402
from master.secrets import Vault  # noqa: E402
from master.storage import Storage  # noqa: E402


class Silent(Dispatcher):
    """Wakes nobody."""

    def __init__(self) -> None:
        self.listeners = []

    def opened(self, task: Task, agents: list[str], queues: Sequence[QueueState] = ()) -> None: ...

    def apply(self, changed: Changed) -> None: ...

    def plan_changed(self, plan: Plan) -> None: ...


def main(path: str) -> None:
    storage = Storage(Path(path), readers=1)
    roster = Roster(5.0)
    roster.load(storage.all_agents().wait(), [])
    composer = Composer(Live(roster, SteadyClock()), storage.scripts, Vault(b"k" * 32))
    judge = PlanJudge(composer, roster, storage.callbacks)
    dispatcher, people = Silent(), storage.people
    planner = Planner(storage.plans, roster, dispatcher, people, composer)
    aims = ScheduleAims(storage.schedules, composer, judge, roster, people, storage.callbacks)
    Scheduler(storage.schedules, aims, dispatcher, planner).run()


if __name__ == "__main__":
    main(sys.argv[1])
