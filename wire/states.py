"""What can a run, a task and an agent be? The names; the legal moves live in master/state.py."""

from enum import StrEnum


class RunState(StrEnum):
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEED = "SUCCEED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"  # never started: limit reached, expired, host deleted
    UNKNOWN = "UNKNOWN"  # may have run; the outcome cannot be known


class TaskState(StrEnum):
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    SUCCEED = "SUCCEED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class AgentState(StrEnum):
    """How recently the master heard of an agent."""

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"


class Standing(StrEnum):
    """What the master thinks of an agent's identity. Only ENROLLED agents are given work."""

    ENROLLED = "enrolled"
    PENDING = "pending"  # came with a join token that lets in by hand; waits for an admin
    QUARANTINED = "quarantined"  # its identity is in use twice
    REVOKED = "revoked"
    DELETED = "deleted"  # in no list; what ran there still names it


class Stop(StrEnum):
    """Why a task hands out nothing more. The first cause wins."""

    CANCEL = "cancel"
    LIMIT = "limit"


class Want(StrEnum):
    """What the master wants of a run that was already handed out."""

    CANCEL = "cancel"
    SKIP = "skip"
    LIMIT = "limit"  # the task's on_limit is "kill"


class Stage(StrEnum):
    """Where a run stands in an agent's journal, as its poll says."""

    READY = "ready"  # accepted, not started, waits for `go`
    LIVE = "live"
    STOPPING = "stopping"
    ENDED = "ended"  # the verdict is on the agent's disk, not yet acknowledged


class Cause(StrEnum):
    """Why a run ended, as the agent's journal has it. The cause decides the state, not the code."""

    EXIT = "exit"
    TIMEOUT = "timeout"
    CANCEL = "cancel"
    LIMIT = "limit"
    SKIP = "skip"
    BROKEN = "broken"  # could not be started: no interpreter, no user, no disk
    LOST = "lost"  # cannot be known


class WordKind(StrEnum):
    GO = "go"
    STOP = "stop"
    RECALL = "recall"


ENDED_RUN = frozenset(RunState) - {RunState.WAITING, RunState.RUNNING}
RUN_FAILURES = frozenset({RunState.FAILED, RunState.TIMEOUT, RunState.UNKNOWN})
ENDED_TASK = frozenset({TaskState.SUCCEED, TaskState.FAILED, TaskState.CANCELLED})
