"""What did one host say, and how does it differ from another? The pages of a run and of a diff."""

import msgspec
from aiohttp import web

from webserver.api_results import diff_of
from webserver.api_runs import find_run
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import filters, own_form, see
from webserver.page_frame import framed
from webserver.page_output import NOTHING, outputs_of
from webserver.parameters import DiffQuery, parse_query
from webserver.text import readable
from wire.queues import AttemptView
from wire.requests import ById
from wire.states import ENDED_RUN
from wire.views import OneRun, Page, TaskView

REFRESH_S = 2


async def show_run(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Refreshed by itself while the script runs, unless the person wants it to stay."""
    still = "still" in filters(request, "still")
    run = await find_run(request, caller)
    task = await request.app[MASTER].call("get_task", ById(caller.auth, run.task), TaskView)
    ended = run.state in ENDED_RUN
    shown = await outputs_of(request, caller, [run.id]) if run.output_stored else {}
    return await framed(
        request,
        caller,
        "run.html",
        run=run,
        task=task,
        ended=ended,
        attempts=await _attempts(request, caller, run) if task.queue is not None else [],
        output=shown.get(run.id, NOTHING),
        still=still,
        refresh_s=None if ended or still else REFRESH_S,
    )


async def _attempts(request: web.Request, caller: Caller, run: OneRun) -> list[AttemptView]:
    """Those before the one that the page shows."""
    if run.attempt <= 1:
        return []
    page = await request.app[MASTER].call("get_attempts", ById(caller.auth, run.id), Page)
    return msgspec.convert(page.items, list[AttemptView])


async def cancel_run(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    run = await find_run(request, caller)
    await request.app[MASTER].call("cancel_run", ById(caller.auth, run.id), OneRun)
    return see(f"/tasks/{run.task}/runs/{run.id}")


async def show_diff(request: web.Request, caller: Caller) -> web.StreamResponse:
    """What the output of one run has otherwise than that of another, line by line."""
    task = identifier(request, "task")
    diff = await diff_of(request, caller, task, parse_query(request, DiffQuery))
    lines = [(line.kind, readable(line.text.encode("utf-8", "replace"))) for line in diff.lines]
    return await framed(request, caller, "diff.html", task=task, diff=diff, lines=lines)
