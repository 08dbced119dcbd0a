"""What do lists of tasks show, and the history of a host? Any store at a bounded cost a call.

One filter is the store's, by an index; the others are judged here on what it finds, newest
first. A search that has looked at enough tasks and not filled its page says so with a cursor
at the place it has come to.
"""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from master.queue_views import listed_queues
from master.reader import Reader
from master.rows import RunRow, TaskRow, decode_rows, to_json
from master.views import from_cursor, run_view, size_of, task_view, text_of, to_cursor
from wire.states import ENDED_TASK, TaskState
from wire.views import Page

SCANNED = 5_000  # tasks that one call looks at: some 10 ms
SPANNED = 20_000  # tasks that one call asks whether a host has a run of: some 30 ms
NEWEST = 1 << 62


class Wanted(Struct, frozen=True):
    """Filters that were found sound; None: any. `text` is part of a name or an id."""

    state: TaskState | None = None
    text: str | None = None
    created_by: str | None = None
    agent: str | None = None  # an id


class _Found(Struct, array_like=True, frozen=True):
    seq: int
    id: str
    name: str
    state: TaskState
    created_by: str


_decode_found = msgspec.json.Decoder(list[_Found]).decode
_decode_named_runs = msgspec.json.Decoder(list[tuple[RunRow, str]], strict=False).decode


# ---- tasks


def tasks(reader: Reader, limit: int, cursor: str | None, wanted: Wanted) -> Page:
    """Newest first. A page may hold fewer rows than `limit`, or none, and still have `next`."""
    before = from_cursor(cursor, int) if cursor else NEWEST
    size = size_of(limit)
    found, end = _scan(reader, wanted, before, size)
    text = (wanted.text or "").casefold()
    fitting = [task.seq for task in found if _fits(task, wanted, text)]
    if len(fitting) > size:
        end = fitting[size - 1]
    return Page(_views(reader, fitting[:size]), None if end is None else to_cursor(end))


def _scan(
    reader: Reader, wanted: Wanted, before: int, size: int
) -> tuple[list[_Found], int | None]:
    """Tasks that may fit, newest first, and the last one that was looked at; None: there are no
    more behind it."""
    query, values, judged_here = _plan(wanted)
    most = max(size + 1, SCANNED) if judged_here else size + 1
    end = None
    if wanted.agent is not None:
        floor, end = _span(reader, before)
        values["floor"] = floor
    found = _decode_found(text_of(reader.row(query, before=before, limit=most, **values)))
    found.sort(key=lambda task: -task.seq)
    return found, found[-1].seq if len(found) == most else end


def _span(reader: Reader, before: int) -> tuple[int, int | None]:
    """(the oldest task to look at, the same again or None where there are none behind it)."""
    row = reader.row("span_of_tasks", before=before, limit=SPANNED)
    floor, count = row if row else (None, 0)
    return floor or 0, floor if count == SPANNED else None


def _plan(wanted: Wanted) -> tuple[str, dict[str, Any], bool]:
    """The query that walks the fewest tasks, its values, and are there filters beside it?

    What a host has run only the store knows; of the rest, few tasks are in a state that is
    no end.
    """
    given = [one for one in (wanted.state, wanted.created_by, wanted.agent, wanted.text) if one]
    judged_here = len(given) > 1 or bool(wanted.text)
    if wanted.agent is not None:
        return "scan_tasks_of_agent", {"agent": wanted.agent}, judged_here
    active = wanted.state is not None and wanted.state not in ENDED_TASK
    if wanted.state is not None and (active or wanted.created_by is None):
        return "scan_tasks_in_state", {"state": wanted.state}, judged_here
    if wanted.created_by is not None:
        return "scan_tasks_of_person", {"person": wanted.created_by}, judged_here
    return "scan_tasks", {}, judged_here


def _fits(task: _Found, wanted: Wanted, text: str) -> bool:
    return (
        wanted.state in (None, task.state)
        and wanted.created_by in (None, task.created_by)
        and (not text or text in task.id or text in task.name.casefold())
    )


def _views(reader: Reader, seqs: list[int]) -> list[Any]:
    found = decode_rows(TaskRow, text_of(reader.row("tasks_by_seq", seqs=to_json(seqs))))
    found.sort(key=lambda task: -task.seq)
    queues = listed_queues(reader, found)
    return [replace(task_view(task), queue=queues.get(task.id)) for task in found]


# ---- the history of a host


def runs_of_agent(reader: Reader, agent: str, limit: int, cursor: str | None) -> Page:
    """Newest task first, each run with the name of its task; a host has one run of a task.

    A page may hold fewer rows than `limit`, or none, and still have `next`. An agent that is
    not known has no runs.
    """
    before = from_cursor(cursor, int) if cursor else NEWEST
    size = size_of(limit)
    floor, end = _span(reader, before)
    row = reader.row("list_runs_of_agent", agent=agent, before=before, floor=floor, limit=size + 1)
    found = _decode_named_runs(text_of(row))
    found.sort(key=lambda pair: -pair[0].task_seq)
    if len(found) > size:
        end = found[size - 1][0].task_seq
    views = [replace(run_view(run), task_name=name) for run, name in found[:size]]
    return Page(views, None if end is None else to_cursor(end))
