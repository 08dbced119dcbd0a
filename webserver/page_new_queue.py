"""How does a person submit a script with items for it? A form that says what will happen."""

import uuid
from dataclasses import dataclass

from aiohttp import web

from webserver.api_tasks import idempotency_key
from webserver.context import MASTER, Caller
from webserver.draft_saved import DraftSaved, shown_saved
from webserver.draft_secrets import add_secrets
from webserver.forms import Form, filters, own_form, see
from webserver.item_file import Spool, own_upload
from webserver.items_from import gather
from webserver.page_frame import framed
from webserver.queue_draft import (
    QueueDraft,
    fresh_queue,
    queue_from,
    queue_of,
    queue_submission_of,
)
from webserver.queue_submit import submit_queue
from webserver.queue_words import may_not_fit, what_queue_will_do
from webserver.rendering import render
from wire.errors import Refusal, Unauthenticated, Unavailable
from wire.requests import ById, GetTargets, Submission
from wire.views import TargetsView, TaskView


@dataclass(frozen=True)
class QueuePreview:
    """What the form would do if it were sent now; `hosts` None: nothing can be said yet."""

    sentence: str = "Run for each item"
    hosts: int | None = None
    nodeset: str = ""
    offline: int = 0
    warning: str | None = None
    wrong: str | None = None


async def show_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Empty, or with `from` what a queue was, or with a saved script, or for what the task
    `output` wrote."""
    given = filters(request, "from", "targets", "saved", "version", "output")
    if "from" in given:
        ask = ById(caller.auth, given["from"])
        draft = queue_from(await request.app[MASTER].call("get_task", ask, TaskView))
    else:
        draft = fresh_queue()
        draft.texts["targets"] = given.get("targets", draft.texts["targets"])
        draft.saved = DraftSaved(given.get("saved", ""), given.get("version", ""))
        draft.texts["items_from"] = given.get("output", "")
    return await _form_page(request, caller, draft, 200)


async def submit_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    spool = Spool()
    try:
        return await _submitted(request, caller, spool)
    finally:
        spool.close()


async def _submitted(request: web.Request, caller: Caller, spool: Spool) -> web.StreamResponse:
    sent = await own_upload(request, spool)
    draft = queue_of(sent.form)
    submission = queue_submission_of(draft)
    if sent.wrong:
        draft.blame("items", sent.wrong)
    for item in draft.listed:
        spool.add(item)
    if sent.form.word("do") == "preview":
        return await _form_page(request, caller, draft, 200)
    draft.errors |= add_secrets(submission, draft.secrets)
    if draft.errors:
        return await _form_page(request, caller, draft, 422)
    try:
        key = idempotency_key([draft.key] if draft.key else [])
        return see(f"/tasks/{await _submit(request, caller, submission, spool, key)}")
    except Unauthenticated:
        raise
    except Unavailable as refusal:
        draft.errors[""] = (
            "The master did not confirm all of it. Submit again from this page, with the same "
            "file: it never makes a second task, and no item counts twice."
        )
        return await _form_page(request, caller, draft, refusal.status)
    except Refusal as refusal:
        draft.blame(refusal.field, refusal.message)
        if refusal.status == 409:
            draft.key = uuid.uuid4().hex  # the next one is a task of its own
        return await _form_page(request, caller, draft, refusal.status)


async def _submit(
    request: web.Request, caller: Caller, submission: Submission, spool: Spool, key: str
) -> str:
    """The id of the task, with what another task wrote among its items, if that is asked for."""
    master = request.app[MASTER]
    if submission.items_from is not None:
        await gather(master, caller, submission.items_from, spool)
        submission.items_from = None
    return await submit_queue(master, caller, submission, spool, key)


async def preview_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    """What the form would do, as a piece of its page, for the module that asks while one types.

    It says how many items there are (`count`) and what the file is called, in place of them.
    """
    form = await own_form(request)
    preview = await _preview(request, caller, queue_of(form), form)
    return render("queue_preview.html", preview=preview)


async def _form_page(
    request: web.Request, caller: Caller, draft: QueueDraft, status: int
) -> web.Response:
    preview = await _preview(request, caller, draft, Form({}))
    return await framed(
        request,
        caller,
        "new_queue.html",
        status=status,
        draft=draft,
        saved=await shown_saved(request.app[MASTER], caller, draft.saved),
        preview=preview,
    )


async def _preview(
    request: web.Request, caller: Caller, draft: QueueDraft, told: Form
) -> QueuePreview:
    read = QueueDraft(dict(draft.texts))
    submission = queue_submission_of(read)
    count = told.word("count")
    items = int(count) if count.isdecimal() and len(count) < 8 else len(read.listed)
    if read.errors:
        name, sentence = next(iter(read.errors.items()))
        return QueuePreview(wrong=f"{name.replace('_', ' ')}: {sentence}")
    try:
        return await _with_hosts(request, caller, submission, items, told.word("file_name")[:60])
    except Unauthenticated:
        raise
    except Unavailable:
        return QueuePreview(wrong="The master is away, so nothing can be said about hosts now.")
    except Refusal as refusal:
        return QueuePreview(wrong=refusal.message)


async def _with_hosts(
    request: web.Request, caller: Caller, submission: Submission, items: int, file: str
) -> QueuePreview:
    ask = GetTargets(caller.auth, str(submission.targets))
    found = await request.app[MASTER].call("get_targets", ask, TargetsView)
    if submission.items_from is not None:
        file = f"the output of task {submission.items_from.task[:12]}…"
    nothing = not items and not file and not submission.open
    return QueuePreview(
        "Run for each item"
        if nothing
        else what_queue_will_do(submission, items, file, found.count),
        found.count,
        found.nodeset,
        found.offline,
        may_not_fit(submission, items),
    )
