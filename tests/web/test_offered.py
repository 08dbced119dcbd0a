"""What the master says of a person's rights decides which buttons a page has; by a role alone
nobody with a limit of hosts could tell."""

import re
from typing import Any

import pytest

from tests.web.fake_master import DB1, OTTO, RUN, TASK, make_agent, make_run, make_task
from tests.web.test_pages import log_in
from tests.web.test_plans import NOW, PLAN, make_plan
from tests.web.test_queue_pages import queue_task
from tests.web.test_schedules import ID as SCHEDULE
from tests.web.test_schedules import PREVIEW, make_view
from wire.plans import PlanRights
from wire.views import OneRun, Page, TaskRights

STATES = ["FAILED", "TIMEOUT", "SKIPPED", "UNKNOWN", "CANCELLED"]
ALL, NONE = TaskRights(True, STATES), TaskRights(False, [])
ENDED: dict[str, Any] = {
    "state": "FAILED",
    "ended_at": NOW,
    "total": 2,
    "counts": {"FAILED": 1, "SKIPPED": 1},
}


@pytest.fixture
async def otto(stranger):
    """An operator, logged in."""
    assert (await log_in(stranger, OTTO)).status == 303
    return stranger


async def buttons(browser, path):
    """The last words of what the forms of the page's own things are sent to."""
    response = await browser.get(path)
    assert response.status == 200
    return set(re.findall(rf'action="{path}/([\w-]+)"', await response.text()))


@pytest.mark.parametrize(
    ("may", "wanted"),
    [(ALL, {"pause", "change", "cancel"}), (NONE, set()), (None, {"pause", "change", "cancel"})],
)
async def test_a_task_can_be_steered_by_whom_the_master_would_let(otto, master, may, wanted):
    master.answer("get_task", make_task(may=may))
    assert await buttons(otto, f"/tasks/{TASK}") == wanted


@pytest.mark.parametrize(
    ("may", "wanted"), [(ALL, {"change", "resume", "cancel", "close", "items"}), (NONE, set())]
)
async def test_a_queue_can_be_steered_by_whom_the_master_would_let(otto, master, may, wanted):
    master.answer("get_task", queue_task(may=may, state="PAUSED", open=True))
    assert await buttons(otto, f"/tasks/{TASK}") == wanted


@pytest.mark.parametrize("may", [ALL, NONE])
async def test_items_are_put_back_by_whom_the_master_would_let(otto, master, may):
    counts = {"FAILED": 1, "RUNNING": 1}
    master.answer("get_task", queue_task(may=may, dead=1, counts=counts))
    master.answer("get_runs", Page([make_run(state="FAILED")]))
    assert ("put-back" in await buttons(otto, f"/tasks/{TASK}")) is (may is ALL)


@pytest.mark.parametrize("states", [STATES, ["SKIPPED"], []])
async def test_the_states_that_may_be_retried_are_offered_and_no_others(otto, master, states):
    master.answer("get_task", make_task(may=TaskRights(False, states), **ENDED))
    page = await (await otto.get(f"/tasks/{TASK}")).text()
    offered = set(re.findall(r'name="state" value="(\w+)"', page))
    assert offered == {"FAILED", "SKIPPED"} & set(states)
    assert (f'action="/tasks/{TASK}/retry"' in page) is bool(states)


@pytest.mark.parametrize("may", [True, False])
async def test_a_run_is_cancelled_by_whom_the_master_would_let(otto, master, may):
    run = {field: getattr(make_run(), field) for field in make_run().__struct_fields__}
    run |= {"state": "RUNNING", "ended_at": None, "code": None, "may_cancel": may}
    master.answer("get_run", OneRun(**run))
    assert await buttons(otto, f"/tasks/{TASK}/runs/{RUN}") == ({"cancel"} if may else set())


@pytest.mark.parametrize(
    ("may", "status"), [(True, 200), (None, 200), (False, 403)], ids=["may", "unsaid", "may not"]
)
async def test_a_schedule_is_steered_by_whom_the_master_would_let(otto, master, may, status):
    master.answer("get_schedule", make_view(may_steer=may))
    master.answer("preview_schedule", PREVIEW)
    master.answer("get_firings", Page([]))
    wanted = {"run", "pause", "delete"} if may is not False else set()
    assert await buttons(otto, f"/schedules/{SCHEDULE}") == wanted
    page = await (await otto.get(f"/schedules/{SCHEDULE}")).text()
    assert (f'href="/schedules/{SCHEDULE}/edit"' in page) is (may is not False)
    assert (await otto.get(f"/schedules/{SCHEDULE}/edit")).status == status


@pytest.mark.parametrize("may", [True, False])
async def test_a_plan_is_cancelled_by_whom_the_master_would_let(otto, master, may):
    master.answer("get_plan", make_plan(may=PlanRights(may, [])))
    assert await buttons(otto, f"/plans/{PLAN}") == ({"cancel"} if may else set())


@pytest.mark.parametrize("hosts", [["failed", "all"], ["failed"], ["all"], []])
async def test_a_plan_is_resumed_on_the_hosts_that_the_master_would_let(otto, master, hosts):
    may = PlanRights(False, hosts)
    master.answer("get_plan", make_plan(may=may, state="FAILED", ended_at=NOW))
    page = await (await otto.get(f"/plans/{PLAN}")).text()
    assert re.findall(r'name="hosts" value="(\w+)"', page) == hosts
    assert page.count(" checked>") == bool(hosts)
    assert (f'action="/plans/{PLAN}/resume"' in page) is bool(hosts)


@pytest.mark.parametrize("may", [True, False])
async def test_scripts_are_run_on_a_host_by_whom_the_master_would_let(otto, master, may):
    master.answer("get_agent", make_agent(DB1, "db1", may_run=may))
    page = await (await otto.get(f"/hosts/{DB1}")).text()
    assert (f'href="/tasks/new?on={DB1}"' in page) is may
