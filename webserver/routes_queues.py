"""Which paths are there for queue tasks, beyond those of all tasks? Rows of the one table."""

from webserver import api_output, api_queues, api_tasks, page_new_queue, page_queue
from webserver.endpoint import BYTES, CSV, NDJSON, TEXT, Answer, Header, Listing, May, Route, api
from webserver.parameters import NoQuery, ResultsQuery
from webserver.queue_results import Results
from webserver.refusals import RangeNotSatisfiable
from wire.errors import Conflict, StoreFull
from wire.queues import AttemptView, ItemsAdded, PutBackDone
from wire.views import TaskView

_TASK = "/api/v1/tasks/{task}"

_LINES = {
    TEXT: "An item a line, of any number; empty lines are passed over.",
    NDJSON: "A JSON value a line, of any number.",
}
_UPLOAD = {
    "Idempotency-Key": Header(
        "1 to 200 printable ASCII characters of your choice: the name of the upload. Sent again "
        "under the same name its items count once.",
        api_tasks.KEY,
    )
}

API = (
    api(
        "POST", _TASK + "/items", api_queues.add_items, May.OPERATOR, NoQuery,
        "Add items to an open queue", Answer(ItemsAdded), body=api_queues.Items,
        also_takes=_LINES, headers=_UPLOAD, refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _TASK + "/close", api_queues.close_queue, May.OPERATOR, NoQuery,
        "Close a queue", Answer(TaskView), refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _TASK + "/put-back", api_queues.put_back, May.OPERATOR, NoQuery,
        "Try again what was given up", Answer(PutBackDone), body=api_queues.Chosen,
        refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _TASK + "/results", api_queues.get_results, May.VIEWER, ResultsQuery,
        "What became of the items", Answer(Results), Answer(None, media=CSV),
        Answer(None, media=NDJSON), refuses=(Conflict,),
    ),
    api(
        "GET", "/api/v1/runs/{run}/attempts", api_queues.get_attempts, May.VIEWER, NoQuery,
        "Earlier attempts of a run", Answer(Listing[AttemptView]),
    ),
    api(
        "GET", "/api/v1/runs/{run}/attempts/{attempt}/output", api_output.get_attempt_output,
        May.VIEWER, NoQuery, "The output of one attempt", Answer(None, media=BYTES),
        Answer(None, 206, BYTES), headers=api_output.RANGE, refuses=(RangeNotSatisfiable,),
    ),
)  # fmt: skip

PAGES = (
    Route("GET", "/tasks/new/queue", page_new_queue.show_form, May.OPERATOR),
    Route("POST", "/tasks/new/queue", page_new_queue.submit_form, May.OPERATOR),
    Route("POST", "/tasks/new/queue/preview", page_new_queue.preview_form, May.VIEWER),
    Route("POST", "/tasks/{task}/items", page_queue.add_items, May.OPERATOR),
    Route("POST", "/tasks/{task}/close", page_queue.close_queue, May.OPERATOR),
    Route("POST", "/tasks/{task}/put-back", page_queue.put_back, May.OPERATOR),
)
