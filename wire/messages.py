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
    """A chunk at a byte offset. `gap_from`: the one marked jump, of the cap's gap [gap_from, offset)."""

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


class ById(Struct):
    """get_task, cancel_task, get_run, cancel_run, get_agent, get_script."""

    auth: Auth
    id: str
    wait: float = 0.0  # get_task: answer at the end or after so many seconds


class ListAgents(Struct):
    auth: Auth
    limit: int = 100
    cursor: str | None = None


class ListTasks(Struct):
    auth: Auth
    limit: int = 100
    cursor: str | None = None
    state: str | None = None


class ListRuns(Struct):
    auth: Auth
    task: str
    state: str | None = None
    limit: int = 100
    cursor: str | None = None


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
    """whoami, release_handouts."""

    auth: Auth


# ---- master → web: values as HTTP shows them (times ISO 8601 UTC with milliseconds)


class WhoAmI(Struct):
    """Whose token it is; role is viewer, operator or admin."""

    name: str
    role: str


class Added(Struct):
    """`created` False: the Idempotency-Key had made this task before."""

    id: str
    created: bool


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


class OutputView(Struct):
    """`size` is the length of the stored representation so far; `ended`: it will not grow."""

    data: bytes
    offset: int
    size: int
    ended: bool


class TargetsView(Struct):
    nodeset: str
    count: int
    digest: str
    offline: int
    ids: list[str]


class Page(Struct):
    items: list[Any]
    next: str | None = None


class Event(Struct):
    """One change. `id` is "<master start id>-<n>"; kind is task, run or output."""

    id: str
    kind: str
    task: str
    data: dict[str, Any] = field(default_factory=dict)


class EventsAnswer(Struct):
    """`reset`: `since` is no longer in the ring (or of another master start): look afresh."""

    next: str
    events: list[Event]
    reset: bool = False
