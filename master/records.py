"""What does the master remember? Frozen records, one a row; decisions take and return them."""

from typing import Any

from msgspec import Struct

from wire.states import RunState, Standing, Stop, TaskState, Want


class Agent(Struct, frozen=True, kw_only=True):
    """The row of an agent. `granted`: number of the last hand-out; `acked`: highest hw seen."""

    id: str
    key: str  # CURVE public key, Z85
    hostname: str
    ip: list[str]
    labels: dict[str, str]
    facts: dict[str, Any]
    version: str
    machine: str
    instance: str
    past_instances: list[str]
    slots: int
    standing: Standing
    granted: int = 0
    acked: int = 0
    registered_at: float = 0.0
    last_seen: float = 0.0  # written every few seconds, not at each message
    claimed_hostname: str | None = None  # what it calls itself now; None: what was accepted
    reason: str = ""  # of a standing other than ENROLLED
    joined_by: str = ""  # name of the join token that it came with


class Task(Struct, frozen=True, kw_only=True):
    """The row of a task with its guarded counters; the script lies in a row of its own.

    The counters by run state sum to `total` at every commit.
    """

    id: str
    seq: int  # order of submission; older first within a priority
    name: str
    state: TaskState
    reason: str
    stop: Stop | None
    created_by: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    parallel: int  # runs at once, resolved at submission; 0: all
    fail_count: int | None  # most failures tolerated; None: not given
    fail_rate: float | None
    on_limit: str  # finish | kill
    priority: int
    offline: str  # wait | skip
    expires_at: float
    lost_after: float
    total: int
    waiting: int
    running: int
    succeed: int = 0
    failed: int = 0
    timeout: int = 0
    cancelled: int = 0
    skipped: int = 0
    unknown: int = 0
    retry_of: str | None = None  # the task whose runs this one repeats
    rolling: str = ""  # sizes of its waves; "": one wave of all
    between_waves: str = "go"  # go | pause_after_failure | ask
    wave_pause: float = 0.0  # seconds between two waves
    wave: int = 0  # number of the present one, from 1
    wave_part: int = 0  # place in `rolling` of the next one's size
    wave_size: int = 0
    wave_failed: int = 0  # failures before the present wave
    released: int | None = None  # runs before this place may start; None: all
    resume_at: float | None = None  # when a PAUSED task goes on by itself
    saved_script: str | None = None  # the saved script that it runs
    saved_version: int | None = None
    cancelled_by: str | None = None  # who has cancelled it
    schedule: str | None = None  # that made it
    due_at: float | None = None  # for which due instant of the schedule
    plan: str | None = None  # of which it is a step's task
    mode: str = "fan_out"  # a run a target; or "queue": a run an item, on any agent that may
    open: bool = False  # of a queue: items may still be added
    settings: dict[str, Any] = {}  # as submitted; also args, env, user, cwd, timeout, grace


class Run(Struct, frozen=True, kw_only=True):
    """The row of a run. `grant`: number of its hand-out, None while it waits."""

    id: str
    task: str
    seq: int  # place among the runs of its task, from 0
    agent: str
    hostname: str  # as it was at submission
    attempt: int
    state: RunState
    reason: str
    want: Want | None
    grant: int | None
    instance: str | None  # the agent instance that it was handed to
    start_by: float
    settled: bool  # nothing more can be learnt about an UNKNOWN run
    created_at: float
    priority: int  # of its task, for the index that claims walk
    task_seq: int
    started_at: float | None = None
    ended_at: float | None = None
    granted_at: float | None = None
    code: int | None = None
    killed: bool = False
    survivors: list[int] = []
    left_running: int = 0
    output_bytes: int = 0
    output_stored: int = 0
    output_sha256: str | None = None
    output_gap: tuple[int, int] | None = None
    cancelled_by: str | None = None  # who wanted it, or its task, to be stopped
    due_at: float | None = None  # of a queue, while it waits for another attempt: from when on
    tries: int = 1  # attempts since it was taken, or put back, the present or next one included
    failed_items: list[int] = []  # of a batch: its lines that are not done; none: all of them


class Slow(Struct, frozen=True, array_like=True):
    """A run of a queue that took long."""

    run: str
    seq: int
    seconds: float


class Filling(Struct, frozen=True, kw_only=True):
    """A queue gets the items of runs in these states of the task that it retries."""

    states: list[RunState]
    next: int = 0  # number in that task from which on they are still to come


class Queue(Struct, frozen=True, kw_only=True):
    """What a task has besides, if it is a queue: where it stands in its items, and how it goes on.

    Runs get the numbers of the items that they are made of, so `taken` is the number of the next
    run and of all that were made. What is left is `total - taken` of the task, unless `rest` says
    what has become of it.
    """

    id: str  # of the task
    task_seq: int
    name: str  # that agents ask for
    batch: int  # items of one run
    rate: float | None  # items a second; None: as fast as they are taken
    burst: int
    tokens: float  # items that may be handed out, as it was at `tokens_at`; below 0: a debt
    tokens_at: float
    per_agent: int  # runs at once on one agent; 0: as many as it has slots
    agents_max: int  # agents at once; 0: all that may. The hub sees to it
    max_attempts: int
    retry_pause: float  # seconds before the second attempt, doubled for each further one
    retry_codes: list[int] | None  # exit codes that are tried again; None: all but 0
    items: int = 0
    taken: int = 0
    retry_at: float | None = None  # no further attempt is due before; None: no run waits for one
    rest: RunState | None = None  # of items that nobody took: CANCELLED or SKIPPED
    rest_reason: str = ""
    slowest: list[Slow] = []
    filling: Filling | None = None  # what it still gets; nothing is handed out before


class Attempt(Struct, frozen=True, kw_only=True):
    """An attempt that was followed by another, as the agent that had it may still speak of it.

    `state`: FAILED, TIMEOUT, UNKNOWN, LAPSED while nobody knows how it ended, or SUCCEED if it
    came too late. `told`: its agent has said how it ended.
    """

    id: str  # run.attempt
    run: str
    task: str
    attempt: int
    agent: str
    hostname: str
    grant: int
    instance: str
    start_by: float
    state: str
    reason: str
    told: bool
    code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    output_bytes: int = 0
    output_stored: int = 0
    output_sha256: str | None = None
    output_gap: tuple[int, int] | None = None


class Item(Struct, frozen=True, array_like=True):
    """What a run is to be made of: an item's text, or the lines of `items` of them."""

    seq: int
    items: int
    content: str
