"""Was every item of a queue done or given up, once, and never held by two at a time? A verdict.

It knows outside facts only: which items were accepted, what each script wrote down about itself,
when its processes were seen alive, and what the API says when all has come to rest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from msgspec import Struct

from tests.faults.checker import Violation
from tests.faults.history import Presence, Said

DEAD = frozenset({"FAILED", "TIMEOUT", "UNKNOWN"})
LOST = frozenset({"LAPSED", "UNKNOWN"})  # ends of an attempt whose script may have gone on
BACK_S = 5.0  # in which a host is heard of again once nothing holds it any more


class Done(Struct, frozen=True):
    """A script says that it has done one item."""

    item: str
    run: str
    attempt: int
    well: bool


class Held(Struct, frozen=True):
    """A fault held a host. It may have lost leases, though it told later how its attempts ended."""

    agent: str
    since: float
    until: float


class RunResult(Struct, frozen=True, kw_only=True):
    """One run of the queue, as the API has it at the end."""

    run: str | None
    items: list[str]
    failed_items: list[str]
    state: str
    attempt: int
    ends: dict[int, str]  # how the attempts before the last word ended, by number


class QueueHistory(Struct, kw_only=True):
    """All of it; can be written as JSON and judged again."""

    accepted: list[str]
    hopeless: list[str]  # items of which a script never says that it did them well
    max_attempts: int
    state: str  # of the task
    results: list[RunResult]
    said: list[Said]
    done: list[Done]
    presences: list[Presence]
    held: list[Held] = []
    alive: list[str]  # runs of which a process lived when all was at rest


def check_queue(history: QueueHistory) -> list[Violation]:
    """Every rule that was broken, with the run or item that breaks it."""
    rules = (
        each_item_ends_once,
        what_succeeded_was_done,
        what_is_dead_was_tried_enough,
        an_attempt_starts_once,
        no_two_attempts_hold_an_item,
        nothing_lives_on,
    )
    return [
        Violation(rule.__name__, subject, what) for rule in rules for subject, what in rule(history)
    ]


def each_item_ends_once(history: QueueHistory) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = defaultdict(int)
    for result in history.results:
        for item in result.items:
            seen[item] += 1
        if result.state != "SUCCEED" and result.state not in DEAD:
            yield result.run or result.items[0], f"is still {result.state}"
    for item in history.accepted:
        if seen[item] != 1:
            yield item, f"was accepted, and is {seen[item]} times among the results"
    for item in seen.keys() - set(history.accepted):
        yield item, "is among the results, and was never accepted"


def what_succeeded_was_done(history: QueueHistory) -> Iterator[tuple[str, str]]:
    well = {done.item for done in history.done if done.well}
    hopeless = set(history.hopeless)
    for result in history.results:
        for item in _said_done(result):
            if item in hopeless:
                yield item, "cannot be done, and is said to be"
            elif item not in well:
                yield item, "is said to be done, and no script has done it"


def _said_done(result: RunResult) -> list[str]:
    """Of a batch that was given up, what it does not name as failed is done."""
    if result.state == "SUCCEED":
        return result.items
    failed = set(result.failed_items)
    return [item for item in result.items if item not in failed] if failed else []


def what_is_dead_was_tried_enough(history: QueueHistory) -> Iterator[tuple[str, str]]:
    for result in history.results:
        if result.state in DEAD and result.attempt != history.max_attempts:
            yield result.run or "", f"was given up after {result.attempt} attempts"
        if len(result.ends) != result.attempt - 1:
            yield result.run or "", f"tells of {len(result.ends)} attempts before {result.attempt}"


def an_attempt_starts_once(history: QueueHistory) -> Iterator[tuple[str, str]]:
    started: set[tuple[str, int]] = set()
    for said in history.said:
        if said.what == "start":
            if (said.run, said.attempt) in started:
                yield said.run, f"attempt {said.attempt} was started twice"
            started.add((said.run, said.attempt))


def no_two_attempts_hold_an_item(history: QueueHistory) -> Iterator[tuple[str, str]]:
    """The next one begins when the one before has ended, unless its agent was given up."""
    agents = {(said.run, said.attempt): said.agent for said in history.said}
    spans = _spans(history.said, history.presences)
    ends = {result.run: result.ends for result in history.results if result.run is not None}
    for run, attempts in spans.items():
        numbers = sorted(attempts)
        for number, following in pairwise(numbers):
            began_at, until = attempts[following][0], attempts[number][1]
            may_be_lost = ends.get(run, {}).get(number) in LOST or any(
                held.agent == agents[run, number] and held.since <= began_at <= held.until + BACK_S
                for held in history.held
            )
            if until > began_at and not may_be_lost:
                yield run, f"attempt {following} began {until - began_at:.2f} s too early"


def _spans(
    said: Iterable[Said], presences: Iterable[Presence]
) -> dict[str, dict[int, tuple[float, float]]]:
    """From when to when each attempt was surely alive, by run and number."""
    seen_at = {(presence.run, presence.pid): presence.seen_at for presence in presences}
    spans: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for line in said:
        began_at = line.at
        until = max(line.at, seen_at.get((line.run, line.pid), 0.0))
        if line.attempt in spans[line.run]:
            began_at = min(began_at, spans[line.run][line.attempt][0])
            until = max(until, spans[line.run][line.attempt][1])
        spans[line.run][line.attempt] = (began_at, until)
    return spans


def nothing_lives_on(history: QueueHistory) -> Iterator[tuple[str, str]]:
    for run in history.alive:
        yield run, "has a process that lives, though the task has ended"
