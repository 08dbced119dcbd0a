"""How far is a task, and what did its hosts say? The pages of one task and of one run."""

import asyncio
import base64
from dataclasses import dataclass

import msgspec
from aiohttp import web

from webserver.api_runs import find_run
from webserver.body import identifier, one_of, query
from webserver.context import MASTER, Caller
from webserver.forms import own_form, see
from webserver.rendering import render
from webserver.text import readable
from wire.errors import NotFound
from wire.messages import ById, GetOutput, ListRuns, OutputView, Page, RunView, TaskView
from wire.states import ENDED_RUN, ENDED_TASK, RunState

RUNS_ON_A_PAGE = 100
OUTPUT_OF_A_RUN_BYTES = 64 << 10
OUTPUT_OF_A_PAGE_BYTES = 512 << 10  # shared evenly by the runs that have any
AT_ONCE = 16  # calls to the master for one page
REFRESH_S = 2
SCRIPT_SHOWN_BYTES = 64 << 10


@dataclass(frozen=True)
class Shown:
    """The end of a run's output as text; `left_out` bytes before it are not shown."""

    text: str
    left_out: int


NOTHING = Shown("", 0)


async def show_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Refreshed by itself while the task is under way, unless the person wants it to stay."""
    given = query(request, "state", "cursor", "still")
    state = one_of(given, "state", list(RunState))
    task_id, master = identifier(request, "task"), request.app[MASTER]
    ask = ListRuns(caller.auth, task_id, state, RUNS_ON_A_PAGE, given.get("cursor"))
    task = await master.call("get_task", ById(caller.auth, task_id), TaskView)
    page = await master.call("get_runs", ask, Page)
    runs = msgspec.convert(page.items, list[RunView])
    ended = task.state in ENDED_TASK
    return render(
        "task.html",
        caller=caller,
        task=task,
        ended=ended,
        ended_runs=sum(task.counts.get(state, 0) for state in ENDED_RUN),
        script=_script(task),
        runs=runs,
        outputs=await _outputs(request, caller, runs),
        next=page.next,
        state=state,
        states=list(RunState),
        still="still" in given,
        refresh_s=None if ended or "still" in given else REFRESH_S,
    )


async def show_run(request: web.Request, caller: Caller) -> web.StreamResponse:
    query(request)
    run = await find_run(request, caller)
    ended = run.state in ENDED_RUN
    return render(
        "run.html",
        caller=caller,
        run=run,
        output=(await _outputs(request, caller, [run])).get(run.id, NOTHING),
        refresh_s=None if ended else REFRESH_S,
    )


async def cancel_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    task = identifier(request, "task")
    await request.app[MASTER].call("cancel_task", ById(caller.auth, task), TaskView)
    return see(f"/tasks/{task}")


def _script(task: TaskView) -> Shown:
    script = base64.b64decode(task.script_base64 or "")
    return Shown(readable(script[:SCRIPT_SHOWN_BYTES]), max(0, len(script) - SCRIPT_SHOWN_BYTES))


async def _outputs(request: web.Request, caller: Caller, runs: list[RunView]) -> dict[str, Shown]:
    """What to show of each run's output, by run id; each gets the same share of the page."""
    loud = [run for run in runs if run.output_stored]
    if not loud:
        return {}
    share = min(OUTPUT_OF_A_RUN_BYTES, OUTPUT_OF_A_PAGE_BYTES // len(loud))
    gate = asyncio.Semaphore(AT_ONCE)

    async def read(run: RunView) -> Shown:
        async with gate:
            return await _last_of(request, caller, run, share)

    return dict(zip([run.id for run in loud], await asyncio.gather(*map(read, loud)), strict=True))


async def _last_of(request: web.Request, caller: Caller, run: RunView, share: int) -> Shown:
    """The last `share` bytes, from the beginning of a line where there is one."""
    guess = max(0, run.output_stored - share)
    found = await _read(request, caller, run.id, guess, share)
    if found is not None and guess + share < found.size:  # it has grown, or has a marker line
        guess = found.size - share
        found = await _read(request, caller, run.id, guess, share)
    if found is None:
        return NOTHING
    data = found.data
    if guess:
        data = data[data.find(b"\n", 0, 1024) + 1 :]
    return Shown(readable(data), found.offset + len(found.data) - len(data))


async def _read(
    request: web.Request, caller: Caller, run: str, offset: int, limit: int
) -> OutputView | None:
    """None when the output is gone meanwhile: a page of many runs must not fail for one."""
    ask = GetOutput(caller.auth, run, offset, limit)
    try:
        return await request.app[MASTER].call("get_output", ask, OutputView)
    except NotFound:
        return None
