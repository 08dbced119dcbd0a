"""What does the API say and take about tasks? Those that are new: see api_submit.py."""

import re
import uuid
from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from webserver.answers import json_answer
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller, Master
from webserver.parameters import NoQuery, TaskQuery, TasksQuery, TaskTargetsQuery
from wire.errors import Busy, Malformed, TooLarge, Unavailable
from wire.messages import MAX_SCRIPT_BYTES
from wire.requests import (
    AddTask,
    ById,
    ChangeTask,
    GetTaskTargets,
    ListTasks,
    RetryTask,
    Submission,
    TaskChanges,
)
from wire.states import ENDED_RUN, RunState
from wire.views import Added, Page, TargetsView, TaskView

MAX_WAIT_S = 30.0
WAIT_SLACK_S = 10.0  # for an answer that was parked as long as it may be

KEY = "[!-~][ -~]{0,199}"

RETRIED = ("FAILED", "TIMEOUT", "SKIPPED", "UNKNOWN", "CANCELLED")  # as pages offer them

_KEY = re.compile(KEY)


class Made(Struct):
    """The id of the task, which is on disk."""

    id: str


# Only said, not checked, here: the master's sentence says more.
RetryState = Annotated[
    str, Meta(extra_json_schema={"enum": sorted(ENDED_RUN - {RunState.SUCCEED})})
]


class Retry(Struct, forbid_unknown_fields=True):
    """Which runs to repeat: those that have ended in one of these states."""

    states: Annotated[list[RetryState], Meta(min_length=1)]


class Retried(Struct):
    """`left_out`: hosts that are no longer enrolled; known only to who made the task first."""

    id: str
    left_out: list[str]


async def retry_task(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """A new task with the script and the settings of this one, on the hosts of the runs chosen."""
    key = idempotency_key(request.headers.getall("Idempotency-Key", []))
    task = identifier(request, "task")
    states = parse_json(await read_body(request), Retry).states
    added = await retry(request.app[MASTER], caller, task, states, key)
    return await answer_made(request, Retried(added.id, added.left_out))


async def answer_made(request: web.Request, made: Made | Retried) -> web.StreamResponse:
    """201 with the place of the new task."""
    headers = {"Location": f"/api/v1/tasks/{made.id}"}
    return await json_answer(request, made, status=201, headers=headers)


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
    check_size(submission)
    return await _add(master, "add_task", AddTask(caller.auth, submission, key), key)


async def retry(master: Master, caller: Caller, task: str, states: list[str], key: str) -> Added:
    """As `submit`, of a task that was there before."""
    return await _add(master, "retry_task", RetryTask(caller.auth, task, states, key), key)


async def _add(master: Master, method: str, ask: AddTask | RetryTask, key: str) -> Added:
    try:
        return await master.call(method, ask, Added)
    except Busy:
        raise  # refused before it was looked at
    except Unavailable as refusal:
        raise Unavailable(
            "the master did not confirm the task, which may have been accepted: send the same "
            f"request again with the header Idempotency-Key: {key}, it never makes a second task",
            details={"idempotency_key": key},
        ) from refusal


def check_size(submission: Submission) -> None:
    """Raises TooLarge: what the master would refuse is not sent to it."""
    text, coded = submission.script, submission.script_base64
    if text is not None and len(text.encode()) > MAX_SCRIPT_BYTES:
        _too_large("script")
    if coded is not None and len(coded) > -(-MAX_SCRIPT_BYTES // 3) * 4:
        _too_large("script_base64")


def _too_large(field: str) -> None:
    raise TooLarge(
        f"{field} has more than {MAX_SCRIPT_BYTES} bytes, the most a script may have", field=field
    )


async def list_tasks(request: web.Request, caller: Caller, asked: TasksQuery) -> web.StreamResponse:
    """Newest first. With filters a page may hold fewer than `limit`, even none, and have `next`."""
    ask = ListTasks(
        caller.auth,
        asked.limit,
        asked.cursor,
        asked.state,
        asked.text,
        asked.created_by,
        asked.agent,
    )
    return await json_answer(request, await request.app[MASTER].call("get_tasks", ask, Page))


async def get_task(request: web.Request, caller: Caller, asked: TaskQuery) -> web.StreamResponse:
    """At once, or with `wait` when the task has ended or the wait is over."""
    wait_s = min(asked.wait, MAX_WAIT_S)
    ask = ById(caller.auth, identifier(request, "task"), wait_s)
    timeout_s = wait_s + WAIT_SLACK_S if wait_s else None
    return await json_answer(
        request, await request.app[MASTER].call("get_task", ask, TaskView, timeout_s)
    )


async def get_task_targets(
    request: web.Request, caller: Caller, asked: TaskTargetsQuery
) -> web.StreamResponse:
    """As they are now, to run it again; `left_out` names those that are no longer enrolled."""
    states = [str(state) for state in asked.states or ()]
    ask = GetTaskTargets(caller.auth, identifier(request, "task"), states)
    return await json_answer(
        request, await request.app[MASTER].call("get_task_targets", ask, TargetsView)
    )


async def pause_task(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Nothing more of it starts; what runs goes on. 200 also when it is paused already."""
    return await _by_word(request, caller, "pause_task")


async def resume_task(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """A paused task goes on, with its next wave if it waits between two. 200 also when it is not
    paused."""
    return await _by_word(request, caller, "resume_task")


async def change_task(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Other places, limits, priority or waves for what is left of the task."""
    changes = parse_json(await read_body(request), TaskChanges)
    ask = ChangeTask(caller.auth, identifier(request, "task"), changes)
    return await json_answer(request, await request.app[MASTER].call("change_task", ask, TaskView))


async def cancel_task(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """200 also when it was cancelled or has ended before."""
    return await _by_word(request, caller, "cancel_task")


async def _by_word(request: web.Request, caller: Caller, method: str) -> web.StreamResponse:
    """A change that the path says all about, so that it takes no body."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "task"))
    return await json_answer(request, await request.app[MASTER].call(method, ask, TaskView))
