"""What goes into a verb of the store, and what does it say back? Plain structs, no behaviour.

A verb never wakes, publishes or answers anybody: it returns what has changed, and
the hub acts on that after the commit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from master.records import Agent, Run, Task
from master.secrets import Sealed
from wire.messages import Grant, Held, OutputAnswer, ResultAnswer, Word
from wire.queues import ItemsAdded, PutBackDone
from wire.states import RunState, Standing


class QueueState(Struct, frozen=True, kw_only=True):
    """Whether anything of a queue may be taken, by agents that may take from it.

    `takable`: something now, as far as the task's state and places, the rate and the pauses
    between attempts go. `next_at`: otherwise the time from which on; None: not before something
    else changes.
    """

    task: str
    name: str
    untaken: int  # runs to be
    retrying: int  # runs that wait for another attempt
    takable: bool
    next_at: float | None
    room: int | None  # runs that the rate lets through just now; None: it has none
    per_agent: int
    agents_max: int
    filling: bool = False  # its items are not all there


class Changed(Struct, frozen=True):
    """What a committed verb touched, for events and wake-ups.

    `tasks` and `runs` are the records as they are after the commit, so that the hub can
    show them without another read. Runs that one statement moved together are not listed;
    `moved` are the ids of their tasks.
    `freed`: tasks in which a place became free, so that a waiting run may start.
    `wake`: agents that have something to be told (a grant, a stop, a recall).
    `ended`: tasks that reached their end.
    `queues`: where the queues among `tasks` are now, and those whose items or pace changed.
    """

    tasks: tuple[Task, ...] = ()
    runs: tuple[Run, ...] = ()
    wake: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    freed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    queues: tuple[QueueState, ...] = ()


class NewQueue(Struct, frozen=True, kw_only=True):
    """What a task has besides if it is a queue; `items` are texts that were found sound."""

    items: Sequence[str] = ()
    open: bool = False  # more are to come
    name: str = "default"
    batch: int = 1
    rate: float | None = None
    burst: int = 1
    per_agent: int = 0
    agents_max: int = 0
    max_attempts: int = 3
    retry_pause: float = 1.0
    retry_codes: list[int] | None = None


class NewTask(Struct, frozen=True, kw_only=True):
    """A submission that was found sound, with its targets resolved, in the order they shall run.

    A queue has no targets: whoever may, takes.
    """

    id: str
    script: bytes
    targets: list[tuple[str, str]]  # (agent id, hostname as it is now)
    name: str
    created_by: str
    parallel: int  # runs at once, resolved; 0: all
    fail_count: int | None
    fail_rate: float | None
    on_limit: str
    priority: int
    offline: str
    expires_in: float
    lost_after: float
    settings: dict[str, Any]
    skip: frozenset[str] = frozenset()  # agents that are offline, where offline is "skip"
    skip_reason: str = "the host was offline at submission"
    key: str | None = None  # Idempotency-Key, scoped to created_by
    body_hash: str = ""  # of the submission, to tell a repeat from another body
    retry_of: str | None = None  # the task whose runs it repeats
    rolling: str = ""  # sizes of its waves, as in master/waves.py; "": all at once
    between_waves: str = "go"
    wave_pause: float = 0.0
    saved: tuple[str, int] | None = None  # name and version of the saved script that it runs
    secrets: tuple[Sealed, ...] = ()  # whose names are in the settings
    schedule: str | None = None  # that makes it
    due_at: float | None = None  # for which due instant
    plan: str | None = None  # of which it is a step's task
    queue: NewQueue | None = None  # None: a fan-out


class Retry(Struct, frozen=True, kw_only=True):
    """A wish to run a task again on the hosts whose runs are in `states`."""

    id: str  # of the new task
    task: str
    states: tuple[RunState, ...]
    created_by: str
    offline: frozenset[str] = frozenset()  # agents that are; matters where offline is "skip"
    reach: frozenset[str] | None = None  # agents that the person may act on; None: all
    within: str | None = None  # the expression that names those
    hosts: Mapping[str, str] = {}  # {id: hostname} that a queue means now; for a person with limits
    key: str | None = None  # Idempotency-Key, scoped to created_by
    body_hash: str = ""


class Added(Struct, frozen=True):
    """`created` False: the same key had made this task before, nothing was changed.

    `queues`: where it is now, if it is a queue.
    """

    task: Task
    created: bool
    queues: tuple[QueueState, ...] = ()


class Retried(Struct, frozen=True):
    """`waiting`: agents whose runs wait, in order. `left_out`: hostnames no longer enrolled.
    `queues`: where the new task's queue is, if it is one; it may not be full, see master/filler.py.
    """

    task: Task
    created: bool
    waiting: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    queues: tuple[QueueState, ...] = ()


class Enrolled(Struct, frozen=True):
    """`created`: this key was not known before. The agent may have become QUARANTINED by it.

    `rekeyed`: it has a new key; the one that it had before is nobody's.
    """

    agent: Agent
    created: bool
    changed: Changed = Changed()
    rekeyed: bool = False


class Seen(Struct, frozen=True):
    """When an agent was heard last. `claimed`: the hostname it claims, if that is not accepted."""

    at: float
    claimed: str | None
    ip: list[str]


class PollAnswer(Struct, frozen=True):
    """What a poll is to be answered with, once this is committed.

    Without grants and words the poll stays parked. A standing other than
    ENROLLED: the agent is refused. `hold`: since this poll nothing is handed out to
    anybody, and why. `strays`: runs that the agent holds and the store does not know.
    `idle`: but for these grants nothing was handed out to the agent that is open, and nothing
    waits that it could take.
    """

    grants: list[Grant]
    words: list[Word]
    standing: Standing
    changed: Changed = Changed()
    hold: str | None = None
    strays: tuple[Held, ...] = ()
    idle: bool = False
    reason: str = ""  # of a standing other than ENROLLED


class ItemsTaken(Struct, frozen=True):
    """What came of a part of an upload: it is acknowledged after the commit."""

    answer: ItemsAdded
    changed: Changed = Changed()


class Filled(Struct, frozen=True):
    """One step of filling a queue; `spent_s`: in the writer's thread, without the commit."""

    changed: Changed = Changed()
    spent_s: float = 0.0


class PutBackTaken(Struct, frozen=True):
    answer: PutBackDone
    changed: Changed = Changed()


class Finished(Struct, frozen=True):
    answer: ResultAnswer
    changed: Changed = Changed()


class Appended(Struct, frozen=True):
    """`record` None: a stray, no run of this agent."""

    answer: OutputAnswer
    record: Run | None
    grown: bool  # bytes were added


class NewSecret(Struct, frozen=True):
    """The only time the secret is seen: the store keeps its SHA-256."""

    id: str
    secret: str


class Peer(Struct, frozen=True):
    """A CURVE key that may speak: role is agent or web; `agent` its id, for an agent."""

    key: str
    role: str
    agent: str | None = None
    standing: Standing = Standing.ENROLLED


class Hold(Struct, frozen=True):
    """Why nothing is handed out to anybody until an operator releases it."""

    reason: str
    since: float
