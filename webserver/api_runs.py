"""What does the API say and take about runs? Their output is in api_output.py."""

from aiohttp import web

from webserver.answers import json_answer
from webserver.body import identifier, refuse_body
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery, RunsQuery
from wire.errors import NotFound
from wire.requests import ById, ListRuns
from wire.views import OneRun, Page


async def list_runs(request: web.Request, caller: Caller, asked: RunsQuery) -> web.StreamResponse:
    """In the order of the targets."""
    task = identifier(request, "task")
    ask = ListRuns(caller.auth, task, asked.state, asked.limit, asked.cursor)
    return await json_answer(request, await request.app[MASTER].call("get_runs", ask, Page))


async def get_run(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    return await json_answer(request, await find_run(request, caller))


async def cancel_run(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """200 also when it was cancelled or has ended before."""
    await refuse_body(request)
    run = await find_run(request, caller)
    ask = ById(caller.auth, run.id)
    return await json_answer(request, await request.app[MASTER].call("cancel_run", ask, OneRun))


async def find_run(request: web.Request, caller: Caller) -> OneRun:
    """The run that the path names, if it is one of that task."""
    task, run = identifier(request, "task"), identifier(request, "run")
    found = await request.app[MASTER].call("get_run", ById(caller.auth, run), OneRun)
    if found.task != task:
        raise NotFound(f"task {task} has no run {run}")
    return found
