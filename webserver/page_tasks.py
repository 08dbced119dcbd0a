"""What was submitted lately? The page that lists tasks."""

from aiohttp import web

from webserver.body import one_of, query
from webserver.context import MASTER, Caller
from webserver.forms import see
from webserver.rendering import render
from wire.messages import ListTasks, Page
from wire.states import ENDED_TASK, TaskState

ON_A_PAGE = 100
REFRESH_S = 5


async def home(request: web.Request, caller: Caller) -> web.StreamResponse:
    return see("/tasks")


async def show_tasks(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The newest first; looks again by itself while one of them is under way."""
    given = query(request, "state", "cursor")
    state = one_of(given, "state", list(TaskState))
    ask = ListTasks(caller.auth, ON_A_PAGE, given.get("cursor"), state)
    tasks = await request.app[MASTER].call("get_tasks", ask, Page)
    active = any(task["state"] not in ENDED_TASK for task in tasks.items)
    return render(
        "tasks.html",
        caller=caller,
        tasks=tasks.items,
        next=tasks.next,
        state=state,
        states=list(TaskState),
        refresh_s=REFRESH_S if active else None,
    )
