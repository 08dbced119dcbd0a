"""How does a person submit a script? A form that keeps its input, whatever goes wrong."""

import math
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from webserver.api_agents import all_agents
from webserver.api_tasks import idempotency_key, submit
from webserver.context import MASTER, Caller
from webserver.forms import Form, own_form, see
from webserver.rendering import render
from wire.errors import Forbidden, Refusal, Unauthenticated, Unavailable
from wire.messages import Submission

HOSTS_SHOWN = 500
TEXTS = ("script", "targets", "name", "timeout", "parallel", "fail_count", "fail_rate")

_FIELDS = {"script_base64": "script", "expect": "targets"}


@dataclass
class Draft:
    """What stands in the form: texts as typed, ticked hosts, and what is wrong, by field.

    `key` makes sending the form twice harmless. `errors[""]` belongs to no field.
    """

    texts: dict[str, str]
    ticked: list[str] = field(default_factory=list)
    key: str = ""
    errors: dict[str, str] = field(default_factory=dict)


def fresh_draft() -> Draft:
    texts = dict.fromkeys(TEXTS, "") | {"timeout": "3600", "parallel": "1"}
    return Draft(texts, key=uuid.uuid4().hex)


def draft_of(form: Form) -> Draft:
    texts = {name: form.text(name) if name == "script" else form.word(name) for name in TEXTS}
    return Draft(texts, form.many("agent"), form.word("key"))


def submission_of(draft: Draft) -> Submission:
    """The task that the draft describes; fields that cannot be read go to `draft.errors`.

    Only the form is judged here; whether the values are right is for the master to say.
    """
    texts, submission = draft.texts, Submission(script=draft.texts["script"])
    submission.name = texts["name"]
    submission.targets = _targets(draft)
    submission.timeout = _number(draft, "timeout", 0.0)
    submission.parallel = _parallel(texts["parallel"])
    if texts["fail_count"]:
        submission.fail_count = int(_number(draft, "fail_count", 0.0, whole=True))
    if texts["fail_rate"]:
        submission.fail_rate = _number(draft, "fail_rate", 0.0)
    return submission


def _targets(draft: Draft) -> list[str] | str:
    if draft.ticked and draft.texts["targets"]:
        draft.errors["targets"] = "Tick hosts or write an expression, not both."
    return draft.texts["targets"] or draft.ticked


def _parallel(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII) else text


def _number(draft: Draft, name: str, default: float, *, whole: bool = False) -> float:
    try:
        number = float(draft.texts[name] or default)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 2**53 or (whole and number != int(number)):
        draft.errors[name] = f"This takes a {'whole ' if whole else ''}number."
        return default
    return number


async def show_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _form_page(request, caller, fresh_draft(), 200)


async def submit_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    draft = draft_of(await own_form(request))
    submission = submission_of(draft)
    if draft.errors:
        return await _form_page(request, caller, draft, 422)
    try:
        key = idempotency_key([draft.key] if draft.key else [])
        added = await submit(request.app[MASTER], caller, submission, key)
    except (Unauthenticated, Forbidden):
        raise
    except Unavailable as refusal:
        draft.errors[""] = (
            "The master did not confirm the task, which may have been accepted. "
            "Submit again from this page: it never makes a second task."
        )
        return await _form_page(request, caller, draft, refusal.status)
    except Refusal as refusal:
        _blame(draft, refusal)
        return await _form_page(request, caller, draft, refusal.status)
    return see(f"/tasks/{added.id}")


def _blame(draft: Draft, refusal: Refusal) -> None:
    """Put the master's sentence beside the field that it is about."""
    name = _FIELDS.get(refusal.field or "", refusal.field)
    draft.errors[name if name in TEXTS else ""] = refusal.message
    if refusal.status == 409:
        draft.key = uuid.uuid4().hex  # the next one is a task of its own


async def _form_page(
    request: web.Request, caller: Caller, draft: Draft, status: int
) -> web.Response:
    hosts = await _hosts(request, caller)
    shown = {host["id"] for host in hosts or []}
    return render(
        "new_task.html",
        status=status,
        caller=caller,
        draft=draft,
        hosts=hosts,
        most=HOSTS_SHOWN,
        hidden=[id for id in draft.ticked if id not in shown],
    )


async def _hosts(request: web.Request, caller: Caller) -> list[dict[str, Any]] | None:
    """The hosts to tick; None while the master cannot say."""
    try:
        return await all_agents(request.app[MASTER], caller, most=HOSTS_SHOWN)
    except Unavailable:
        return None
