"""How does a program submit a task? In one body, whatever its items are made of."""

from aiohttp import web
from msgspec.structs import replace

from webserver.api_tasks import Made, answer_made, idempotency_key, submit
from webserver.body import parse_json, read_body
from webserver.context import MASTER, Caller, Master
from webserver.item_file import Spool
from webserver.items_from import gather
from webserver.parameters import NoQuery
from webserver.queue_submit import submit_queue
from wire.defaults import QUEUE
from wire.requests import ItemsFrom, Submission


async def add_task(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """201 once the task is durable; the same again for a repeat with the same Idempotency-Key."""
    key = idempotency_key(request.headers.getall("Idempotency-Key", []))
    submission = parse_json(await read_body(request), Submission)
    master, source = request.app[MASTER], submission.items_from
    if submission.mode == QUEUE and source is not None and not submission.items:
        return await answer_made(
            request, Made(await _from_output(master, caller, submission, source, key))
        )
    return await answer_made(request, Made((await submit(master, caller, submission, key)).id))


async def _from_output(
    master: Master, caller: Caller, submission: Submission, source: ItemsFrom, key: str
) -> str:
    """All that the other task wrote is judged first: no task is made of a part of it."""
    spool = Spool()
    try:
        await gather(master, caller, source, spool)
        return await submit_queue(master, caller, replace(submission, items_from=None), spool, key)
    finally:
        spool.close()
