"""Which paths are there, who may use each, and what answers? The one table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from aiohttp import web

from webserver import (
    api_agents,
    api_events,
    api_output,
    api_runs,
    api_tasks,
    open_doors,
    page_hosts,
    page_login,
    page_new_task,
    page_task,
    page_tasks,
)
from webserver.context import Caller

Handler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


class May(StrEnum):
    """The least role for a route. The master enforces it, on every call."""

    ANYONE = "anyone"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Face(Enum):
    """To whom a route talks: programs (tokens, JSON) or people (sessions, HTML)."""

    API = "api"
    PAGE = "page"


@dataclass(frozen=True)
class Route:
    method: str  # a GET answers HEAD as well
    path: str
    handler: Handler
    may: May
    face: Face = Face.API


_TASK = "/api/v1/tasks/{task}"
_RUN = _TASK + "/runs/{run}"

API = (
    Route("GET", "/api/v1/agents", api_agents.list_agents, May.VIEWER),
    Route("PATCH", "/api/v1/agents/{agent}", api_agents.set_labels_of_one, May.ADMIN),
    Route("POST", "/api/v1/agents/labels", api_agents.set_labels_of_many, May.ADMIN),
    Route("GET", "/task/targets", api_agents.all_targets, May.VIEWER),
    Route("GET", "/api/v1/targets", api_agents.preview_targets, May.VIEWER),
    Route("POST", "/api/v1/handouts/release", api_agents.release_handouts, May.ADMIN),
    Route("POST", "/api/v1/tasks", api_tasks.add_task, May.OPERATOR),
    Route("POST", "/task", api_tasks.add_task, May.OPERATOR),
    Route("GET", "/api/v1/tasks", api_tasks.list_tasks, May.VIEWER),
    Route("GET", _TASK, api_tasks.get_task, May.VIEWER),
    Route("POST", _TASK + "/cancel", api_tasks.cancel_task, May.OPERATOR),
    Route("GET", _TASK + "/events", api_events.stream_events, May.VIEWER),
    Route("GET", _TASK + "/runs", api_runs.list_runs, May.VIEWER),
    Route("GET", _RUN, api_runs.get_run, May.VIEWER),
    Route("POST", _RUN + "/cancel", api_runs.cancel_run, May.OPERATOR),
    Route("GET", _RUN + "/output", api_output.get_output, May.VIEWER),
    Route("GET", "/healthz", open_doors.healthz, May.ANYONE),
)

PAGES = (
    Route("GET", "/", page_tasks.home, May.VIEWER, Face.PAGE),
    Route("GET", "/login", page_login.show_login, May.ANYONE, Face.PAGE),
    Route("POST", "/login", page_login.log_in, May.ANYONE, Face.PAGE),
    Route("POST", "/logout", page_login.log_out, May.ANYONE, Face.PAGE),
    Route("GET", "/hosts", page_hosts.show_hosts, May.VIEWER, Face.PAGE),
    Route("GET", "/tasks", page_tasks.show_tasks, May.VIEWER, Face.PAGE),
    Route("GET", "/tasks/new", page_new_task.show_form, May.OPERATOR, Face.PAGE),
    Route("POST", "/tasks/new", page_new_task.submit_form, May.OPERATOR, Face.PAGE),
    Route("GET", "/tasks/{task}", page_task.show_task, May.VIEWER, Face.PAGE),
    Route("POST", "/tasks/{task}/cancel", page_task.cancel_task, May.OPERATOR, Face.PAGE),
    Route("GET", "/tasks/{task}/runs/{run}", page_task.show_run, May.VIEWER, Face.PAGE),
    Route("GET", "/static/{name}", open_doors.static_file, May.ANYONE, Face.PAGE),
)

ROUTES = API + PAGES
