"""What does the master answer the web? Values as HTTP shows them.

Times are ISO 8601, UTC, with milliseconds.
"""

from typing import Any

from msgspec import Struct, field

from wire.queues import QueueView
from wire.states import RunState


class WhoAmI(Struct):
    """Whose session or token it is, and what it may do at most.

    `role`: viewer, operator or admin. `hosts`: the expression an operator is limited to; None: no
    limit. `kind`: session or token. `person`: the person's id; None: a token that is nobody's.
    """

    name: str
    role: str
    hosts: str | None = None
    kind: str = "token"
    person: str | None = None


class Added(Struct):
    """`created` False: the Idempotency-Key had made this task before.

    `left_out`: of a retry, the hostnames that are no longer enrolled (only when `created`).
    """

    id: str
    created: bool
    left_out: list[str] = []


class StatusView(Struct):
    """How the master is. `held`: why nothing is handed out to anybody; None while it is.

    `online`, `stale` and `offline` are of hosts that are enrolled.
    """

    version: str
    held: str | None
    held_since: str | None
    online: int
    stale: int
    offline: int
    tasks_active: int  # that have not ended
    pending: int = 0  # hosts that wait to be accepted
    quarantined: int = 0
    renamed: int = 0  # hosts whose new hostname waits to be accepted


class Changed(Struct):
    """How many agents set_labels has changed."""

    changed: int


class AgentView(Struct):
    id: str
    hostname: str
    ip: list[str]
    labels: dict[str, str]
    facts: dict[str, Any]
    state: str
    standing: str
    busy: int
    slots: int
    last_seen: str | None
    version: str
    clock_skew: float | None = None
    registered_at: str | None = None  # when it was enrolled
    instance: str | None = None  # which machine, boot and journal it was last
    claimed_hostname: str | None = None  # what it calls itself now; not accepted yet
    reason: str = ""  # of a standing other than enrolled
    joined_by: str = ""  # name of the join token that it came with
    fingerprint: str | None = None  # of its key; of a host that waits, or asked for alone
    may_run: bool | None = None  # may who asks run scripts on it? Only of one that was asked for


class WaveView(Struct):
    """Where a rolling task is: wave `number` of `of`; the first `released` targets had their turn.

    `resume_at`: when a pause between two waves ends by itself.
    """

    number: int
    of: int
    released: int
    resume_at: str | None = None


class TaskRights(Struct):
    """What the person who asks may do with a task: what is not here is refused with 403.

    `steer`: cancel, pause, resume and change it; of a queue also add items, close it and put
    runs back. `retry`: the states of runs that a retry may name. Whether it can be done just now,
    the state of the task says.
    """

    steer: bool
    retry: list[str]


class TaskView(Struct):
    id: str
    name: str
    state: str
    reason: str
    created_by: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    total: int
    counts: dict[str, int]
    settings: dict[str, Any]
    script_base64: str | None = None  # only get_task fills it
    retry_of: str | None = None  # the task whose runs this one repeats
    wave: WaveView | None = None  # None: the task does not roll
    stop: str | None = None  # cancel or limit: nothing more of it starts
    schedule: str | None = None  # id of the schedule that made it
    due_at: str | None = None  # the instant at which that was due
    plan: str | None = None  # id of the plan of which it is a step's task
    mode: str = "fan_out"  # or "queue"
    queue: QueueView | None = None  # of a queue; events leave it out
    may: TaskRights | None = None  # of one task that a person has asked for, not in lists or events


class RunView(Struct):
    id: str
    task: str
    agent: str
    hostname: str
    attempt: int
    state: str
    reason: str
    code: int | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    output_bytes: int
    output_stored: int
    output_sha256: str | None
    output_gap: tuple[int, int] | None
    killed: bool
    survivors: list[int]
    left_running: int
    seq: int = 0  # its place among the targets, from 0
    task_name: str | None = None  # only get_runs_of_agent fills it
    item: str | None = None  # of a queue: its beginning
    due_at: str | None = None  # of a queue's run that waits for its next attempt


class PastState(Struct):
    """What a run was called until something better was known, as after a host came back."""

    attempt: int
    state: str
    reason: str
    at: str
    replaced_at: str


class OneRun(RunView):
    """A run that was asked for by itself; `history` has the oldest first.

    `may_cancel`: whether the person who asks has the right to, while it has not ended.
    """

    history: list[PastState] = []
    may_cancel: bool | None = None


class GroupView(Struct):
    """Runs that came to the same: state, exit code and bytes of output.

    Runs that wait are one group, runs that run another. Runs whose checksum is not known (they
    never started, or their agent was lost) are grouped by state and code alone;
    `output_sha256` and `output_bytes` are None then.
    """

    state: str
    code: int | None
    output_sha256: str | None
    output_bytes: int | None
    reason: str  # "" where the runs of the group differ in it
    count: int
    nodeset: str  # folded; one that is too long ends in "…"
    runs: list[str]  # of the first three, in the order of the task
    hosts: list[str]  # their hostnames


class GroupsView(Struct):
    """`total`: how many groups there are; the smallest may be left out, see `limit`."""

    groups: list[GroupView]
    total: int


LETTERS = {
    RunState.WAITING: "W",
    RunState.RUNNING: "R",
    RunState.SUCCEED: "S",
    RunState.FAILED: "F",
    RunState.TIMEOUT: "T",
    RunState.CANCELLED: "C",
    RunState.SKIPPED: "K",
    RunState.UNKNOWN: "U",
}


class GridView(Struct):
    """Columns of equal length, one place a run; `states` has a letter of LETTERS for each.

    Ids of runs that were made together begin alike: an id is `prefix` and what `runs` has.

    `since`: what `changes` answers from this cursor on is newer than the grid, so that a page
    that draws it and then follows misses nothing.
    """

    offset: int
    total: int  # runs of the task
    prefix: str
    runs: list[str]
    hosts: list[str]
    states: str
    since: str


class OutputView(Struct):
    """`size` is the length of the stored representation so far.

    `ended`: the run has ended and nothing more is expected: all that it wrote is here
    (`complete`), or there is no room for more, or its host is offline or no longer enrolled, or
    the run is given up for lost, or ten minutes have passed. A host that comes back after all
    may still add to it. `complete` False at the end: some was lost, or may have been. A new
    `attempt` begins at 0 again.
    """

    data: bytes
    offset: int
    size: int
    ended: bool
    complete: bool = True
    state: str = ""  # of the run
    attempt: int = 1
    agent: str = ""


class TargetsView(Struct):
    nodeset: str
    count: int
    digest: str
    offline: int
    ids: list[str]
    left_out: list[str] = []  # of get_task_targets: hostnames that are no longer enrolled


class Page(Struct):
    """`next` None: this was the last page. `total`: rows of all pages, where it is known."""

    items: list[Any]
    next: str | None = None
    total: int | None = None


class Event(Struct):
    """One change. `id` is "<master start id>-<n>"; kind is task, run, output or plan.

    `data` is a TaskView without script for a task, a PlanLine for a plan (whose `task` is ""),
    otherwise a RunView. `moved`, of a task:
    many of its runs changed together and have no events of their own; get its grid again.
    """

    id: str
    kind: str
    task: str
    data: dict[str, Any] = field(default_factory=dict)
    moved: bool = False


class EventsAnswer(Struct):
    """`reset`: `since` is no longer in the ring (or of another master start): look afresh."""

    next: str
    events: list[Event]
    reset: bool = False
