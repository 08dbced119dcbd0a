"""What does the API say and take about agents and targets?"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer, json_bytes
from webserver.body import identifier, parse_json, read_body
from webserver.context import MASTER, Caller, Master
from webserver.parameters import MAX_LIMIT, AgentsQuery, NoQuery, PageQuery, TargetsQuery
from wire.errors import InvalidValue, Malformed
from wire.requests import ById, GetTargets, ListAgents, ListRunsOfAgent, SetLabels
from wire.views import AgentView, Changed, Page, TargetsView

Labels = dict[str, str | None]

_AGENT_ID = re.compile(r"[0-9a-f]{32}")


class LabelsOfOne(Struct, forbid_unknown_fields=True):
    """Body of PATCH /api/v1/agents/{id}; null removes a label."""

    labels: Labels


class LabelsOfMany(Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/agents/labels, by agent id or hostname."""

    labels: dict[str, Labels]


async def list_agents(
    request: web.Request, caller: Caller, asked: AgentsQuery
) -> web.StreamResponse:
    """In the order of `sort`; hosts that are alike in it by hostname, web2 before web10."""
    ask = ListAgents(
        caller.auth,
        asked.limit,
        asked.cursor,
        asked.offset,
        asked.text,
        asked.state,
        asked.label,
        asked.sort,
        asked.facts,
        asked.standing,
        asked.renamed,
    )
    return await json_answer(request, await request.app[MASTER].call("get_agents", ask, Page))


async def get_agent(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    ask = ById(caller.auth, identifier(request, "agent"))
    return await json_answer(request, await request.app[MASTER].call("get_agent", ask, AgentView))


async def list_runs_of_agent(
    request: web.Request, caller: Caller, asked: PageQuery
) -> web.StreamResponse:
    """Those of the newest task first, each with the task's name."""
    agent = identifier(request, "agent")
    ask = ListRunsOfAgent(caller.auth, agent, asked.limit, asked.cursor)
    return await json_answer(
        request, await request.app[MASTER].call("get_runs_of_agent", ask, Page)
    )


async def all_targets(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """All of them as one bare array."""
    agents = await all_agents(request.app[MASTER], caller)
    return await json_bytes(request, msgspec.json.encode(agents))


async def all_agents(master: Master, caller: Caller, most: int | None = None) -> list[Any]:
    """The agents of all pages, as maps; `most` stops early for a page that shows only some."""
    agents: list[Any] = []
    cursor = None
    while True:
        limit = MAX_LIMIT if most is None else min(MAX_LIMIT, most - len(agents))
        found = await master.call("get_agents", ListAgents(caller.auth, limit, cursor), Page)
        agents += found.items
        cursor = found.next
        if cursor is None or not found.items or (most is not None and len(agents) >= most):
            return agents


async def preview_targets(
    request: web.Request, caller: Caller, asked: TargetsQuery
) -> web.StreamResponse:
    """Its `digest` can go with a submission as `expect`: other hosts by then are refused."""
    ask = GetTargets(caller.auth, asked.expr)
    return await json_answer(
        request, await request.app[MASTER].call("get_targets", ask, TargetsView)
    )


async def set_labels_of_one(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Labels that are not named stay; null removes one."""
    agent = identifier(request, "agent")
    body = parse_json(await read_body(request), LabelsOfOne)
    return await _set_labels(request, caller, {agent: body.labels})


async def set_labels_of_many(
    request: web.Request, caller: Caller, _: NoQuery
) -> web.StreamResponse:
    """All or none. JSON or, as a CMDB exports it, CSV; agents by id or by hostname."""
    body = await read_body(request)
    if request.content_type == "text/csv":
        named = parse_csv(body)
    else:
        named = parse_json(body, LabelsOfMany).labels
    ids = await _ids_of(request.app[MASTER], caller, named)
    labels: dict[str, Labels] = {}
    for name, wanted in named.items():
        if ids[name] in labels:
            raise InvalidValue(f"{name} is an agent that is named twice", field="labels")
        labels[ids[name]] = wanted
    return await _set_labels(request, caller, labels)


async def _set_labels(
    request: web.Request, caller: Caller, labels: dict[str, Labels]
) -> web.Response:
    ask = SetLabels(caller.auth, labels)
    return await json_answer(request, await request.app[MASTER].call("set_labels", ask, Changed))


def parse_csv(body: bytes) -> dict[str, Labels]:
    """A header `agent,LABEL,…`, then a row an agent; an empty cell removes the label."""
    rows = _rows(body)
    header = rows[0] if rows else []
    if len(header) < 2 or header[0] not in ("agent", "id", "hostname"):
        raise Malformed("the CSV begins with a header: agent (or id, hostname), then label names")
    if len(set(header)) < len(header) or "" in header:
        raise Malformed("the header of the CSV has an empty name, or one twice")
    labels: dict[str, Labels] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise Malformed(
                f"row {number} of the CSV has {len(row)} cells, the header {len(header)}"
            )
        if row[0] in labels:
            raise InvalidValue(f"{row[0]} has two rows in the CSV", field="labels")
        labels[row[0]] = {
            name: cell or None for name, cell in zip(header[1:], row[1:], strict=True)
        }
    return labels


def _rows(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        return [[cell.strip() for cell in row] for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Malformed(f"the CSV cannot be read: {error}") from error


async def _ids_of(master: Master, caller: Caller, names: Iterable[str]) -> dict[str, str]:
    """Agent ids by the names given: ids as they are, hostnames when just one agent bears them."""
    names = list(names)
    if all(_AGENT_ID.fullmatch(name) for name in names):
        return {name: name for name in names}
    agents = await all_agents(master, caller)
    known = {agent["id"] for agent in agents}
    by_hostname: dict[str, list[str]] = {}
    for agent in agents:
        by_hostname.setdefault(agent["hostname"], []).append(agent["id"])
    return {name: name if name in known else _the_one(name, by_hostname) for name in names}


def _the_one(hostname: str, by_hostname: dict[str, list[str]]) -> str:
    ids = by_hostname.get(hostname, [])
    if not ids:
        raise InvalidValue(f"there is no agent {hostname[:80]!r}", field="labels")
    if len(ids) > 1:
        raise InvalidValue(
            f"{hostname} is the hostname of several agents; name one by its id: {', '.join(ids)}",
            field="labels",
        )
    return ids[0]
