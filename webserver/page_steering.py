"""How do people steer a task that goes on? Pause, resume, and a form for what is left of it."""

from aiohttp import web
from msgspec import UNSET

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.forms import Form, own_form, see
from webserver.page_draft import Draft, draft_from, submission_of
from webserver.queue_draft import QueueDraft, queue_from, queue_submission_of
from wire.defaults import ALL_AGENTS, spelled_out
from wire.errors import InvalidValue
from wire.requests import ById, ChangeTask, Submission, TaskChanges
from wire.views import TaskView

CHANGEABLE = TaskChanges.__struct_fields__


async def pause_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _by_word(request, caller, "pause_task")


async def resume_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    return await _by_word(request, caller, "resume_task")


async def change_task(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Only what differs from the task as it is now is sent on: two people may change two things."""
    form, id = await own_form(request), identifier(request, "task")
    master = request.app[MASTER]
    task = await master.call("get_task", ById(caller.auth, id), TaskView)
    changes = changes_of(form, task)
    if changes != TaskChanges():
        await master.call("change_task", ChangeTask(caller.auth, id, changes), TaskView)
    return see(f"/tasks/{id}")


def changes_of(form: Form, task: TaskView) -> TaskChanges:
    """Raises InvalidValue for a text that cannot be read."""
    draft = draft_from(task) if task.queue is None else queue_from(task)
    before = _read(draft)
    draft.texts |= {name: form.word(name) for name in CHANGEABLE if name in form.fields}
    after = _read(draft)
    values = {name: getattr(after, name) for name in CHANGEABLE if name in form.fields}
    changed = {name: value for name, value in values.items() if value != getattr(before, name)}
    if changed.get("rolling", UNSET) is None:
        raise InvalidValue("rolling is empty; 100% lets all that is left start", field="rolling")
    return TaskChanges(**changed)


def _read(draft: Draft) -> Submission:
    draft.errors.clear()
    if isinstance(draft, QueueDraft):
        draft.texts["targets"] = ALL_AGENTS  # which it does not ask for
        submission = queue_submission_of(draft)
    else:
        submission = submission_of(draft)
    for field, sentence in draft.errors.items():
        raise InvalidValue(f"{field}: {sentence}", field=field)
    return spelled_out(submission)


async def _by_word(request: web.Request, caller: Caller, method: str) -> web.StreamResponse:
    await own_form(request)
    task = identifier(request, "task")
    await request.app[MASTER].call(method, ById(caller.auth, task), TaskView)
    return see(f"/tasks/{task}")
