"""The audit log for admins: as pages, as JSON, and as files that are safe to open."""

import csv
import io
import json

import pytest

from tests.web.fake_master import BOB
from tests.web.test_pages import log_in
from webserver.parameters import parse_time
from wire.audit import AuditPage, AuditRecord
from wire.errors import InvalidValue, Unavailable


def make_record(seq=1, **changes):
    values = {
        "seq": seq,
        "at": "2026-11-21T08:50:00.123Z",
        "who": "alice",
        "kind": "session",
        "credential": "s1",
        "address": "10.0.0.1",
        "action": "task.cancel",
        "object": "task:t1",
        "result": "ok",
        "detail": {},
        "hash": "0" * 64,
    }
    return AuditRecord(**(values | changes))


async def test_it_lists_the_records(client, master):
    master.answer("get_audit", AuditPage([make_record(2), make_record(1)], "next"))
    response = await client.get(
        "/api/v1/audit?who=alice&action=task&object=task:t1&result=ok&limit=2"
        "&since=2026-11-21&until=2026-11-22T01:00:00%2B01:00"
    )
    assert response.status == 200
    body = await response.json()
    assert [one["seq"] for one in body["items"]] == [2, 1]
    asked = master.calls[-1][1]
    assert (asked.who, asked.action, asked.object, asked.limit) == ("alice", "task", "task:t1", 2)
    assert (asked.since, asked.until) == (1795219200.0, 1795305600.0)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1e999", "0" * 200])
def test_it_refuses_a_time_that_is_none(text):
    with pytest.raises(InvalidValue):
        parse_time(text, "since")


async def test_it_is_for_admins_alone(stranger):
    response = await stranger.get("/api/v1/audit", headers={"Authorization": f"Bearer {BOB}"})
    assert response.status == 403
    assert (await stranger.get("/api/v1/audit")).status == 401


@pytest.mark.parametrize("bad", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
async def test_no_cell_of_the_csv_is_a_formula(client, master, bad):
    record = make_record(object=bad, who='a "quoted", name', detail={"host": "=web01"})
    master.answer("get_audit", AuditPage([record]))
    response = await client.get("/api/v1/audit?format=csv")
    assert response.content_type == "text/csv"
    assert "attachment" in response.headers["Content-Disposition"]
    text = (await response.read()).decode()
    header, row = csv.reader(io.StringIO(text, newline=""))
    found = dict(zip(header, row, strict=True))
    assert found["object"] == f"'{bad}"
    assert found["who"] == 'a "quoted", name'
    assert json.loads(found["detail"]) == {"host": "=web01"}


async def test_a_file_has_every_page(client, master):
    pages = [AuditPage([make_record(3), make_record(2)], "c1"), AuditPage([make_record(1)])]
    master.answer("get_audit", lambda asked: pages[asked.cursor == "c1"])
    response = await client.get("/api/v1/audit?format=ndjson")
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [one["seq"] for one in lines] == [3, 2, 1]


async def test_a_file_that_cannot_be_had_is_an_error_and_no_empty_file(client, master):
    master.answer("get_audit", Unavailable("the master cannot be reached"))
    assert (await client.get("/api/v1/audit?format=csv")).status == 503


async def test_the_page_shows_what_was_done_and_refused(stranger, master):
    assert (await log_in(stranger)).status == 303
    refused = make_record(2, who="<bob>", result="forbidden")
    master.answer("get_audit", AuditPage([refused, make_record(1)], "c1"))
    page = await (await stranger.get("/audit?who=&result=refused")).text()
    assert "&lt;bob&gt;" in page
    assert "forbidden" in page
    assert 'href="/tasks/t1"' in page
    assert "/audit/csv?result=refused" in page
    assert "/audit?result=refused&amp;cursor=c1" in page


async def test_the_page_gives_the_file(stranger, master):
    assert (await log_in(stranger)).status == 303
    master.answer("get_audit", AuditPage([make_record(1)]))
    response = await stranger.get("/audit/csv?who=alice")
    assert response.status == 200
    assert "task.cancel" in await response.text()
    assert (await stranger.get("/audit/exe")).status == 404


async def test_only_admins_are_shown_the_way(stranger, master):
    assert (await log_in(stranger, BOB)).status == 303
    page = await (await stranger.get("/tasks")).text()
    assert "/audit" not in page
