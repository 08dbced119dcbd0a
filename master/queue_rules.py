"""Is what a submission says of a queue sound? And what of a queue may a fan-out say? Nothing.

Every value is judged with a sentence that names the field, the value and what would be right.
"""

import math
import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from master import waves
from wire.defaults import ALL_AGENTS, FAN_OUT, MODES, QUEUE
from wire.errors import InvalidValue, TooLarge
from wire.queues import MAX_BATCH, MAX_ITEM_BYTES, MAX_ITEMS
from wire.requests import ItemsFrom, Submission
from wire.states import ENDED_RUN

MAX_RATE = 100_000.0
LEAST_RATE = 1e-4  # one item in three hours
MAX_BURST = 1_000_000
MAX_PER_AGENT = 1024
MAX_AGENTS = 100_000
MAX_LISTED = 10_000  # hosts by id, which are kept with the task
MAX_ATTEMPTS = 100
MAX_RETRY_PAUSE_S = 600.0
SPLITS = ("lines", "output")

WITHIN = "within"  # the hosts to which whoever submitted a queue was limited; in its settings
OF_QUEUES = (
    "items", "items_from", "open", "queue", "batch", "rate", "burst", "per_agent", "agents_max",
    "max_attempts", "retry_pause", "retry_codes",
)  # fmt: skip
CHANGEABLE = ("rate", "burst", "per_agent", "agents_max", "max_attempts")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_USUAL = Submission()


class _Range(Struct, frozen=True):
    field: str
    least: float
    most: float
    right: str


_RANGES = (
    _Range("batch", 1, MAX_BATCH, f"items of one run, from 1 to {MAX_BATCH}"),
    _Range("rate", LEAST_RATE, MAX_RATE, f"items a second, from {LEAST_RATE:g} to {MAX_RATE:g}"),
    _Range("burst", 1, MAX_BURST, f"a number of items from 1 to {MAX_BURST}"),
    _Range("per_agent", 0, MAX_PER_AGENT, f"1 to {MAX_PER_AGENT}, or 0 for no limit"),
    _Range("agents_max", 0, MAX_AGENTS, f"1 to {MAX_AGENTS}, or 0 for all that may"),
    _Range("max_attempts", 1, MAX_ATTEMPTS, f"1 to {MAX_ATTEMPTS}"),
    _Range("retry_pause", 0, MAX_RETRY_PAUSE_S, f"seconds from 0 to {MAX_RETRY_PAUSE_S:g}"),
)


def check_mode(submission: Submission) -> Submission:
    """The submission with each item as text. Raises InvalidValue or TooLarge."""
    if submission.mode not in MODES:
        raise _wrong("mode", repr(submission.mode[:60]), " or ".join(MODES))
    if submission.mode == FAN_OUT:
        _refuse_queue_fields(submission)
        return submission
    _refuse_fan_out_fields(submission)
    _check_numbers(submission)
    _check_codes(submission.retry_codes)
    if not _NAME.fullmatch(submission.queue):
        raise _wrong("queue", repr(submission.queue[:80]), "1 to 63 of A-Z a-z 0-9 . _ -")
    if not isinstance(submission.targets, str) and len(submission.targets) > MAX_LISTED:
        raise InvalidValue(
            f"targets: {len(submission.targets)} hosts are listed; a queue takes at most "
            f"{MAX_LISTED}, or an expression, such as a saved group",
            field="targets",
        )
    _check_source(submission)
    items = texts(submission.items, batched=submission.batch > 1)
    return replace(submission, items=items, targets=submission.targets or ALL_AGENTS)


def refuse_unread(submission: Submission) -> None:
    """The output of another task is read by the web, which then brings it as items. Raises
    InvalidValue."""
    if submission.items_from is not None:
        raise InvalidValue(
            "items_from is given, and this web server does not read what it names: install the "
            "version of the master on it",
            field="items_from",
        )


def refuse_later(submission: Submission) -> None:
    """For what is written down to run later: its items stand in it, and nobody is there to close
    it. Raises InvalidValue."""
    if submission.open:
        raise InvalidValue(
            "open is true; only a queue that is submitted to run now can stay open", field="open"
        )
    if submission.items_from is not None:
        raise InvalidValue(
            "items_from is given; only a queue that is submitted to run now takes its items from "
            "another task",
            field="items_from",
        )


def texts(items: Sequence[object], *, batched: bool) -> list[str]:
    """The items as the store keeps them: a JSON value that is no string becomes compact text.

    `batched`: each has to be one line of a file.
    """
    if len(items) > MAX_ITEMS:
        raise TooLarge(
            f"items: {len(items)} are given; a task takes at most {MAX_ITEMS}", field="items"
        )
    return [_text(number, item, batched) for number, item in enumerate(items)]


def _text(number: int, item: object, batched: bool) -> str:
    field = f"items[{number}]"
    text = item if isinstance(item, str) else msgspec.json.encode(item).decode()
    if not text:
        raise InvalidValue(f"{field} is empty; an item is text or a JSON value", field="items")
    if "\0" in text:
        raise InvalidValue(
            f"{field} has a NUL character, which no argument can hold", field="items"
        )
    if batched and ("\n" in text or "\r" in text):
        raise InvalidValue(
            f"{field} has a line break; with batch each item is a line of a file", field="items"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidValue(f"{field} has a lone surrogate; it takes text", field="items") from None
    if size > MAX_ITEM_BYTES:
        raise TooLarge(
            f"{field} has {size} bytes; at most {MAX_ITEM_BYTES} are taken", field="items"
        )
    return text


def _refuse_queue_fields(submission: Submission) -> None:
    for field in OF_QUEUES:
        if getattr(submission, field) != getattr(_USUAL, field):
            raise InvalidValue(
                f'{field} is given, but the task is no queue; give mode "{QUEUE}" besides',
                field=field,
            )


def _refuse_fan_out_fields(submission: Submission) -> None:
    """What is about a list of hosts, of which each is to have its run."""
    if isinstance(submission.parallel, str):
        raise InvalidValue(
            f"parallel is {submission.parallel[:20]!r}; of a queue it is a number of runs, "
            "or 0 for as many as there are slots",
            field="parallel",
        )
    for field, plain in (
        ("rolling", None),
        ("between_waves", waves.GO),
        ("wave_pause", 0),
        ("offline", "wait"),
    ):
        if getattr(submission, field) != plain:
            raise InvalidValue(
                f"{field} is {getattr(submission, field)!r}, which a queue cannot have: "
                "its items go to whichever host takes them",
                field=field,
            )


def _check_numbers(submission: Submission) -> None:
    for one in _RANGES:
        value = getattr(submission, one.field)
        if value is not None and not (math.isfinite(value) and one.least <= value <= one.most):
            raise _wrong(one.field, repr(value), one.right)
    if submission.burst is None:
        return
    if submission.rate is None:
        raise InvalidValue(
            f"burst is {submission.burst}, but there is no rate; give both", field="burst"
        )
    if submission.burst < submission.batch:
        raise InvalidValue(
            f"burst is {submission.burst}, less than the batch of {submission.batch} items that "
            "one run takes at once; give as much or more",
            field="burst",
        )


def _check_codes(codes: list[int] | None) -> None:
    for code in codes or ():
        if not 1 <= code <= 255:
            raise _wrong("retry_codes", f"[{code}]", "exit codes from 1 to 255")


def _check_source(submission: Submission) -> None:
    source = submission.items_from
    if source is not None:
        if submission.items:
            raise InvalidValue(
                "items and items_from are both given; give one of them", field="items_from"
            )
        _check_items_from(source)
    elif not submission.items and not submission.open:
        raise InvalidValue(
            "items is []; give items, items_from, or open true to add them later", field="items"
        )


def _check_items_from(source: ItemsFrom) -> None:
    if source.split not in SPLITS:
        raise _wrong("items_from.split", repr(source.split[:60]), " or ".join(SPLITS))
    ends = sorted(ENDED_RUN)
    if not source.states or not ENDED_RUN.issuperset(source.states):
        raise _wrong(
            "items_from.states", f"{source.states[:9]}"[:200], f"some of {', '.join(ends)}"
        )


def _wrong(field: str, value: str, right: str) -> InvalidValue:
    return InvalidValue(f"{field} is {value}; it takes {right}", field=field)
