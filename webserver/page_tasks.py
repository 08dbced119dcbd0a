"""What was submitted lately? The page that lists tasks."""

import msgspec
from aiohttp import web

from webserver.body import one_of
from webserver.context import MASTER, Caller
from webserver.forms import filters, link, see
from webserver.page_frame import framed
from wire.requests import ListTasks
from wire.states import ENDED_RUN, ENDED_TASK, TaskState
from wire.views import Page, TaskView

ON_A_PAGE = 100
REFRESH_S = 5


async def home(request: web.Request, caller: Caller) -> web.StreamResponse:
    return see("/tasks")


async def show_tasks(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The newest first; looks again by itself while one of them is under way."""
    names = ("state", "text", "created_by", "agent")
    given = filters(request, *names, "cursor")
    chosen: dict[str, str | None] = {name: given.get(name) for name in names}
    ask = ListTasks(
        caller.auth,
        limit=ON_A_PAGE,
        cursor=given.get("cursor"),
        state=one_of(given, "state", list(TaskState)),
        text=given.get("text"),
        created_by=given.get("created_by"),
        agent=given.get("agent"),
    )
    page = await request.app[MASTER].call("get_tasks", ask, Page)
    tasks = msgspec.convert(page.items, list[TaskView])
    active = any(task.state not in ENDED_TASK for task in tasks)
    return await framed(
        request,
        caller,
        "tasks.html",
        tasks=[(task, ended_runs(task)) for task in tasks],
        given=given,
        filtered=any(chosen.values()),
        states=list(TaskState),
        by_state={state: link("/tasks", chosen | {"state": state}) for state in ("", *TaskState)},
        more=page.next and link("/tasks", chosen | {"cursor": page.next}),
        refresh_s=REFRESH_S if active else None,
    )


def ended_runs(task: TaskView) -> int:
    return sum(task.counts.get(state, 0) for state in ENDED_RUN)
