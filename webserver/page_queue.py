"""How far is a queue, and what was given up? The page of a queue task, and its buttons."""

import asyncio
import uuid
from collections.abc import Mapping

import msgspec
from aiohttp import web

from webserver.api_tasks import idempotency_key
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import link, own_form, see
from webserver.item_file import Spool, own_upload
from webserver.items import Lines, of_text
from webserver.offered import may_steer, retriable
from webserver.page_frame import framed
from webserver.page_tasks import ended_runs
from webserver.queue_draft import queue_from
from webserver.queue_submit import fill
from webserver.queue_words import rate_in_words
from webserver.result_groups import script_of, with_output
from webserver.words import settings_in_words
from wire.errors import InvalidValue
from wire.queues import PutBack, PutBackDone, QueueView
from wire.requests import ById, GetGroups, ListRuns
from wire.states import ENDED_TASK, RunState
from wire.views import GroupsView, Page, RunView, TaskView

RUNS_ON_A_PAGE = 100
GROUPS = 8  # output that names its item makes a group of each
REFRESH_S = 2
MOST_ROUNDS = 200  # of putting back; what is left then, another click puts back
GIVEN_UP = (RunState.FAILED, RunState.TIMEOUT, RunState.UNKNOWN)


async def show_queue(
    request: web.Request,
    caller: Caller,
    task: TaskView,
    queue: QueueView,
    state: str | None,
    given: Mapping[str, str],
) -> web.StreamResponse:
    """However many items there are, a page looks at one page of runs and the dead ones alone."""
    master, auth = request.app[MASTER], caller.auth
    ask = ListRuns(auth, task.id, state, RUNS_ON_A_PAGE, given.get("cursor"))
    dead = GetGroups(auth, task.id, GROUPS, [str(one) for one in GIVEN_UP])
    page, groups = await asyncio.gather(
        master.call("get_runs", ask, Page), _dead(request, dead, queue)
    )
    ended, still = task.state in ENDED_TASK, "still" in given
    path, kept = f"/tasks/{task.id}", {"still": given.get("still")}
    return await framed(
        request,
        caller,
        "queue.html",
        task=task,
        queue=queue,
        unit="item" if queue.batch == 1 else "run",
        ended=ended,
        ended_runs=ended_runs(task),
        pace=rate_in_words(queue.per_second) if queue.per_second else "",
        rate=rate_in_words(queue.rate) if queue.rate else "",
        draft=queue_from(task),
        settings=settings_in_words(task.settings),
        script=script_of(task),
        runs=msgspec.convert(page.items, list[RunView]),
        groups=await with_output(request, caller, groups),
        groups_total=groups.total,
        more=page.next and link(path, {"state": state, "cursor": page.next} | kept),
        state=state,
        by_state={name: link(path, {"state": name} | kept) for name in ("", *RunState)},
        given_up=GIVEN_UP,
        goes_on=not ended and not task.stop,
        may_steer=may_steer(caller, task),
        retriable=retriable(caller, task) if ended else {},
        retry_key=uuid.uuid4().hex,
        upload_key=uuid.uuid4().hex,
        still=still,
        refresh_s=None if ended or still else REFRESH_S,
    )


async def _dead(request: web.Request, ask: GetGroups, queue: QueueView) -> GroupsView:
    if not queue.dead:
        return GroupsView([], 0)
    return await request.app[MASTER].call("get_groups", ask, GroupsView)


async def add_items(request: web.Request, caller: Caller) -> web.StreamResponse:
    """More items for an open queue, typed or as a file: all of them, or none when one is wrong."""
    spool = Spool()
    try:
        sent = await own_upload(request, spool)
        if sent.wrong:
            raise InvalidValue(f"{sent.wrong} No item was added.", field="items")
        lines = Lines(of_text)
        for item in (*lines.feed(sent.form.text("items").encode()), *lines.end()):
            spool.add(item)
        task = identifier(request, "task")
        key = idempotency_key([sent.form.word("key")] if sent.form.word("key") else [])
        await fill(request.app[MASTER], caller, task, spool, key)
        return see(f"/tasks/{task}")
    finally:
        spool.close()


async def close_queue(request: web.Request, caller: Caller) -> web.StreamResponse:
    await own_form(request)
    task = identifier(request, "task")
    await request.app[MASTER].call("close_queue", ById(caller.auth, task), TaskView)
    return see(f"/tasks/{task}")


async def put_back(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The run that the form names, or all that were given up."""
    form, task = await own_form(request), identifier(request, "task")
    ask = PutBack(caller.auth, task, form.many("run") or None)
    for _ in range(MOST_ROUNDS):
        done = await request.app[MASTER].call("put_back", ask, PutBackDone)
        if not done.left:
            break
    return see(f"/tasks/{task}")
