"""What do the programs say to each other? One record a message.

Each RPC method takes one argument, a map, and returns a map. `sendmsg` takes
{"type": …, "payload": {…}}. Unknown keys are ignored, so that either side may be
newer. Durations are seconds, `*_at` is a UNIX time in seconds. Output travels as
raw bytes, scripts as base64 text.
"""

from typing import Any

from msgspec import Struct, field

from wire.states import Cause, RunState, Stage, WordKind

PROTOCOL = 1  # carried by register; another number is ProtocolMismatch

MAX_SCRIPT_BYTES = 1 << 20
MAX_CHUNK_BYTES = 256 << 10  # of output, in one message
OUTPUT_HEAD_BYTES = 8 << 20  # of a run's output, what is kept from the front …
OUTPUT_TAIL_BYTES = 2 << 20  # … and from the end


class Envelope(Struct):
    """The argument of `sendmsg`; type is register (or reg), heartbeat, output, result, done."""

    type: str
    payload: dict[str, Any]


# ---- agent → master


class Register(Struct):
    """The one thing a stranger may send. `token` is needed once, to enrol a key."""

    id: str  # uuid4 hex, made by the agent
    hostname: str
    ip: list[str]
    instance: str  # hash of machine id, boot id and the journal's device:inode
    machine: str  # hash of the machine id
    slots: int
    version: str
    protocol: int
    facts: dict[str, Any] = {}
    token: str | None = None


class Registered(Struct):
    """`session` lives in this master's memory, for this connection."""

    session: str
    heartbeat_s: float
    poll_s: float  # how long a poll parks
    version: str
    protocol: int


class Heartbeat(Struct):
    session: str
    id: str
    hostname: str
    ip: list[str]
    busy: int
    clock: float  # the agent's wall clock


class HeartbeatAnswer(Struct):
    heartbeat_s: float
    skew_s: float  # agent's clock minus master's


class Held(Struct):
    """One journal entry, as the poll lists it."""

    run: str
    attempt: int
    stage: Stage


class Poll(Struct):
    """The argument of `take_task`: one snapshot of the journal."""

    session: str
    instance: str
    hw: int  # the highest grant number the journal has accepted
    free: int  # slots that could take a run now
    held: list[Held] = []


class TaskSpec(Struct):
    """A script and how to run it."""

    id: str  # the task's
    script: str  # base64
    name: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    timeout: float = 0.0  # 0: none
    grace: float = 10.0
    user: str | None = None  # None: whom the agent runs as
    cwd: str | None = None  # None: the user's home
    head_bytes: int = OUTPUT_HEAD_BYTES
    tail_bytes: int = OUTPUT_TAIL_BYTES


class Grant(Struct):
    """A run handed out. A void grant must never start: it only takes its number."""

    run: str
    attempt: int
    grant: int
    instance: str  # the only instance that may start it
    start_in: float  # seconds from now within which it must have started
    void: bool = False
    cause: Cause | None = None  # of a void grant: why
    task: TaskSpec | None = None  # None exactly for a void grant


class Word(Struct):
    """go: start what you hold ready. stop: for `cause`. recall: send the done record.

    A recall without a run asks for every done record with a grant above `since`.
    """

    kind: WordKind
    run: str | None = None
    attempt: int = 0
    cause: Cause | None = None
    since: int = 0


class Work(Struct):
    """The answer to a poll; empty at the end of the wait."""

    session: str
    grants: list[Grant] = []
    words: list[Word] = []


class Output(Struct):
    """A chunk at a byte offset. `gap_from`: the one jump, over the cap's gap [gap_from, offset)."""

    session: str
    run: str
    attempt: int
    offset: int
    data: bytes
    gap_from: int | None = None


class OutputAnswer(Struct):
    """The offset up to which the master has the output; the next chunk starts there.

    `refused`: the master wants no more of this output, ever (a stray, a deleted task).
    """

    offset: int
    refused: bool = False


class Result(Struct):
    """How an attempt ended; repeated until acknowledged."""

    session: str
    hw: int
    free: int
    run: str
    attempt: int
    grant: int
    state: RunState
    cause: Cause
    code: int | None  # None: nothing ran, or it cannot be known
    reason: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    killed: bool = False
    survivors: list[int] = []
    left_running: int = 0
    output_bytes: int = 0  # all that the script wrote
    output_sha256: str | None = None  # over all bytes; None: unknown
    output_gap: tuple[int, int] | None = None  # [from, to) that was not kept
    offset: int = 0  # of `data`, the last of the output, if it fits one message
    data: bytes = b""


class ResultAnswer(Struct):
    """Sent only once the verdict is durable. `stray`: the store does not know the run."""

    offset: int  # up to where the master has the output
    stray: bool = False
    refused: bool = False  # as in OutputAnswer


class DoneRecord(Struct):
    """What the journal remembers of a run that it has let go."""

    run: str
    attempt: int
    grant: int
    state: RunState
    code: int | None


class Done(Struct):
    """The answer to recall. `asked` names the runs that were asked for (None: all)."""

    session: str
    hw: int
    floor: int  # every done record with a grant above this is still kept
    records: list[DoneRecord]
    asked: list[str] | None = None


# ---- web → master: each request carries the caller's credential; the master judges it


class RegisterWeb(Struct):
    """sendmsg(register_web): the web's first call, and its probe. `token` is needed once."""

    version: str
    protocol: int
    token: str | None = None


class WebRegistered(Struct):
    version: str
    protocol: int


class Auth(Struct):
    token: str | None = None
    address: str = ""  # where the person sits, for the audit log


class Submission(Struct, forbid_unknown_fields=True):
    """A task as a person submits it; docs/api.md says what each field means."""

    script: str | None = None
    script_base64: str | None = None
    targets: list[str] | str = []
    name: str = ""
    timeout: float = 3600.0
    parallel: int | str = 1
    fail_rate: float | None = None
    fail_count: int | None = None
    on_limit: str = "finish"  # or "kill"
    priority: int = 0
    args: list[str] = []
    env: dict[str, str] = {}
    user: str | None = None
    cwd: str | None = None
    grace: float = 10.0
    expires_in: float = 86400.0
    offline: str = "wait"  # or "skip"
    lost_after: float = 900.0
    expect: str | None = None


class AddTask(Struct):
    auth: Auth
    submission: Submission
    key: str | None = None  # Idempotency-Key


class RetryTask(Struct):
    """Run a task again on the hosts whose runs are in `states`, all of them ends but SUCCEED.

    The new task has the script and the settings of the old one, and `retry_of`. Only runs that
    have ended are taken, so it may be asked for while others of the task still go on.
    """

    auth: Auth
    id: str  # the task's
    states: list[str]  # FAILED, TIMEOUT, SKIPPED, UNKNOWN, CANCELLED
    key: str | None = None  # Idempotency-Key


class ById(Struct):
    """get_task, cancel_task, get_run, cancel_run, get_agent."""

    auth: Auth
    id: str
    wait: float = 0.0  # get_task: answer at the end or after so many seconds


class ListAgents(Struct):
    """Hosts in the order of `sort`, hosts that are alike in it by hostname (web2 before web10).

    `sort`: hostname, state, busy, last_seen, version or clock_skew (how far off, either way);
    with "-" before it the other way round. `offset` skips rows after the cursor, for a window
    of rows; busy, last_seen and the like change while one turns pages, hostnames do not.
    """

    auth: Auth
    limit: int = 100
    cursor: str | None = None
    offset: int = 0
    text: str | None = None  # a part of the hostname, an address or the id, in any case
    state: str | None = None  # online, stale, offline
    label: str | None = None  # "key:value", or "key" for any value
    sort: str = "hostname"
    facts: bool = True  # False: rows come without their facts, which are most of their bytes


class ListTasks(Struct):
    """Newest first. A call looks at a bounded number of tasks: with filters a page may hold
    fewer rows than `limit`, even none, and still have `next`, with which the search goes on."""

    auth: Auth
    limit: int = 100
    cursor: str | None = None
    state: str | None = None
    text: str | None = None  # a part of the name or the id, in any case
    created_by: str | None = None
    agent: str | None = None  # id or hostname of a host that the task runs on


class ListRuns(Struct):
    auth: Auth
    task: str
    state: str | None = None
    limit: int = 100
    cursor: str | None = None


class ListRunsOfAgent(Struct):
    """Runs of one host, newest task first, each with `task_name`.

    As in ListTasks a page may hold fewer rows than `limit` and still have `next`.
    """

    auth: Auth
    agent: str  # its id
    limit: int = 100
    cursor: str | None = None


class GetGroups(Struct):
    """get_groups: the runs of a task by result, largest group first."""

    auth: Auth
    task: str
    limit: int = 100


class GetGrid(Struct):
    """get_grid: the state of the runs [offset, offset + limit) of a task, in their order."""

    auth: Auth
    task: str
    offset: int = 0
    limit: int = 10_000


class GetTaskTargets(Struct):
    """get_task_targets: the hosts of a task as they are now, to run it again.

    `states` not empty: only the hosts whose runs are in one of these states.
    """

    auth: Auth
    task: str
    states: list[str] = []


class GetOutput(Struct):
    """Stored bytes of a run from `offset` of the stored representation (see docs/api.md)."""

    auth: Auth
    run: str
    offset: int = 0
    limit: int = 1 << 20


class GetTargets(Struct):
    auth: Auth
    expr: str


class SetLabels(Struct):
    """labels of many agents at once: {agent id: {label: value, or None to remove it}}."""

    auth: Auth
    labels: dict[str, dict[str, str | None]]


class Changes(Struct):
    """Long poll of the event ring. `since` None: from now on."""

    auth: Auth
    since: str | None = None
    wait: float = 30.0


class JustAuth(Struct):
    """whoami, release_handouts, get_status."""

    auth: Auth


# ---- master → web: values as HTTP shows them (times ISO 8601 UTC with milliseconds)


class WhoAmI(Struct):
    """Whose token it is; role is viewer, operator or admin."""

    name: str
    role: str


class Added(Struct):
    """`created` False: the Idempotency-Key had made this task before.

    `left_out`: of a retry, the hostnames that are no longer enrolled (only when `created`).
    """

    id: str
    created: bool
    left_out: list[str] = []


class StatusView(Struct):
    """How the master is. `held`: why nothing is handed out to anybody; None while it is."""

    version: str
    held: str | None
    held_since: str | None
    online: int
    stale: int
    offline: int
    tasks_active: int  # that have not ended


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
    task_name: str | None = None  # only get_runs_of_agent fills it


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
    """One change. `id` is "<master start id>-<n>"; kind is task, run or output.

    `data` is a TaskView without script for a task, otherwise a RunView. `moved`, of a task:
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
