"""What does an agent remember? The journal's entries and done records, and what a run shows."""

from enum import StrEnum

from msgspec import Struct

from wire.messages import DoneRecord, TaskSpec
from wire.states import Cause

__all__ = ["DoneRecord", "Entry", "Mark", "RunDirectory", "TaskSpec"]


class Mark(StrEnum):
    """The content of a run's mark, created O_EXCL: whoever creates it decides whether it starts."""

    STARTED = "started"
    VOID = "void"


class Entry(Struct, frozen=True, kw_only=True):
    """A run that was handed to this agent and is not let go yet."""

    run: str
    attempt: int
    grant: int
    instance: str
    start_by: float  # on this boot's CLOCK_BOOTTIME; means nothing on another instance
    void: bool
    cause: Cause | None = None  # why it was stopped, journalled before the first signal
    task: TaskSpec | None = None  # None for a void entry; its secrets without their values
    item: str | None = None  # of a queue: what the script works on …
    batch: bool = False  # … and whether that is the lines of several items


class RunDirectory(Struct, frozen=True, kw_only=True):
    """What was found on disk for an entry, read in this order: mark, lock, then exit."""

    mark: Mark | None
    locked: bool  # the supervisor lives
    alive: bool  # some process of the script is seen alive though no supervisor is
    exited: bool  # a whole exit file is there
