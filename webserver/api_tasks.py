"""What does the API say and take about tasks?"""

import re
import uuid

from aiohttp import web

from webserver.answers import json_answer
from webserver.body import (
    identifier,
    limit_of,
    one_of,
    parse_json,
    query,
    read_body,
    refuse_body,
    seconds_of,
)
from webserver.context import MASTER, Caller, Master
from wire.errors import Busy, Malformed, TooLarge, Unavailable
from wire.messages import (
    MAX_SCRIPT_BYTES,
    Added,
    AddTask,
    ById,
    ListTasks,
    Page,
    Submission,
    TaskView,
)
from wire.states import TaskState

MAX_WAIT_S = 30.0
WAIT_SLACK_S = 10.0  # for an answer that was parked as long as it may be

_KEY = re.compile(r"[!-~][ -~]{0,199}")


async def add_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """201 once the task is durable; the same again for a repeat with the same Idempotency-Key."""
    query(request)
    key = idempotency_key(request.headers.getall("Idempotency-Key", []))
    submission = parse_json(await read_body(request), Submission)
    added = await submit(request.app[MASTER], caller, submission, key)
    return await json_answer(
        request, {"id": added.id}, status=201, headers={"Location": f"/api/v1/tasks/{added.id}"}
    )


def idempotency_key(headers: list[str]) -> str:
    """The caller's key; made here when there is none, so that a 503 can name one."""
    if not headers:
        return uuid.uuid4().hex
    if len(headers) > 1 or not _KEY.fullmatch(headers[0]):
        raise Malformed(
            "Idempotency-Key takes 1 to 200 printable ASCII characters, once",
            field="Idempotency-Key",
        )
    return headers[0]


async def submit(master: Master, caller: Caller, submission: Submission, key: str) -> Added:
    """Hand a submission to the master; what is too large never reaches the wire."""
    _check_size(submission)
    try:
        return await master.call("add_task", AddTask(caller.auth, submission, key), Added)
    except Busy:
        raise  # refused before it was looked at
    except Unavailable as refusal:
        raise Unavailable(
            "the master did not confirm the task, which may have been accepted: send the same "
            f"request again with the header Idempotency-Key: {key}, it never makes a second task",
            details={"idempotency_key": key},
        ) from refusal


def _check_size(submission: Submission) -> None:
    text, coded = submission.script, submission.script_base64
    if text is not None and len(text.encode()) > MAX_SCRIPT_BYTES:
        _too_large("script")
    if coded is not None and len(coded) > -(-MAX_SCRIPT_BYTES // 3) * 4:
        _too_large("script_base64")


def _too_large(field: str) -> None:
    raise TooLarge(
        f"{field} has more than {MAX_SCRIPT_BYTES} bytes, the most a script may have", field=field
    )


async def list_tasks(request: web.Request, caller: Caller) -> web.StreamResponse:
    given = query(request, "limit", "cursor", "state")
    state = one_of(given, "state", list(TaskState))
    ask = ListTasks(caller.auth, limit_of(given), given.get("cursor"), state)
    return await json_answer(request, await request.app[MASTER].call("get_tasks", ask, Page))


async def get_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """At once, or with `wait` when the task has ended or the wait is over."""
    wait_s = seconds_of(query(request, "wait"), "wait", MAX_WAIT_S)
    ask = ById(caller.auth, identifier(request, "task"), wait_s)
    timeout_s = wait_s + WAIT_SLACK_S if wait_s else None
    return await json_answer(
        request, await request.app[MASTER].call("get_task", ask, TaskView, timeout_s)
    )


async def cancel_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """200 also when it was cancelled or has ended before."""
    query(request)
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "task"))
    return await json_answer(request, await request.app[MASTER].call("cancel_task", ask, TaskView))
