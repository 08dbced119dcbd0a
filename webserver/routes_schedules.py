"""Which rows of the table of routes are about schedules?"""

from webserver import api_schedules, page_schedule, page_schedule_form, page_schedules
from webserver.api_tasks import KEY
from webserver.endpoint import Answer, Header, Listing, May, Route, api
from webserver.parameters import NoQuery
from wire.errors import Conflict, StoreFull
from wire.schedules import (
    FiringView,
    PreviewView,
    SchedulePatch,
    ScheduleSpec,
    ScheduleView,
    TimelineView,
)

VIEWER, OPERATOR = May.VIEWER, May.OPERATOR

_ALL = "/api/v1/schedules"
_ONE = _ALL + "/{schedule}"
_KEY = {
    "Idempotency-Key": Header(
        "1 to 200 printable ASCII characters of your choice: the same key with the same request "
        "makes one task or plan, however often it is sent.",
        KEY,
    )
}

API = (
    api(
        "GET", _ALL, api_schedules.list_schedules, VIEWER, api_schedules.SchedulesQuery,
        "List schedules", Answer(Listing[ScheduleView]),
    ),
    api(
        "POST", _ALL, api_schedules.add_schedule, OPERATOR, NoQuery,
        "Make a schedule", Answer(ScheduleView, 201, headers={"Location": "Path of it."}),
        body=ScheduleSpec, refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _ALL + "/preview", api_schedules.preview_schedule, VIEWER, NoQuery,
        "When a timing is due", Answer(PreviewView), body=api_schedules.Preview,
    ),
    api(
        "GET", _ALL + "/timeline", api_schedules.get_timeline, VIEWER,
        api_schedules.TimelineQuery, "What is to come", Answer(TimelineView),
    ),
    api(
        "GET", _ONE, api_schedules.get_schedule, VIEWER, NoQuery,
        "One schedule", Answer(ScheduleView),
    ),
    api(
        "PATCH", _ONE, api_schedules.change_schedule, OPERATOR, NoQuery,
        "Edit a schedule", Answer(ScheduleView),
        body=SchedulePatch, refuses=(Conflict, StoreFull),
    ),
    api(
        "DELETE", _ONE, api_schedules.remove_schedule, OPERATOR, NoQuery,
        "Delete a schedule", Answer(api_schedules.Gone), refuses=(StoreFull,),
    ),
    api(
        "POST", _ONE + "/pause", api_schedules.pause_schedule, OPERATOR, NoQuery,
        "Pause a schedule", Answer(ScheduleView), refuses=(StoreFull,),
    ),
    api(
        "POST", _ONE + "/resume", api_schedules.resume_schedule, OPERATOR, NoQuery,
        "Resume a schedule", Answer(ScheduleView), refuses=(StoreFull,),
    ),
    api(
        "POST", _ONE + "/run", api_schedules.run_schedule, OPERATOR, NoQuery,
        "Run a schedule's task or plan now",
        Answer(api_schedules.Begun, 201, headers={"Location": "Path of the new task or plan."}),
        headers=_KEY, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _ONE + "/firings", api_schedules.list_firings_of_schedule, VIEWER,
        api_schedules.FiringsQuery, "What became of its due instants",
        Answer(Listing[FiringView]),
    ),
    api(
        "GET", "/api/v1/firings", api_schedules.list_firings, VIEWER, api_schedules.FiringsQuery,
        "What became of all due instants", Answer(Listing[FiringView]),
    ),
)  # fmt: skip

PAGES = (
    Route("GET", "/schedules", page_schedules.show_schedules, VIEWER),
    Route("GET", "/schedules/new", page_schedule_form.show_new, OPERATOR),
    Route("POST", "/schedules/new", page_schedule_form.submit_new, OPERATOR),
    Route("POST", "/schedules/preview", page_schedule_form.preview_form, VIEWER),
    Route("GET", "/schedules/timeline", page_schedules.show_timeline, VIEWER),
    Route("GET", "/schedules/firings", page_schedules.show_firings, VIEWER),
    Route("GET", "/schedules/{schedule}", page_schedule.show_schedule, VIEWER),
    Route("GET", "/schedules/{schedule}/edit", page_schedule_form.show_edit, OPERATOR),
    Route("POST", "/schedules/{schedule}/edit", page_schedule_form.submit_edit, OPERATOR),
    Route("POST", "/schedules/{schedule}/run", page_schedule.run_now, OPERATOR),
    Route("POST", "/schedules/{schedule}/pause", page_schedule.pause, OPERATOR),
    Route("POST", "/schedules/{schedule}/resume", page_schedule.resume, OPERATOR),
    Route("POST", "/schedules/{schedule}/delete", page_schedule.remove, OPERATOR),
)
