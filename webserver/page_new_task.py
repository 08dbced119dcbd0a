"""How does a person submit a script? A form that keeps its input, and says what will happen."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from webserver.api_agents import all_agents
from webserver.api_tasks import idempotency_key, submit
from webserver.context import MASTER, Caller
from webserver.draft_saved import DraftSaved, shown_saved
from webserver.draft_secrets import add_secrets
from webserver.forms import filters, link, own_form, see
from webserver.page_draft import Draft, draft_from, draft_of, fresh_draft, submission_of
from webserver.page_frame import framed
from webserver.rendering import render
from webserver.words import BETWEEN_WAVES, may_not_fit, what_will_happen
from wire.defaults import QUEUE
from wire.errors import (
    InvalidValue,
    Malformed,
    NotFound,
    Refusal,
    Unauthenticated,
    Unavailable,
)
from wire.requests import ById, GetTargets, GetTaskTargets, ListAgents, ListTasks, Submission
from wire.states import AgentState
from wire.views import AgentView, Page, TargetsView, TaskView

HOSTS_SHOWN = 500
RECENT = 8
LONGEST_EXPRESSION = 4_000
MOST_ASKED = 100  # ticked hosts that are looked at one by one for the preview
OFFLINE_NAMED = 10
STATES = ("FAILED", "TIMEOUT", "SKIPPED", "UNKNOWN", "CANCELLED")


@dataclass(frozen=True)
class Preview:
    """What the form would do if it were sent now; `count` None: nothing can be said yet."""

    sentence: str = "Run"
    count: int | None = None
    nodeset: str = ""
    digest: str = ""
    offline: int = 0
    absent: list[str] = field(default_factory=list)  # hostnames of the first that are offline
    warning: str | None = None
    wrong: str | None = None


async def show_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Empty or with `on` a host, or `targets` an expression; or with `from` what a task was, and
    on the hosts whose runs ended in one of `states`."""
    given = filters(request, "from", "states", "on", "targets", "saved", "version")
    if "from" not in given:
        draft = fresh_draft()
        draft.ticked = [given["on"]] if "on" in given else []
        draft.texts["targets"] = given.get("targets", "")
        draft.saved = DraftSaved(given.get("saved", ""), given.get("version", ""))
        return await _form_page(request, caller, draft, 200, with_preview=bool(given))
    states = [state for state in given.get("states", "").split(",") if state]
    task = await request.app[MASTER].call("get_task", ById(caller.auth, given["from"]), TaskView)
    if task.mode == QUEUE:
        return see(link("/tasks/new/queue", {"from": task.id}))
    if any(state not in STATES for state in states):
        raise InvalidValue(f"states takes some of {', '.join(STATES)}", field="states")
    draft = await _draft_from(request, caller, task, states)
    return await _form_page(request, caller, draft, 200, with_preview=True)


async def _draft_from(
    request: web.Request, caller: Caller, task: TaskView, states: list[str]
) -> Draft:
    draft = draft_from(task)
    if draft.texts["targets"] and not states:
        return draft
    ask = GetTaskTargets(caller.auth, task.id, states)
    targets = await request.app[MASTER].call("get_task_targets", ask, TargetsView)
    if targets.left_out:
        gone = ", ".join(targets.left_out[:OFFLINE_NAMED])
        draft.blame("targets", f"No longer there, and left out: {gone}.")
    folded = targets.nodeset
    if len(targets.ids) > MOST_ASKED and len(folded) < LONGEST_EXPRESSION:
        # An expression is what a person can read; the digest sees to it that it means the same.
        draft.texts |= {"targets": folded, "expect": targets.digest}
    else:
        draft.texts["targets"] = ""
        draft.ticked = targets.ids
    return draft


async def submit_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    form = await own_form(request)
    draft = draft_of(form)
    submission = submission_of(draft)
    if form.word("do") == "preview":
        return await _form_page(request, caller, draft, 200, with_preview=True)
    draft.errors |= add_secrets(submission, draft.secrets)
    if draft.errors:
        return await _form_page(request, caller, draft, 422)
    try:
        key = idempotency_key([draft.key] if draft.key else [])
        added = await submit(request.app[MASTER], caller, submission, key)
    except Unauthenticated:
        raise
    except Unavailable as refusal:
        draft.errors[""] = (
            "The master did not confirm the task, which may have been accepted. "
            "Submit again from this page: it never makes a second task."
        )
        return await _form_page(request, caller, draft, refusal.status)
    except Refusal as refusal:
        draft.blame(refusal.field, refusal.message)
        if refusal.status == 409:
            draft.key = uuid.uuid4().hex  # the next one is a task of its own
            draft.texts["expect"] = ""  # and of the hosts that a new preview shows
        return await _form_page(request, caller, draft, refusal.status, with_preview=True)
    return see(f"/tasks/{added.id}")


async def preview_form(request: web.Request, caller: Caller) -> web.StreamResponse:
    """What the form would do, as a piece of its page, for the module that asks while one types."""
    draft = draft_of(await own_form(request))
    preview = await _preview(request, caller, draft)
    return render("preview.html", preview=preview)


async def _preview(request: web.Request, caller: Caller, draft: Draft) -> Preview:
    read = Draft(dict(draft.texts), list(draft.ticked))
    submission = submission_of(read)
    if read.errors:
        name, sentence = next(iter(read.errors.items()))
        return Preview(wrong=f"{name.replace('_', ' ')}: {sentence}")
    if not draft.texts["targets"] and not draft.ticked:
        return Preview()
    try:
        if draft.texts["targets"]:
            return await _preview_of_expression(request, caller, submission)
        return await _preview_of_ticks(request, caller, submission, draft.ticked)
    except Unauthenticated:
        raise
    except Unavailable:
        return Preview(wrong="The master is away, so nothing can be said about hosts now.")
    except Refusal as refusal:
        return Preview(wrong=refusal.message)


async def _preview_of_expression(
    request: web.Request, caller: Caller, submission: Submission
) -> Preview:
    ask = GetTargets(caller.auth, str(submission.targets))
    found = await request.app[MASTER].call("get_targets", ask, TargetsView)
    return Preview(
        what_will_happen(submission, found.count),
        found.count,
        found.nodeset,
        found.digest,
        found.offline,
        await _absent(request, caller, found) if found.offline else [],
        may_not_fit(submission, found.count),
    )


async def _preview_of_ticks(
    request: web.Request, caller: Caller, submission: Submission, ticked: list[str]
) -> Preview:
    """Each host is asked for, unless they are very many: an id is no part of an expression."""
    count, master = len(ticked), request.app[MASTER]
    sentence, warning = what_will_happen(submission, count), may_not_fit(submission, count)
    if count > MOST_ASKED:
        return Preview(sentence, count, warning=warning)
    asks = [master.call("get_agent", ById(caller.auth, id), AgentView) for id in ticked]
    hosts = await asyncio.gather(*asks)
    absent = [host.hostname for host in hosts if host.state == AgentState.OFFLINE]
    return Preview(
        sentence,
        count,
        await _folded(request, caller, [host.hostname for host in hosts]),
        offline=len(absent),
        absent=absent[:OFFLINE_NAMED],
        warning=warning,
    )


async def _folded(request: web.Request, caller: Caller, names: list[str]) -> str:
    """`web[01-20]`; one by one where the names alone do not say which hosts are meant."""
    ask = GetTargets(caller.auth, ",".join(names))
    try:
        return (await request.app[MASTER].call("get_targets", ask, TargetsView)).nodeset
    except (InvalidValue, Malformed):
        return ", ".join(names)


async def _absent(request: web.Request, caller: Caller, found: TargetsView) -> list[str]:
    """Hostnames of some targets that are offline now."""
    ask = ListAgents(caller.auth, limit=HOSTS_SHOWN, state=AgentState.OFFLINE, facts=False)
    page = await request.app[MASTER].call("get_agents", ask, Page)
    chosen = frozenset(found.ids)
    names = [str(host["hostname"]) for host in page.items if host["id"] in chosen]
    return names[:OFFLINE_NAMED]


async def _form_page(
    request: web.Request, caller: Caller, draft: Draft, status: int, *, with_preview: bool = False
) -> web.Response:
    hosts = await _hosts(request, caller)
    shown = {host["id"] for host in hosts or []}
    ticked = frozenset(draft.ticked)
    if hosts:
        hosts.sort(key=lambda host: host["id"] not in ticked)  # what will be sent is in sight
    return await framed(
        request,
        caller,
        "new_task.html",
        status=status,
        draft=draft,
        saved=await shown_saved(request.app[MASTER], caller, draft.saved),
        between_waves=BETWEEN_WAVES,
        preview=await _preview(request, caller, draft) if with_preview else Preview(),
        hosts=hosts,
        most=HOSTS_SHOWN,
        hidden=[id for id in draft.ticked if id not in shown],
        recent=await _recent(request, caller),
    )


async def _hosts(request: web.Request, caller: Caller) -> list[dict[str, Any]] | None:
    """The hosts to tick; None while the master cannot say."""
    try:
        return await all_agents(request.app[MASTER], caller, most=HOSTS_SHOWN)
    except Unavailable:
        return None


async def _recent(request: web.Request, caller: Caller) -> list[dict[str, Any]]:
    """Tasks to start from; none while the master cannot say."""
    try:
        return (
            await request.app[MASTER].call("get_tasks", ListTasks(caller.auth, limit=RECENT), Page)
        ).items
    except (Unavailable, NotFound):
        return []
