"""How does a queue with very many items become a task? Made open, filled in parts, then closed.

What one message has room for is submitted in one, all or nothing. Of the rest each step may be
repeated under the same key, and counts once.
"""

from msgspec.structs import replace

from webserver.api_tasks import submit
from webserver.context import Caller, Master
from webserver.item_file import Spool
from webserver.items import Lines, of_json
from webserver.upload import Upload, send_lines
from wire.requests import ById, Submission
from wire.views import TaskView


async def submit_queue(
    master: Master, caller: Caller, submission: Submission, spool: Spool, key: str
) -> str:
    """The id of the task, once all of its items are on disk. Raises a Refusal; after it the task
    may be there, open, with some of them: sent again under the same key it gets the others."""
    if spool.items is not None:
        return (await submit(master, caller, replace(submission, items=spool.items), key)).id
    added = await submit(master, caller, replace(submission, open=True), key)
    await fill(master, caller, added.id, spool, key)
    if not submission.open:
        await master.call("close_queue", ById(caller.auth, added.id), TaskView)
    return added.id


async def fill(master: Master, caller: Caller, task: str, spool: Spool, key: str) -> int:
    """How many items the task has then."""
    upload = Upload(master, caller, task, key)
    return (await send_lines(upload, spool.pieces(), Lines(of_json))).items
