"""How is each route of the web tried, so that it does what it is for? A table of examples.

Each makes what the route is about anew, so that the route may change or delete it. And it says
what the route is to an operator with a limit of hosts, as the documentation then does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.things import LIMIT, PASSWORD, Caller, Things
from webserver.rendering import static_version

# What a route is to an operator with a limit of hosts: the same as to any other operator; or only
# where hosts within the limit are concerned; or nothing.
FREE, OWN_HOSTS, NEVER = "", "own hosts", "never"
THIS, ALL = "this session", "all sessions"


class Request(NamedTuple):
    """`places`: of the path. `body`: JSON of a program, or the fields of a form."""

    places: Mapping[str, str] = {}
    body: Any = None
    query: str = ""


Build = Callable[[Things, Caller], Request]
Make = Callable[[Things], Any]


@dataclass(frozen=True)
class Example:
    """`by_session`: an API token is not enough. `ends`: the session of the caller, or all of them.
    `also`: a status that who is admitted may get as well as one below 400."""

    build: Build
    limited: str = FREE
    by_session: bool = False
    ends: str = ""
    also: int = 0


def plain(query: str = "") -> Example:
    return Example(lambda t, _: Request(query=query))


def about(place: str, make: Make, body: Make | None = None, query: str = "") -> Build:
    return lambda t, _: Request({place: make(t)}, body(t) if body else None, query)


def sent(body: Make) -> Build:
    return lambda t, _: Request(body=body(t))


def own(place: str, make: Callable[[Things, Caller], str]) -> Build:
    return lambda t, caller: Request({place: make(t, caller)})


def always(**body: Any) -> Make:
    return lambda t: body


# ---- states and forms


def cancelled(t: Things) -> str:
    return t.task_that("cancel")


def paused(t: Things) -> str:
    return t.task_that("pause")


def paused_schedule(t: Things) -> str:
    return t.schedule(paused=True)


def of_run(t: Things, _: Caller) -> Request:
    return Request(t.run())


def of_attempt(t: Things, _: Caller) -> Request:
    return Request({**t.run(), "attempt": "1"})


def of_version(body: Make | None = None) -> Build:
    return lambda t, _: Request({"script": t.script(), "version": "1"}, body(t) if body else None)


def diff_of_runs(t: Things, _: Caller) -> Request:
    places = t.run()
    return Request({"task": places["task"]}, query=f"left={places['run']}&right={places['run']}")


def renamed(t: Things, _: Caller) -> Request:
    id, hostname = t.renamed()
    return Request({"agent": id}, {"hostname": hostname})


def task_form(t: Things) -> dict[str, str]:
    return {"script": "true", "targets": t.targets()}


def queue_form(t: Things) -> dict[str, str]:
    return {**task_form(t), "items": "a\nb"}


def schedule_form(t: Things) -> dict[str, str]:
    return {**task_form(t), "name": t.new("nightly"), "kind": "cron", "cron": "0 3 * * *"}


def plan_form(t: Things) -> dict[str, str]:
    return {**task_form(t), "name": t.new("release"), "step": "try", "needs": "succeeded"}


def script_form(t: Things) -> dict[str, str]:
    return {"name": t.new("script"), "script": "true", "state": "online"}


def callback_form(t: Things) -> dict[str, str]:
    return {"kind": "json", "event": "task.failed", **t.receiver()}


def new_person(t: Things) -> dict[str, Any]:
    return {"name": t.new("person"), "role": "viewer", "password": PASSWORD}


def new_script(t: Things) -> dict[str, Any]:
    return {"name": t.new("script"), "script": "true"}


def new_group(t: Things) -> dict[str, Any]:
    return {"name": t.new("group"), "hosts": "@*"}


def group_form(t: Things) -> dict[str, Any]:
    return {"hosts": "@*", "note": t.new("note")}


SAME_PASSWORD = {"old": PASSWORD, "new": PASSWORD}
WRONG_CODE = {"code": "AAAAA-AAAAA-AAAAA-AAAAA", "name": "mallory", "password": PASSWORD}
PREVIEW = {"when": {"kind": "cron", "cron": "0 3 * * *"}}
JOIN_FORM = {"name": "x", "uses": "1", "expires_in": "3600", "accept": "at once"}

ABOUT_TASK = Example(about("task", Things.task))
ABOUT_HOST = Example(about("agent", Things.host))
ABOUT_SCHEDULE = Example(about("schedule", Things.schedule))
ABOUT_CALLBACK = Example(about("callback", Things.callback))
ABOUT_PLAN = Example(about("plan", Things.plan))
OWN_TASK = Example(ABOUT_TASK.build, OWN_HOSTS)
OWN_SCHEDULE = Example(ABOUT_SCHEDULE.build, OWN_HOSTS)

API: dict[str, Example] = {
    "GET /api/v1/agents": plain(),
    "GET /api/v1/agents/{agent}": ABOUT_HOST,
    "PATCH /api/v1/agents/{agent}": Example(
        about("agent", Things.host, always(labels={"env": "other"}))
    ),
    "GET /api/v1/agents/{agent}/runs": ABOUT_HOST,
    "POST /api/v1/agents/labels": Example(sent(lambda t: {"labels": {t.host(): {"a": "b"}}})),
    "POST /api/v1/agents/{agent}/accept": Example(about("agent", Things.pending)),
    "POST /api/v1/agents/{agent}/refuse": Example(about("agent", Things.pending)),
    "POST /api/v1/agents/{agent}/revoke": ABOUT_HOST,
    "POST /api/v1/agents/{agent}/delete": ABOUT_HOST,
    "POST /api/v1/agents/{agent}/re-enrol": ABOUT_HOST,
    "POST /api/v1/agents/{agent}/accept-hostname": Example(renamed),
    "POST /api/v1/ping": Example(sent(always(timeout=0.1))),
    "GET /api/v1/join-tokens": plain(),
    "POST /api/v1/join-tokens": Example(sent(always(name="x"))),
    "DELETE /api/v1/join-tokens/{join_token}": Example(about("join_token", Things.join_token)),
    "GET /task/targets": plain(),
    "GET /api/v1/targets": plain("expr=%40*"),
    "GET /api/v1/scripts": plain(),
    "POST /api/v1/scripts": Example(sent(new_script), NEVER),
    "GET /api/v1/scripts/{script}": Example(about("script", Things.script)),
    "PATCH /api/v1/scripts/{script}": Example(
        about("script", Things.script, always(disabled=True)), NEVER
    ),
    "POST /api/v1/scripts/{script}/versions": Example(
        about("script", Things.script, always(script="false")), NEVER
    ),
    "GET /api/v1/scripts/{script}/versions/{version}": Example(of_version()),
    "PATCH /api/v1/scripts/{script}/versions/{version}": Example(
        of_version(always(state="draft")), NEVER
    ),
    "GET /api/v1/groups": plain(),
    "POST /api/v1/groups": Example(sent(new_group), NEVER),
    "GET /api/v1/groups/{group}": Example(about("group", Things.group)),
    "PUT /api/v1/groups/{group}": Example(about("group", Things.group, always(hosts="@*")), NEVER),
    "DELETE /api/v1/groups/{group}": Example(about("group", Things.group), NEVER),
    "POST /api/v1/tasks": Example(sent(Things.submission), OWN_HOSTS),
    "POST /task": Example(sent(Things.submission), OWN_HOSTS),
    "GET /api/v1/tasks": plain(),
    "GET /api/v1/tasks/{task}": ABOUT_TASK,
    "POST /api/v1/tasks/{task}/cancel": OWN_TASK,
    "POST /api/v1/tasks/{task}/pause": OWN_TASK,
    "POST /api/v1/tasks/{task}/resume": Example(about("task", paused), OWN_HOSTS),
    "PATCH /api/v1/tasks/{task}": Example(
        about("task", Things.task, always(priority=7)), OWN_HOSTS
    ),
    "POST /api/v1/tasks/{task}/retry": Example(
        about("task", cancelled, always(states=["CANCELLED"])), OWN_HOSTS
    ),
    "POST /api/v1/tasks/{task}/items": Example(
        about("task", Things.queue, always(items=["b"])), OWN_HOSTS
    ),
    "POST /api/v1/tasks/{task}/close": Example(about("task", Things.queue), OWN_HOSTS),
    "POST /api/v1/tasks/{task}/put-back": Example(about("task", Things.queue, always()), OWN_HOSTS),
    "GET /api/v1/tasks/{task}/results": Example(about("task", Things.queue)),
    "GET /api/v1/runs/{run}/attempts": Example(of_run),
    "GET /api/v1/runs/{run}/attempts/{attempt}/output": Example(of_attempt),
    "GET /api/v1/tasks/{task}/targets": ABOUT_TASK,
    "GET /api/v1/tasks/{task}/groups": ABOUT_TASK,
    "GET /api/v1/tasks/{task}/grid": ABOUT_TASK,
    "GET /api/v1/tasks/{task}/diff": Example(diff_of_runs),
    "GET /api/v1/events": plain(),
    "GET /api/v1/tasks/{task}/events": ABOUT_TASK,
    "GET /api/v1/tasks/{task}/runs": ABOUT_TASK,
    "GET /api/v1/tasks/{task}/runs/{run}": Example(of_run),
    "POST /api/v1/tasks/{task}/runs/{run}/cancel": Example(of_run, OWN_HOSTS),
    "GET /api/v1/tasks/{task}/runs/{run}/output": Example(of_run),
    "GET /api/v1/status": plain(),
    "GET /api/v1/whoami": plain(),
    "POST /api/v1/handouts/release": plain(),
    "GET /api/v1/audit": plain(),
    "GET /api/openapi.json": plain(),
    "GET /healthz": plain(),
    "GET /api/v1/callbacks": plain(),
    "POST /api/v1/callbacks": Example(sent(Things.receiver)),
    "GET /api/v1/callbacks/{callback}": ABOUT_CALLBACK,
    "PATCH /api/v1/callbacks/{callback}": Example(
        about("callback", Things.callback, always(active=False))
    ),
    "DELETE /api/v1/callbacks/{callback}": ABOUT_CALLBACK,
    "POST /api/v1/callbacks/{callback}/test": ABOUT_CALLBACK,
    "GET /api/v1/callbacks/{callback}/deliveries": ABOUT_CALLBACK,
    "GET /api/v1/deliveries/{delivery}": Example(about("delivery", Things.delivery)),
    "POST /api/v1/deliveries/{delivery}/resend": Example(about("delivery", Things.delivery)),
    "GET /api/v1/me": plain(),
    "POST /api/v1/me/password": Example(sent(lambda t: SAME_PASSWORD), by_session=True),
    "GET /api/v1/me/sessions": plain(),
    "DELETE /api/v1/me/sessions": Example(lambda t, _: Request(), ends=ALL),
    "DELETE /api/v1/me/sessions/{session}": Example(own("session", Things.session)),
    "GET /api/v1/people": plain(),
    "POST /api/v1/people": Example(sent(new_person)),
    "GET /api/v1/people/{person}": Example(about("person", Things.person)),
    "PATCH /api/v1/people/{person}": Example(about("person", Things.person, always(role="admin"))),
    "DELETE /api/v1/people/{person}": Example(about("person", Things.person)),
    "DELETE /api/v1/people/{person}/sessions": Example(about("person", Things.person)),
    "GET /api/v1/tokens": plain(),
    "POST /api/v1/tokens": Example(sent(always(name="x", role="viewer")), by_session=True),
    "DELETE /api/v1/tokens/{token}": Example(own("token", Things.token)),
    "GET /api/v1/plans": plain(),
    "POST /api/v1/plans": Example(sent(Things.steps), OWN_HOSTS),
    "GET /api/v1/plans/{plan}": ABOUT_PLAN,
    "GET /api/v1/plans/{plan}/spec": ABOUT_PLAN,
    "POST /api/v1/plans/{plan}/cancel": Example(about("plan", Things.plan), OWN_HOSTS),
    "POST /api/v1/plans/{plan}/resume": Example(about("plan", Things.ended_plan), OWN_HOSTS),
    "GET /api/v1/schedules": plain(),
    "POST /api/v1/schedules": Example(sent(Things.timed), OWN_HOSTS),
    "POST /api/v1/schedules/preview": Example(sent(lambda t: PREVIEW)),
    "GET /api/v1/schedules/timeline": plain(),
    "GET /api/v1/schedules/{schedule}": ABOUT_SCHEDULE,
    "PATCH /api/v1/schedules/{schedule}": Example(
        about("schedule", Things.schedule, always(overlap="wait")), OWN_HOSTS
    ),
    "DELETE /api/v1/schedules/{schedule}": OWN_SCHEDULE,
    "POST /api/v1/schedules/{schedule}/pause": OWN_SCHEDULE,
    "POST /api/v1/schedules/{schedule}/resume": Example(
        about("schedule", paused_schedule), OWN_HOSTS
    ),
    "POST /api/v1/schedules/{schedule}/run": OWN_SCHEDULE,
    "GET /api/v1/schedules/{schedule}/firings": ABOUT_SCHEDULE,
    "GET /api/v1/firings": plain(),
}

PAGES: dict[str, Example] = {
    "GET /api": plain(),
    "GET /": plain(),
    "POST /handouts/release": plain(),
    "GET /hosts": plain(),
    "GET /hosts/ping": plain(),
    "POST /hosts/ping": Example(sent(always(timeout="1"))),
    "GET /hosts/{agent}": ABOUT_HOST,
    "POST /hosts/{agent}/labels": Example(
        about("agent", Things.host, always(label="env", value="other"))
    ),
    "GET /callbacks": plain(),
    "POST /callbacks": Example(sent(callback_form)),
    "GET /callbacks/{callback}": ABOUT_CALLBACK,
    "POST /callbacks/{callback}": Example(about("callback", Things.callback, callback_form)),
    "POST /callbacks/{callback}/switch": Example(
        about("callback", Things.callback, always(do="pause"))
    ),
    "POST /callbacks/{callback}/remove": ABOUT_CALLBACK,
    "POST /callbacks/{callback}/test": ABOUT_CALLBACK,
    "GET /deliveries/{delivery}": Example(about("delivery", Things.delivery)),
    "POST /deliveries/{delivery}/resend": Example(about("delivery", Things.delivery)),
    "GET /join-tokens": plain(),
    "POST /join-tokens": Example(sent(lambda t: JOIN_FORM)),
    "POST /join-tokens/{join_token}/delete": Example(about("join_token", Things.join_token)),
    "POST /hosts/{agent}/accept": Example(about("agent", Things.pending)),
    "POST /hosts/{agent}/refuse": Example(about("agent", Things.pending)),
    "POST /hosts/{agent}/revoke": ABOUT_HOST,
    "POST /hosts/{agent}/delete": ABOUT_HOST,
    "POST /hosts/{agent}/re-enrol": ABOUT_HOST,
    "POST /hosts/{agent}/accept-hostname": Example(renamed),
    "GET /schedules": plain(),
    "GET /schedules/new": plain(),
    "POST /schedules/new": Example(sent(schedule_form), OWN_HOSTS),
    "POST /schedules/preview": Example(sent(schedule_form)),
    "GET /schedules/timeline": plain(),
    "GET /schedules/firings": plain(),
    "GET /schedules/{schedule}": ABOUT_SCHEDULE,
    "GET /schedules/{schedule}/edit": OWN_SCHEDULE,
    "POST /schedules/{schedule}/edit": Example(
        about("schedule", Things.schedule, schedule_form), OWN_HOSTS
    ),
    "POST /schedules/{schedule}/run": OWN_SCHEDULE,
    "POST /schedules/{schedule}/pause": OWN_SCHEDULE,
    "POST /schedules/{schedule}/resume": Example(about("schedule", paused_schedule), OWN_HOSTS),
    "POST /schedules/{schedule}/delete": OWN_SCHEDULE,
    "GET /tasks": plain(),
    "GET /tasks/new": plain(),
    "POST /tasks/new": Example(sent(task_form), OWN_HOSTS),
    "POST /tasks/new/preview": Example(sent(task_form)),
    "GET /tasks/new/queue": plain(),
    "POST /tasks/new/queue": Example(sent(queue_form), OWN_HOSTS),
    "POST /tasks/new/queue/preview": Example(sent(queue_form)),
    "POST /tasks/{task}/items": Example(about("task", Things.queue, always(items="b")), OWN_HOSTS),
    "POST /tasks/{task}/close": Example(about("task", Things.queue), OWN_HOSTS),
    "POST /tasks/{task}/put-back": Example(about("task", Things.queue), OWN_HOSTS),
    "GET /scripts": plain(),
    "POST /scripts": Example(sent(script_form), NEVER),
    "GET /scripts/{script}": Example(about("script", Things.script)),
    "POST /scripts/{script}": Example(about("script", Things.script, always(do="disable")), NEVER),
    "GET /scripts/{script}/diff": Example(about("script", Things.script, query="left=1&right=1")),
    "POST /scripts/{script}/versions": Example(about("script", Things.script, script_form), NEVER),
    "POST /scripts/{script}/versions/{version}": Example(of_version(always(state="draft")), NEVER),
    "GET /groups": plain(),
    "POST /groups": Example(sent(new_group), NEVER),
    "GET /groups/{group}": Example(about("group", Things.group)),
    "POST /groups/{group}": Example(about("group", Things.group, group_form), NEVER),
    "POST /groups/{group}/remove": Example(about("group", Things.group), NEVER),
    "GET /tasks/{task}": ABOUT_TASK,
    "POST /tasks/{task}/cancel": OWN_TASK,
    "POST /tasks/{task}/pause": OWN_TASK,
    "POST /tasks/{task}/resume": Example(about("task", paused), OWN_HOSTS),
    "POST /tasks/{task}/change": Example(
        about("task", Things.task, always(priority="7")), OWN_HOSTS
    ),
    "POST /tasks/{task}/retry": Example(
        about("task", cancelled, always(state="CANCELLED")), OWN_HOSTS
    ),
    "GET /tasks/{task}/diff": Example(diff_of_runs),
    "GET /tasks/{task}/runs/{run}": Example(of_run),
    "POST /tasks/{task}/runs/{run}/cancel": Example(of_run, OWN_HOSTS),
    "GET /audit": plain(),
    "GET /audit/{name}": Example(lambda t, _: Request({"name": "csv"})),
    "GET /static/{version}/{name}": Example(
        lambda t, _: Request({"version": static_version(), "name": "style.css"})
    ),
    "GET /login": plain(),
    "POST /login": Example(
        lambda t, caller: Request(body={"name": caller.name, "password": PASSWORD}), also=401
    ),
    "GET /setup": plain(),
    "POST /setup": Example(sent(lambda t: WRONG_CODE), also=401),
    "POST /logout": Example(lambda t, _: Request(), ends=THIS),
    "GET /account": plain(),
    "POST /account/password": Example(sent(lambda t: SAME_PASSWORD)),
    "POST /account/sessions/{session}/end": Example(own("session", Things.session)),
    "POST /account/log-out-everywhere": Example(lambda t, _: Request(), ends=ALL),
    "POST /account/tokens": Example(sent(always(name="x", role="viewer", days="7"))),
    "POST /account/tokens/{token}/revoke": Example(own("token", Things.token)),
    "GET /people": plain(),
    "POST /people": Example(sent(new_person)),
    "GET /people/{person}": Example(about("person", Things.person)),
    "POST /people/{person}": Example(
        about("person", Things.person, always(do="change", role="operator", hosts=LIMIT))
    ),
    "GET /tokens": plain(),
    "POST /tokens/{token}/revoke": Example(own("token", Things.token)),
    "GET /plans": plain(),
    "GET /plans/new": plain(),
    "POST /plans/new": Example(sent(plan_form), OWN_HOSTS),
    "GET /plans/{plan}": ABOUT_PLAN,
    "POST /plans/{plan}/cancel": Example(about("plan", Things.plan), OWN_HOSTS),
    "POST /plans/{plan}/resume": Example(
        about("plan", Things.ended_plan, always(hosts="failed")), OWN_HOSTS
    ),
}

EXAMPLES = API | PAGES
