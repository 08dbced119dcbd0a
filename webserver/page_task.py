"""How far is a task, and what did its hosts say? The page of one task, and its buttons."""

import asyncio
import uuid
from dataclasses import dataclass

import msgspec
from aiohttp import web

from webserver.api_tasks import RETRIED, idempotency_key, retry
from webserver.body import identifier, one_of
from webserver.context import MASTER, Caller
from webserver.forms import filters, link, own_form, see
from webserver.offered import may_steer, retriable
from webserver.page_draft import draft_from
from webserver.page_frame import framed
from webserver.page_queue import show_queue
from webserver.page_tasks import ended_runs
from webserver.result_groups import script_of, with_output
from webserver.words import BETWEEN_WAVES, settings_in_words
from wire.errors import InvalidValue
from wire.requests import ById, GetGrid, GetGroups, ListRuns
from wire.states import ENDED_TASK, RunState
from wire.views import LETTERS, GridView, GroupsView, Page, RunView, TaskView

RUNS_ON_A_PAGE = 100
CELLS = 300  # up to here each host of the grid is a link with its name; above it is drawn
GROUPS = 50
REFRESH_S = 2

_STATE_OF = {letter: str(state) for state, letter in LETTERS.items()}


@dataclass(frozen=True)
class Cell:
    """One host of the grid."""

    run: str
    host: str
    state: str


async def show_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Refreshed by itself while the task is under way, unless the person wants it to stay."""
    given = filters(request, "state", "cursor", "still")
    state = one_of(given, "state", list(RunState))
    task_id, master, auth = identifier(request, "task"), request.app[MASTER], caller.auth
    task = await master.call("get_task", ById(auth, task_id), TaskView)
    if task.queue is not None:
        return await show_queue(request, caller, task, task.queue, state, given)
    # Whatever the page shows is read after the position from which it is told of changes: what
    # happened in between would never reach it.
    grid = await master.call("get_grid", GetGrid(auth, task_id, limit=CELLS), GridView)
    ask = ListRuns(auth, task_id, state, RUNS_ON_A_PAGE, given.get("cursor"))
    task, page, groups = await asyncio.gather(
        master.call("get_task", ById(auth, task_id), TaskView),
        master.call("get_runs", ask, Page),
        master.call("get_groups", GetGroups(auth, task_id, limit=GROUPS), GroupsView),
    )
    ended, still = task.state in ENDED_TASK, "still" in given
    path, kept = f"/tasks/{task_id}", {"still": given.get("still")}
    return await framed(
        request,
        caller,
        "task.html",
        task=task,
        ended=ended,
        ended_runs=ended_runs(task),
        draft=draft_from(task),
        between_waves=BETWEEN_WAVES,
        settings=settings_in_words(task.settings),
        script=script_of(task),
        runs=msgspec.convert(page.items, list[RunView]),
        cells=_cells(grid) if grid.total <= CELLS else None,
        since=grid.since,
        groups=await with_output(request, caller, groups),
        groups_total=groups.total,
        more=page.next and link(path, {"state": state, "cursor": page.next} | kept),
        state=state,
        by_state={name: link(path, {"state": name} | kept) for name in ("", *RunState)},
        may_steer=may_steer(caller, task),
        retriable=retriable(caller, task),
        retry_key=uuid.uuid4().hex,
        still=still,
        refresh_s=None if ended or still else REFRESH_S,
    )


def _cells(grid: GridView) -> list[Cell]:
    return [
        Cell(grid.prefix + run, host, _STATE_OF[letter])
        for run, host, letter in zip(grid.runs, grid.hosts, grid.states, strict=True)
    ]


async def cancel_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    task = identifier(request, "task")
    await request.app[MASTER].call("cancel_task", ById(caller.auth, task), TaskView)
    return see(f"/tasks/{task}")


async def retry_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The same again on the hosts whose runs ended in the ticked states, as a task of its own."""
    form, task = await own_form(request), identifier(request, "task")
    states = [state for state in form.many("state") if state in RETRIED]
    if not states:
        raise InvalidValue("tick at least one state to retry", field="state")
    key = idempotency_key([form.word("key")] if form.word("key") else [])
    added = await retry(request.app[MASTER], caller, task, states, key)
    return see(f"/tasks/{added.id}")
