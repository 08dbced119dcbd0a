"""Which paths are there, who may use each, and what answers? The one table."""

from typing import Any

from webserver import (
    api_agents,
    api_audit,
    api_events,
    api_groups,
    api_master,
    api_output,
    api_results,
    api_runs,
    api_scripts,
    api_submit,
    api_tasks,
    open_doors,
    openapi,
    page_api,
    page_audit,
    page_frame,
    page_groups,
    page_host,
    page_hosts,
    page_new_task,
    page_run,
    page_scripts,
    page_steering,
    page_task,
    page_tasks,
    routes_callbacks,
    routes_hosts,
    routes_people,
    routes_plans,
    routes_queues,
    routes_schedules,
)
from webserver.diffs import DiffView
from webserver.endpoint import (
    BYTES,
    CSV,
    EVENTS,
    NDJSON,
    Answer,
    Face,
    Header,
    Listing,
    May,
    Route,
    api,
)
from webserver.parameters import (
    EVENT_ID,
    AgentsQuery,
    AuditQuery,
    DiffQuery,
    EventsQuery,
    GridQuery,
    GroupsQuery,
    NoQuery,
    PageQuery,
    RunsQuery,
    TargetsQuery,
    TaskQuery,
    TasksQuery,
    TaskTargetsQuery,
)
from webserver.refusals import RangeNotSatisfiable
from wire.audit import AuditRecord
from wire.errors import Conflict, NotFound, StoreFull
from wire.host_groups import HostGroup, HostGroups, HostGroupView
from wire.requests import Submission, TaskChanges
from wire.scripts import (
    NewScript,
    NewVersion,
    ScriptChange,
    Scripts,
    ScriptView,
    VersionChange,
    VersionView,
)
from wire.views import (
    AgentView,
    Changed,
    GridView,
    GroupsView,
    OneRun,
    RunView,
    StatusView,
    TargetsView,
    TaskView,
    WhoAmI,
)

__all__ = ["ROUTES", "Face", "May", "Route"]

_AGENT = "/api/v1/agents/{agent}"
_TASK = "/api/v1/tasks/{task}"
_SCRIPT = "/api/v1/scripts/{script}"
_GROUP = "/api/v1/groups/{group}"
_RUN = _TASK + "/runs/{run}"

_LOCATION = {"Location": "Path of the new task."}
_KEY = {
    "Idempotency-Key": Header(
        "1 to 200 printable ASCII characters of your choice: the same key with the same request "
        "makes one task, however often it is sent.",
        api_tasks.KEY,
    )
}
_RESUME = {"Last-Event-ID": Header("Id of the last event that was received.", EVENT_ID)}
_CSV = {CSV: "A header `agent,LABEL,…`, then a row an agent; an empty cell removes the label."}

VIEWER, OPERATOR, ADMIN = May.VIEWER, May.OPERATOR, May.ADMIN

API = (
    api(
        "GET", "/api/v1/agents", api_agents.list_agents, VIEWER, AgentsQuery,
        "List hosts", Answer(Listing[AgentView]),
    ),
    api(
        "GET", _AGENT, api_agents.get_agent, VIEWER, NoQuery,
        "One host", Answer(AgentView),
    ),
    api(
        "PATCH", _AGENT, api_agents.set_labels_of_one, ADMIN, NoQuery,
        "Set labels of one host", Answer(Changed), body=api_agents.LabelsOfOne,
    ),
    api(
        "GET", _AGENT + "/runs", api_agents.list_runs_of_agent, VIEWER, PageQuery,
        "List the runs of one host", Answer(Listing[RunView]),
    ),
    api(
        "POST", "/api/v1/agents/labels", api_agents.set_labels_of_many, ADMIN, NoQuery,
        "Set labels of many hosts", Answer(Changed),
        body=api_agents.LabelsOfMany, also_takes=_CSV,
    ),
    api(
        "GET", "/task/targets", api_agents.all_targets, VIEWER, NoQuery,
        "All hosts", Answer(list[AgentView]),
    ),
    api(
        "GET", "/api/v1/scripts", api_scripts.list_scripts, VIEWER, NoQuery,
        "List saved scripts", Answer(Scripts),
    ),
    api(
        "POST", "/api/v1/scripts", api_scripts.add_script, OPERATOR, NoQuery,
        "Save a script", Answer(ScriptView, 201, headers={"Location": "Path of the script."}),
        body=NewScript, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _SCRIPT, api_scripts.get_script, VIEWER, NoQuery,
        "One saved script", Answer(ScriptView),
    ),
    api(
        "PATCH", _SCRIPT, api_scripts.change_script, OPERATOR, NoQuery,
        "Describe or disable a script", Answer(ScriptView),
        body=ScriptChange, refuses=(StoreFull,),
    ),
    api(
        "POST", _SCRIPT + "/versions", api_scripts.add_script_version, OPERATOR, NoQuery,
        "Save a version", Answer(ScriptView, 201, headers={"Location": "Path of the version."}),
        body=NewVersion, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _SCRIPT + "/versions/{version}", api_scripts.get_script_version, VIEWER, NoQuery,
        "One version of a script", Answer(VersionView),
    ),
    api(
        "PATCH", _SCRIPT + "/versions/{version}", api_scripts.change_script_version,
        OPERATOR, NoQuery, "Change the state of a version", Answer(VersionView),
        body=VersionChange, refuses=(StoreFull,),
    ),
    api(
        "GET", "/api/v1/groups", api_groups.list_groups, VIEWER, NoQuery,
        "List saved groups", Answer(HostGroups),
    ),
    api(
        "POST", "/api/v1/groups", api_groups.add_group, OPERATOR, NoQuery,
        "Save a group", Answer(HostGroupView, 201, headers={"Location": "Path of the group."}),
        body=HostGroup, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _GROUP, api_groups.get_group, VIEWER, NoQuery,
        "One saved group", Answer(HostGroupView),
    ),
    api(
        "PUT", _GROUP, api_groups.change_group, OPERATOR, NoQuery,
        "Change what a group means", Answer(HostGroupView),
        body=api_groups.HostGroupChange, refuses=(StoreFull,),
    ),
    api(
        "DELETE", _GROUP, api_groups.remove_group, OPERATOR, NoQuery,
        "Remove a group", Answer(HostGroupView), refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", "/api/v1/targets", api_agents.preview_targets, VIEWER, TargetsQuery,
        "What an expression names", Answer(TargetsView),
    ),
    api(
        "POST", "/api/v1/tasks", api_submit.add_task, OPERATOR, NoQuery,
        "Submit a task", Answer(api_tasks.Made, 201, headers=_LOCATION),
        body=Submission, headers=_KEY, refuses=(NotFound, Conflict, StoreFull),
    ),
    api(
        "POST", "/task", api_submit.add_task, OPERATOR, NoQuery,
        "Submit a task, at a short path", Answer(api_tasks.Made, 201, headers=_LOCATION),
        id="add_task_at_short_path",
        body=Submission, headers=_KEY, refuses=(NotFound, Conflict, StoreFull),
    ),
    api(
        "GET", "/api/v1/tasks", api_tasks.list_tasks, VIEWER, TasksQuery,
        "List tasks", Answer(Listing[TaskView]),
    ),
    api(
        "GET", _TASK, api_tasks.get_task, VIEWER, TaskQuery,
        "One task", Answer(TaskView),
    ),
    api(
        "POST", _TASK + "/cancel", api_tasks.cancel_task, OPERATOR, NoQuery,
        "Cancel a task", Answer(TaskView), refuses=(StoreFull,),
    ),
    api(
        "POST", _TASK + "/pause", api_tasks.pause_task, OPERATOR, NoQuery,
        "Pause a task", Answer(TaskView), refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _TASK + "/resume", api_tasks.resume_task, OPERATOR, NoQuery,
        "Resume a task", Answer(TaskView), refuses=(Conflict, StoreFull),
    ),
    api(
        "PATCH", _TASK, api_tasks.change_task, OPERATOR, NoQuery,
        "Change what is left of a task", Answer(TaskView),
        body=TaskChanges, refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _TASK + "/retry", api_tasks.retry_task, OPERATOR, NoQuery,
        "Repeat what failed", Answer(api_tasks.Retried, 201, headers=_LOCATION),
        body=api_tasks.Retry, headers=_KEY, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _TASK + "/targets", api_tasks.get_task_targets, VIEWER, TaskTargetsQuery,
        "The hosts of a task", Answer(TargetsView),
    ),
    api(
        "GET", _TASK + "/groups", api_results.get_groups, VIEWER, GroupsQuery,
        "Runs by identical result", Answer(GroupsView),
    ),
    api(
        "GET", _TASK + "/grid", api_results.get_grid, VIEWER, GridQuery,
        "States of all runs, small", Answer(GridView),
    ),
    api(
        "GET", _TASK + "/diff", api_results.get_diff, VIEWER, DiffQuery,
        "What differs between the output of two runs", Answer(DiffView),
    ),
    api(
        "GET", "/api/v1/events", api_events.stream_all, VIEWER, EventsQuery,
        "Changes of all tasks as they happen", Answer(None, media=EVENTS), headers=_RESUME,
    ),
    api(
        "GET", _TASK + "/events", api_events.stream_task, VIEWER, EventsQuery,
        "Changes of one task as they happen", Answer(None, media=EVENTS), headers=_RESUME,
    ),
    api(
        "GET", _TASK + "/runs", api_runs.list_runs, VIEWER, RunsQuery,
        "List the runs of a task", Answer(Listing[RunView]),
    ),
    api(
        "GET", _RUN, api_runs.get_run, VIEWER, NoQuery,
        "One run", Answer(OneRun),
    ),
    api(
        "POST", _RUN + "/cancel", api_runs.cancel_run, OPERATOR, NoQuery,
        "Cancel one run", Answer(OneRun), refuses=(StoreFull,),
    ),
    api(
        "GET", _RUN + "/output", api_output.get_output, VIEWER, NoQuery,
        "The output of a run", Answer(None, media=BYTES), Answer(None, 206, BYTES),
        headers=api_output.RANGE, refuses=(RangeNotSatisfiable,),
    ),
    api(
        "GET", "/api/v1/status", api_master.get_status, VIEWER, NoQuery,
        "How the master is", Answer(StatusView),
    ),
    api(
        "GET", "/api/v1/whoami", api_master.whoami, VIEWER, NoQuery,
        "Whose token this is", Answer(WhoAmI),
    ),
    api(
        "POST", "/api/v1/handouts/release", api_master.release_handouts, ADMIN, NoQuery,
        "Go on after a restored store", Answer(api_master.Released), refuses=(StoreFull,),
    ),
    api(
        "GET", "/api/v1/audit", api_audit.get_audit, ADMIN, AuditQuery,
        "Who did what", Answer(Listing[AuditRecord]),
        Answer(None, media=CSV), Answer(None, media=NDJSON),
    ),
    api(
        "GET", "/api/openapi.json", openapi.get_document, May.ANYONE, NoQuery,
        "This document", Answer(dict[str, Any]),
    ),
    api(
        "GET", "/healthz", open_doors.healthz, May.ANYONE, NoQuery,
        "Is the web server there, and the master", Answer(open_doors.Health),
    ),
    *routes_callbacks.API,
    *routes_hosts.API,
    *routes_people.API,
    *routes_plans.API,
    *routes_queues.API,
    *routes_schedules.API,
)  # fmt: skip

PAGES = (
    Route("GET", "/api", page_api.show_reference, May.ANYONE),
    Route("GET", "/", page_tasks.home, May.VIEWER),
    Route("POST", "/handouts/release", page_frame.release_handouts, May.ADMIN),
    Route("GET", "/hosts", page_hosts.show_hosts, May.VIEWER),
    Route("GET", "/hosts/{agent}", page_host.show_host, May.VIEWER),
    Route("POST", "/hosts/{agent}/labels", page_host.change_labels, May.ADMIN),
    *routes_callbacks.PAGES,
    *routes_hosts.PAGES,
    *routes_schedules.PAGES,
    Route("GET", "/tasks", page_tasks.show_tasks, May.VIEWER),
    *routes_queues.PAGES,
    Route("GET", "/tasks/new", page_new_task.show_form, May.OPERATOR),
    Route("POST", "/tasks/new", page_new_task.submit_form, May.OPERATOR),
    Route("POST", "/tasks/new/preview", page_new_task.preview_form, May.VIEWER),
    Route("GET", "/scripts", page_scripts.show_scripts, May.VIEWER),
    Route("POST", "/scripts", page_scripts.add_script, May.OPERATOR),
    Route("GET", "/scripts/{script}", page_scripts.show_script, May.VIEWER),
    Route("POST", "/scripts/{script}", page_scripts.change_script, May.OPERATOR),
    Route("GET", "/scripts/{script}/diff", page_scripts.show_diff, May.VIEWER),
    Route("POST", "/scripts/{script}/versions", page_scripts.add_version, May.OPERATOR),
    Route(
        "POST", "/scripts/{script}/versions/{version}", page_scripts.change_version, May.OPERATOR
    ),
    Route("GET", "/groups", page_groups.show_groups, May.VIEWER),
    Route("POST", "/groups", page_groups.add_group, May.OPERATOR),
    Route("GET", "/groups/{group}", page_groups.show_group, May.VIEWER),
    Route("POST", "/groups/{group}", page_groups.change_group, May.OPERATOR),
    Route("POST", "/groups/{group}/remove", page_groups.remove_group, May.OPERATOR),
    Route("GET", "/tasks/{task}", page_task.show_task, May.VIEWER),
    Route("POST", "/tasks/{task}/cancel", page_task.cancel_task, May.OPERATOR),
    Route("POST", "/tasks/{task}/pause", page_steering.pause_task, May.OPERATOR),
    Route("POST", "/tasks/{task}/resume", page_steering.resume_task, May.OPERATOR),
    Route("POST", "/tasks/{task}/change", page_steering.change_task, May.OPERATOR),
    Route("POST", "/tasks/{task}/retry", page_task.retry_task, May.OPERATOR),
    Route("GET", "/tasks/{task}/diff", page_run.show_diff, May.VIEWER),
    Route("GET", "/tasks/{task}/runs/{run}", page_run.show_run, May.VIEWER),
    Route("POST", "/tasks/{task}/runs/{run}/cancel", page_run.cancel_run, May.OPERATOR),
    Route("GET", "/audit", page_audit.show_audit, May.ADMIN),
    Route("GET", "/audit/{name}", page_audit.give_file, May.ADMIN),
    Route("GET", "/static/{version}/{name}", open_doors.static_file, May.ANYONE),
    *routes_people.PAGES,
    *routes_plans.PAGES,
)

ROUTES = API + PAGES
