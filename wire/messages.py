"""What do the programs say to each other? One record a message.

Each RPC method takes one argument, a map, and returns a map. `sendmsg` takes
{"type": …, "payload": {…}}. Unknown keys are ignored, so that either side may be
newer. Durations are seconds, `*_at` is a UNIX time in seconds. Output travels as
raw bytes, scripts as base64 text.
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

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
    nonce: str = ""  # random, of this process: two that speak in turn are two hosts
    # The named queues it serves, first come first; []: all; None: it knows of no queues.
    queues: list[str] | None = None


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
    secrets: dict[str, str] = {}  # as variables of the environment, hidden in the output
    secret_files: dict[str, str] = {}  # as files, whose paths are in the variables
    broken: str | None = None  # why it cannot run: it fails at once, for this reason

    @property
    def has_secrets(self) -> bool:
        return bool(self.secrets or self.secret_files)

    def without_secrets(self) -> "TaskSpec":
        """With their names alone: what may be written down and shown."""
        if not self.has_secrets:
            return self
        names = dict.fromkeys(self.secrets, ""), dict.fromkeys(self.secret_files, "")
        return replace(self, secrets=names[0], secret_files=names[1])


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
    item: str | None = None  # of a queue: what the script is to work on
    batch: bool = False  # `item` is the lines of several items


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
    failed_items: list[int] = []  # of a batch: the lines, counted from 0, that are not done


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
