"""What is asked of queue tasks, and what is shown of them? One record a request, as in requests.

An item is text of at most MAX_ITEM_BYTES without NUL; a JSON value that is no string is its
compact text.
"""

from msgspec import Struct

from wire.requests import Auth

MAX_ITEM_BYTES = 64 << 10
MAX_ITEMS = 1_000_000  # of one task
MAX_BATCH = 1_000
ITEMS_AT_ONCE = 2_000  # in one message …
ITEMS_BYTES_AT_ONCE = 1 << 20  # … and their bytes


class AddItems(Struct):
    """A part of an upload. `upload` names it, `start` is the place of the first item in it.

    What the store has of the upload already is passed over, so that a part can be sent again.
    """

    auth: Auth
    id: str  # the task's
    upload: str
    start: int
    items: list[str]


class ItemsAdded(Struct):
    """`accepted`: items of this upload in the store; `items`: of the task."""

    accepted: int
    items: int


class PutBack(Struct):
    """Give dead runs their attempts again. `runs` None: all dead runs of the task."""

    auth: Auth
    id: str  # the task's
    runs: list[str] | None = None


class PutBackDone(Struct):
    """`left`: there are more dead runs than one call puts back; call again."""

    count: int
    left: bool = False


class GetResults(Struct):
    """A page of items with what became of them, in their order."""

    auth: Auth
    id: str  # the task's
    limit: int = 1000
    cursor: str | None = None
    states: list[str] = []  # none: all; "DEAD" is FAILED, TIMEOUT and UNKNOWN
    output: bool = False  # with the first bytes of it


class ResultView(Struct):
    """One run of a queue. `run` None: nobody has taken the item, and `state` is that of waiting
    or of what became of all that waited."""

    seq: int
    items: list[str]  # one, but for a batch
    run: str | None
    state: str
    attempt: int
    reason: str
    code: int | None = None
    agent: str | None = None
    hostname: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    seconds: float | None = None  # of the last attempt
    failed_items: list[str] = []  # of a batch: what is not done of it
    output_bytes: int = 0
    output: bytes = b""


class AttemptView(Struct):
    """An attempt that came to an end without being the run's last word."""

    attempt: int
    agent: str
    hostname: str
    state: str  # FAILED, TIMEOUT, UNKNOWN or LAPSED; SUCCEED of one that came too late
    reason: str
    code: int | None
    started_at: str | None
    ended_at: str | None
    output_bytes: int = 0  # that it wrote, as far as its agent has told
    output_stored: int = 0  # that there are to read
    output_gap: tuple[int, int] | None = None  # the part that was not kept


class SlowView(Struct):
    run: str
    seq: int
    item: str  # its beginning
    seconds: float


class QueueView(Struct):
    """What a task's view has besides, of a queue.

    In a list of tasks nobody has looked at hosts and items: `agents` is None there, `waits_for`
    and `slowest` are empty.
    """

    queue: str  # its name
    open: bool
    batch: int
    rate: float | None  # items a second; None: as fast as they are taken
    burst: int
    per_agent: int  # runs at once on one agent; 0: as many as it has slots
    agents_max: int  # agents at once; 0: all that may
    max_attempts: int
    retry_pause: float  # seconds before the second attempt, doubled for each further one
    retry_codes: list[int] | None  # exit codes that are tried again; None: all but 0
    items: int
    untaken: int  # runs to be that nobody has taken yet
    retrying: int  # runs that wait for another attempt
    dead: int
    agents: int | None = 0  # that may take, and are online; None: not counted, in a list
    per_second: float = 0.0  # runs ended, over the last half minute
    left_s: float | None = None  # until all have ended, at that pace
    waits_for: str = ""  # why nothing is handed out just now, for people
    slowest: list[SlowView] = []
