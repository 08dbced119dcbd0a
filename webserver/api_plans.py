"""What does the API say and take about plans?"""

from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from webserver.answers import json_answer, relay
from webserver.api_tasks import check_size, idempotency_key
from webserver.body import identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller, Master
from webserver.parameters import NoQuery, PageQuery
from wire.errors import Busy, Unavailable
from wire.plans import AddPlan, ListPlans, PlanAdded, PlanSpec, PlanView, ResumePlan
from wire.requests import ById
from wire.views import Page

# Only said, not checked, here: the master's sentence says more.
Hosts = Annotated[str, Meta(extra_json_schema={"enum": ["failed", "all"]})]


class PlanMade(Struct):
    """The id of the plan, which is on disk."""

    id: str


class Resume(Struct, forbid_unknown_fields=True):
    """On which hosts the tasks that did not succeed run again: on those that `failed` to, or on
    `all` that their targets name now."""

    hosts: Hosts = "failed"


async def add_plan(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """201 once the plan is durable; the same again for a repeat with the same Idempotency-Key. Its
    first step begins at once."""
    key = idempotency_key(request.headers.getall("Idempotency-Key", []))
    spec = parse_json(await read_body(request), PlanSpec)
    added = await submit(request.app[MASTER], caller, spec, key)
    headers = {"Location": f"/api/v1/plans/{added.id}"}
    return await json_answer(request, PlanMade(added.id), status=201, headers=headers)


async def submit(master: Master, caller: Caller, spec: PlanSpec, key: str) -> PlanAdded:
    """Hand a plan to the master; what is too large never reaches the wire."""
    check_sizes(spec)
    try:
        return await master.call("add_plan", AddPlan(caller.auth, spec, key), PlanAdded)
    except Busy:
        raise  # refused before it was looked at
    except Unavailable as refusal:
        raise Unavailable(
            "the master did not confirm the plan, which may have been accepted: send the same "
            f"request again with the header Idempotency-Key: {key}, it never makes a second plan",
            details={"idempotency_key": key},
        ) from refusal


def check_sizes(spec: PlanSpec) -> None:
    """Raises TooLarge: what the master would refuse is not sent to it."""
    for step in spec.steps:
        for task in step.tasks:
            check_size(task)


async def list_plans(request: web.Request, caller: Caller, asked: PageQuery) -> web.StreamResponse:
    """Newest first."""
    ask = ListPlans(caller.auth, asked.limit, asked.cursor)
    return await relay(request, "get_plans", ask, Page)


async def get_plan(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """The whole plan: its steps, their tasks with state and counts, and what waits for what."""
    ask = ById(caller.auth, identifier(request, "plan"))
    return await relay(request, "get_plan", ask, PlanView)


async def get_spec(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """As it was submitted, with the scripts of all steps; to be sent again."""
    ask = ById(caller.auth, identifier(request, "plan"))
    return await relay(request, "get_plan_spec", ask, PlanSpec)


async def cancel_plan(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """No further step begins, and what runs is stopped. 200 also when it was cancelled or has
    ended before."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "plan"))
    return await relay(request, "cancel_plan", ask, PlanView)


async def resume_plan(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """A plan that failed or was cancelled goes on with the step at which it ended. What succeeded
    of that step is kept."""
    hosts = parse_json(await read_body(request) or b"{}", Resume).hosts
    ask = ResumePlan(caller.auth, identifier(request, "plan"), hosts)
    return await relay(request, "resume_plan", ask, PlanView)
