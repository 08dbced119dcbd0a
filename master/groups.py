"""Which runs of a task came to the same? Groups of one state, exit code and output."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from master.reader import Reader
from master.records import Task
from master.targets import fold
from master.task import QUEUE, counts
from master.views import task_record, text_of
from wire.errors import InvalidValue
from wire.states import ENDED_RUN, RUN_FAILURES, RunState
from wire.views import GroupsView, GroupView

EXAMPLES = 3
MOST_RUNS = 10_000  # that are looked at where only some states are asked for
MAX_NODESET_CHARACTERS = 2_000

Key = tuple[RunState, int | None, str | None, int | None]


class Outcome(Struct, array_like=True, frozen=True):
    """Of a run, what it is grouped by and shown with."""

    seq: int
    id: str
    hostname: str
    state: RunState
    code: int | None
    output_sha256: str | None
    output_bytes: int
    reason: str


_decode_outcomes = msgspec.json.Decoder(list[Outcome]).decode


def groups(reader: Reader, task: str, limit: int, states: Sequence[str] = ()) -> GroupsView:
    """The largest first, at most `limit` of them. Raises NotFound, InvalidValue.

    `states`: only runs in these, the first of each and no more than MOST_RUNS. A queue may have a
    million runs, so without states they are those that were given up.
    """
    record = task_record(reader, task)
    if states or record.mode == QUEUE:
        outcomes = _in_states(reader, record, _known(states) or RUN_FAILURES)
    else:
        outcomes = _decode_outcomes(text_of(reader.row("results_of_task", task_seq=record.seq)))
    outcomes.sort(key=lambda outcome: outcome.seq)
    found = grouped(outcomes)
    return GroupsView([_view(key, members) for key, members in found[:limit]], len(found))


def _known(states: Sequence[str]) -> frozenset[RunState]:
    wrong = sorted(set(states) - set(RunState))
    if wrong:
        raise InvalidValue(
            f"states: {wrong[0][:60]!r}; it takes of {', '.join(RunState)}", field="states"
        )
    return frozenset(RunState(state) for state in states)


def _in_states(reader: Reader, task: Task, states: Iterable[RunState]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for state, limit in shares({state: counts(task)[state] for state in states}, MOST_RUNS):
        row = reader.row("results_of_state", task_seq=task.seq, state=state, limit=limit)
        outcomes += _decode_outcomes(text_of(row))
    return outcomes


def shares(wanted: Mapping[RunState, int], most: int) -> Iterator[tuple[RunState, int]]:
    """How many runs to take of each state, `most` in all: what few states do not need, others
    have."""
    left = most
    for place, state in enumerate(sorted(wanted, key=lambda state: wanted[state])):
        share = min(wanted[state], left // (len(wanted) - place))
        left -= share
        yield state, share


def grouped(outcomes: Iterable[Outcome]) -> list[tuple[Key, list[Outcome]]]:
    """Groups by size; of equal size, the one whose first run comes first. `outcomes` in order."""
    found: dict[Key, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(_key(outcome), []).append(outcome)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _key(outcome: Outcome) -> Key:
    """Output of which there is no checksum is not known to be like any other."""
    if outcome.state not in ENDED_RUN:
        return outcome.state, None, None, None
    if outcome.output_sha256 is None:
        return outcome.state, outcome.code, None, None
    return outcome.state, outcome.code, outcome.output_sha256, outcome.output_bytes


def _view(key: Key, members: Sequence[Outcome]) -> GroupView:
    state, code, sha256, size_bytes = key
    reasons = {member.reason for member in members}
    examples = members[:EXAMPLES]
    return GroupView(
        state=state,
        code=code,
        output_sha256=sha256,
        output_bytes=size_bytes,
        reason=reasons.pop() if len(reasons) == 1 else "",
        count=len(members),
        nodeset=cut(fold(member.hostname for member in members)),
        runs=[member.id for member in examples],
        hosts=[member.hostname for member in examples],
    )


def cut(nodeset: str) -> str:
    """A long one ends at a comma, best at one between brackets, and says that it goes on."""
    if len(nodeset) <= MAX_NODESET_CHARACTERS:
        return nodeset
    depth, end = 0, 0
    for at, character in enumerate(nodeset[:MAX_NODESET_CHARACTERS]):
        depth += (character == "[") - (character == "]")
        if character == "," and not depth:
            end = at
    end = end or nodeset.rfind(",", 0, MAX_NODESET_CHARACTERS)
    return f"{nodeset[:end]},…" if end > 0 else f"{nodeset[:MAX_NODESET_CHARACTERS]}…"
