"""What does the web ask of the master? One record a request.

Each carries the credential of the person or program behind it; the master judges it.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType


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


class Saved(Struct, forbid_unknown_fields=True):
    """A saved script instead of a text; `version` None: the latest that is online."""

    script: str
    version: int | None = None
    parameters: dict[str, str] = {}


class ItemsFrom(Struct, forbid_unknown_fields=True):
    """Items that are the output of another task's runs, in the order of those runs.

    `states`: only runs that are in one of these. `split`: "lines": each line that is not empty is
    an item; "output": the whole output of a run is one.
    """

    task: str
    states: tuple[str, ...] = ("SUCCEED",)
    split: str = "lines"


class Submission(Struct, forbid_unknown_fields=True):
    """A task as a person submits it; docs/api.md says what each field means.

    What is None depends on the mode, see wire/defaults.py.
    """

    script: str | None = None
    script_base64: str | None = None
    saved: Saved | None = None
    targets: list[str] | str = []
    name: str = ""
    timeout: float = 3600.0
    parallel: int | str | None = None
    fail_rate: float | None = None
    fail_count: int | None = None
    on_limit: str = "finish"  # or "kill"
    priority: int = 0
    args: list[str] = []
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}  # as `env`, and never shown
    secret_files: dict[str, str] = {}  # content of files, whose paths the variables hold
    user: str | None = None
    cwd: str | None = None
    grace: float = 10.0
    expires_in: float | None = None
    offline: str = "wait"  # or "skip"
    lost_after: float | None = None
    rolling: str | None = None  # sizes of waves, such as "1 10% +10"; None: no waves
    between_waves: str = "go"  # or "pause_after_failure", "ask"
    wave_pause: float = 0.0
    callbacks: list[str] = []  # names of those that shall be told of this task
    expect: str | None = None
    mode: str = "fan_out"  # one run a host; or "queue": one run an item, on any of the hosts
    items: list[Any] = []  # of a queue: texts, or JSON values
    items_from: ItemsFrom | None = None
    open: bool = False  # items may be added until it is closed
    queue: str = "default"  # name; an agent may serve some queues only, in an order of its own
    batch: int = 1  # items of one run
    rate: float | None = None  # items a second over the whole task; None: no limit
    burst: int | None = None  # items that may be taken at once after a lull
    per_agent: int = 0  # runs at once on one agent; 0: as many as it has slots
    agents_max: int = 0  # agents that work on it at a time; 0: all that may
    max_attempts: int = 3
    retry_pause: float = 1.0  # seconds before the second attempt, doubled for each further one
    retry_codes: list[int] | None = None  # exit codes that are tried again; None: all but 0


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


class TaskChanges(Struct, forbid_unknown_fields=True):
    """What may still be changed of a task that has not ended; what is absent stays."""

    parallel: int | str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    fail_count: int | UnsetType | None = UNSET
    fail_rate: float | UnsetType | None = UNSET
    rolling: str | UnsetType = UNSET  # of the waves to come; only of a task that has some
    between_waves: str | UnsetType = UNSET
    wave_pause: float | UnsetType = UNSET
    rate: float | UnsetType | None = UNSET  # this and what follows: of a queue
    burst: int | UnsetType | None = UNSET
    per_agent: int | UnsetType = UNSET
    agents_max: int | UnsetType = UNSET
    max_attempts: int | UnsetType = UNSET


class ChangeTask(Struct):
    auth: Auth
    id: str
    changes: TaskChanges


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
    standing: str | None = None  # enrolled, quarantined, revoked, pending; None: all but pending
    renamed: bool = False  # True: only hosts whose new hostname is not accepted


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
    """get_groups: the runs of a task by result, largest group first.

    `states` not empty: only runs in one of these. Of a queue they are those that were given up,
    unless it says otherwise, and no more than its first few thousand.
    """

    auth: Auth
    task: str
    limit: int = 100
    states: list[str] = []


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
    attempt: int | None = None  # of a queue's run an earlier one; None: the present one


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
