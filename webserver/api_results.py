"""What does the API say of a whole task's results? Groups, the grid, and what differs."""

import asyncio

from aiohttp import web

from webserver.answers import json_answer
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.diffs import DIFFS, MAX_BYTES, DiffView, Side
from webserver.parameters import DiffQuery, GridQuery, GroupsQuery
from wire.errors import NotFound
from wire.requests import ById, GetGrid, GetGroups, GetOutput
from wire.views import GridView, GroupsView, OutputView, RunView


async def get_groups(
    request: web.Request, caller: Caller, asked: GroupsQuery
) -> web.StreamResponse:
    """Runs with the same state, exit code and bytes of output are one group; the largest first."""
    states = [str(state) for state in asked.states or ()]
    ask = GetGroups(caller.auth, identifier(request, "task"), asked.limit, states)
    return await json_answer(request, await request.app[MASTER].call("get_groups", ask, GroupsView))


async def get_grid(request: web.Request, caller: Caller, asked: GridQuery) -> web.StreamResponse:
    """One letter a run, in columns; follow the events from its `since` on to keep it right."""
    ask = GetGrid(caller.auth, identifier(request, "task"), asked.offset, asked.limit)
    return await json_answer(request, await request.app[MASTER].call("get_grid", ask, GridView))


async def get_diff(request: web.Request, caller: Caller, asked: DiffQuery) -> web.StreamResponse:
    """What the output of `right` has otherwise than that of `left`, as the lines of a unified diff.

    Of very long output the beginning is compared; `cut` says what was left out, and why.
    """
    return await json_answer(
        request, await diff_of(request, caller, identifier(request, "task"), asked)
    )


async def diff_of(request: web.Request, caller: Caller, task: str, asked: DiffQuery) -> DiffView:
    left, right = await asyncio.gather(
        _side(request, caller, task, "left", asked.left),
        _side(request, caller, task, "right", asked.right),
    )
    return await request.app[DIFFS].diff(left, right)


async def _side(request: web.Request, caller: Caller, task: str, name: str, id: str) -> Side:
    """One of the two runs with the beginning of its output."""
    master = request.app[MASTER]
    run = await master.call("get_run", ById(caller.auth, id), RunView)
    if run.task != task:
        raise NotFound(f"{name}: task {task} has no run {id}", field=name)
    output = await master.call("get_output", GetOutput(caller.auth, id, 0, MAX_BYTES), OutputView)
    return Side(run, output.data, output.size)
