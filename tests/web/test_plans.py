"""Plans through the API and in pages: submitted by a form that grows, watched, cancelled,
resumed."""

import re
from typing import Any

import msgspec
import pytest

from tests.web.fake_master import BOB, TASK
from tests.web.test_pages import log_in, send
from webserver.plan_draft import as_json, plan_from, spec_of
from wire.errors import Conflict, InvalidValue, NotFound, Unavailable
from wire.plans import (
    PlanAdded,
    PlanLine,
    PlanSpec,
    PlanStep,
    PlanStepView,
    PlanTaskView,
    PlanView,
)
from wire.requests import Submission
from wire.scripts import Parameter, ScriptView, VersionView
from wire.views import Page

PLAN = "01a1fe4785c815f82c4a18a55ebc74a5"
NOW = "2026-11-21T08:50:00.123Z"
SPEC = PlanSpec(
    name="ship",
    steps=[
        PlanStep("try", [Submission(script="make test\n", targets="@*", timeout=60.0)], "ended"),
        PlanStep("mend", [Submission(script="make clean", targets="@try:failed")]),
    ],
)
FORM = {
    "name": "ship",
    "key": "k1",
    "step": ["try", "mend"],
    "needs": ["ended", "succeeded"],
    "script": ["make test\n", "make clean"],
    "targets": ["@*", "@try:failed"],
    "parallel": ["0", ""],
    "fail_count": ["", "2"],
    "timeout": ["60 s", ""],
}


def make_plan(**changes: Any) -> PlanView:
    ran = PlanTaskView("", "@*", "FAILED", "", TASK, 3, {"SUCCEED": 2, "FAILED": 1}, ["t0"])
    to_come = PlanTaskView("clean up", "@try:failed", "WAITING")
    values: dict[str, Any] = {
        "id": PLAN,
        "name": "ship",
        "state": "RUNNING",
        "reason": "",
        "step": 1,
        "steps": [
            PlanStepView("try", "ended", "RUNNING", None, 2, [ran]),
            PlanStepView("mend", "succeeded", "WAITING", "try", 0, [to_come]),
        ],
        "owner": "alice",
        "created_by": "alice",
        "created_at": NOW,
        "ended_at": None,
    }
    return PlanView(**(values | changes))


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


async def test_it_never_puts_secrets_back_into_the_page(browser, master):
    secret = Submission(script="true", targets="@*", secrets={"TOKEN": "correct horse"})
    spec = PlanSpec(name="ship", steps=[PlanStep("try", [secret])])
    master.answer("add_plan", InvalidValue("name is taken", field="name"))
    given = {"spec": msgspec.json.encode(spec).decode(), "key": "k1"}
    page = await (await send(browser, "/plans/new", given)).text()
    assert master.asked("add_plan")[0].spec == spec
    assert "TOKEN" in page
    assert "correct horse" not in page
    assert "Type the values of its secrets again: they are never put back into a page." in page


@pytest.mark.parametrize(
    "spoil", [lambda text: text, lambda text: text[:-1], lambda text: "x" + text]
)
@pytest.mark.parametrize("path", ["/plans/new", "/schedules/new"])
async def test_it_never_puts_secrets_of_a_text_back_that_it_cannot_read(
    browser, master, path, spoil
):
    master.answer("add_plan", InvalidValue("name is taken", field="name"))
    master.answer("add_schedule", InvalidValue("name is taken", field="name"))
    master.answer("preview_schedule", InvalidValue("it never comes"))
    task = {"secrets": {"TOKEN": "correct horse"}, "secret_files": {"KEY": "battery\nstaple"}}
    tree = {"name": "ship", "steps": [{"name": "try", "tasks": [task | {"targets": "@*"}]}]}
    given = {"spec": spoil(msgspec.json.encode(tree).decode()), "key": "k1"}
    if path.startswith("/schedules"):
        given |= {"name": "nightly", "what": "plan", "kind": "cron", "cron": "0 3 * * *"}
    response = await send(browser, path, given, path)
    page = await response.text()
    assert response.status == 422
    assert "TOKEN" in page
    assert not re.search("correct horse|staple", page)
    assert "Type the values of its secrets again" in page


async def test_it_keeps_the_parameters_of_saved_scripts_that_are_no_secrets(browser, master):
    parameters = [Parameter("env"), Parameter("password", "secret")]
    version = VersionView(1, "online", "", 4, "", "alice", NOW, parameters)
    view = ScriptView("deploy", "", False, 1, 1, "alice", NOW, [version], [])
    master.answer("get_script", view)
    master.answer("add_plan", InvalidValue("name is taken", field="name"))
    saved = {"script": "deploy", "parameters": {"env": "staging-7", "password": "correct horse"}}
    tree = {
        "name": "ship",
        "steps": [{"name": "try", "tasks": [{"saved": saved, "targets": "@*"}]}],
    }
    given = {"spec": msgspec.json.encode(tree).decode(), "key": "k1"}
    page = await (await send(browser, "/plans/new", given)).text()
    assert "staging-7" in page
    assert "correct horse" not in page
    assert "Type the values of its secrets again" in page
    master.answer("get_script", Unavailable("the master does not answer"))
    page = await (await send(browser, "/plans/new", given)).text()
    assert "staging-7" not in page
    assert "correct horse" not in page


# ---- the API


async def test_it_submits_a_plan(client, master):
    master.answer("add_plan", PlanAdded(PLAN, True))
    body = msgspec.to_builtins(SPEC)
    response = await client.post("/api/v1/plans", json=body, headers={"Idempotency-Key": "k1"})
    assert (response.status, response.headers["Location"]) == (201, f"/api/v1/plans/{PLAN}")
    (asked,) = master.asked("add_plan")
    assert (asked.spec, asked.key) == (SPEC, "k1")


async def test_it_names_the_key_when_nobody_knows_whether_the_plan_was_taken(client, master):
    master.answer("add_plan", Unavailable("the master does not answer"))
    response = await client.post("/api/v1/plans", json=msgspec.to_builtins(SPEC))
    error = (await response.json())["error"]
    assert (response.status, error["details"]["idempotency_key"] in error["message"]) == (503, True)


@pytest.mark.parametrize("body", [{}, {"name": "x"}, {"name": "x", "steps": [{"nam": "a"}]}])
async def test_it_refuses_what_is_no_plan(client, body):
    response = await client.post("/api/v1/plans", json=body)
    assert response.status == 400


async def test_it_lists_gives_cancels_and_resumes(client, master):
    line = PlanLine(PLAN, "ship", "RUNNING", "", 1, 2, "try", "alice", NOW, None)
    master.answer("get_plans", Page([line]))
    master.answer("get_plan_spec", SPEC)
    for method in ("get_plan", "cancel_plan", "resume_plan"):
        master.answer(method, make_plan())
    listed = await (await client.get("/api/v1/plans?limit=5")).json()
    assert listed["items"][0]["step_name"] == "try"
    assert (await (await client.get(f"/api/v1/plans/{PLAN}")).json())["steps"][1]["waits_for"]
    spec = await (await client.get(f"/api/v1/plans/{PLAN}/spec")).json()
    assert spec == msgspec.to_builtins(SPEC)
    assert (await client.post(f"/api/v1/plans/{PLAN}/cancel")).status == 200
    for body, hosts in ((None, "failed"), ({"hosts": "all"}, "all")):
        assert (await client.post(f"/api/v1/plans/{PLAN}/resume", json=body)).status == 200
        assert master.asked("resume_plan")[-1].hosts == hosts


# ---- pages


async def test_its_page_shows_the_plan_whole(browser, master):
    master.answer("get_plan", make_plan())
    page = await (await browser.get(f"/plans/{PLAN}")).text()
    assert f'<a href="/tasks/{TASK}">try</a>' in page
    assert "waits for try" in page
    assert "@try:failed" in page
    assert "attempt 2" in page
    assert '<a href="/tasks/t0">' in page
    assert f'action="/plans/{PLAN}/cancel"' in page
    assert f'action="/plans/{PLAN}/resume"' not in page
    assert 'http-equiv="refresh"' in page


async def test_it_offers_to_resume_what_failed_and_nothing_for_what_succeeded(browser, master):
    master.answer("get_plan", make_plan(state="FAILED", reason="step try: 1 FAILED", ended_at=NOW))
    page = await (await browser.get(f"/plans/{PLAN}")).text()
    assert f'action="/plans/{PLAN}/resume"' in page
    assert "step try: 1 FAILED" in page
    assert 'http-equiv="refresh"' not in page
    master.answer("get_plan", make_plan(state="SUCCEED", ended_at=NOW))
    page = await (await browser.get(f"/plans/{PLAN}")).text()
    assert "/resume" not in page
    assert "/cancel" not in page


async def test_its_buttons_cancel_and_resume(browser, master):
    master.answer("cancel_plan", make_plan())
    master.answer("resume_plan", make_plan())
    for word, fields in (("cancel", {}), ("resume", {"hosts": "all"})):
        response = await send(browser, f"/plans/{PLAN}/{word}", fields)
        assert (response.status, response.headers["Location"]) == (303, f"/plans/{PLAN}")
    assert master.asked("resume_plan")[0].hosts == "all"


async def test_a_viewer_sees_it_without_buttons(stranger, master):
    assert (await log_in(stranger, BOB)).status == 303
    master.answer("get_plan", make_plan())
    page = await (await stranger.get(f"/plans/{PLAN}")).text()
    assert "waits for try" in page
    assert "/cancel" not in page
    assert (await stranger.get("/plans/new")).status == 403


async def test_the_list_says_when_there_is_none(browser, master):
    master.answer("get_plans", Page([]))
    assert "No plan was submitted yet" in await (await browser.get("/plans")).text()


# ---- the form


async def test_the_form_submits_its_steps(browser, master):
    master.answer("add_plan", PlanAdded(PLAN, True))
    response = await send(browser, "/plans/new", FORM | {"do": "submit"}, "/plans/new")
    assert (response.status, response.headers["Location"]) == (303, f"/plans/{PLAN}")
    (asked,) = master.asked("add_plan")
    assert [step.name for step in asked.spec.steps] == ["try", "mend"]
    first, second = (step.tasks[0] for step in asked.spec.steps)
    assert (first.script, first.targets, first.parallel) == ("make test\n", "@*", 0)
    assert (first.timeout, second.parallel, second.fail_count) == (60.0, None, 2)
    assert (asked.spec.steps[0].needs, asked.key) == ("ended", "k1")


async def test_the_form_grows_and_shrinks_and_keeps_what_was_typed(browser, master):
    response = await send(browser, "/plans/new", FORM | {"do": "add"}, "/plans/new")
    page = await response.text()
    assert "Step 3" in page
    assert 'value="@try:failed"' in page
    response = await send(browser, "/plans/new", FORM | {"do": "remove 0"}, "/plans/new")
    page = await response.text()
    assert "Step 2" not in page
    assert "make clean" in page
    assert "make test" not in page
    assert master.asked("add_plan") == []


async def test_the_form_says_beside_the_field_what_is_wrong(browser, master):
    refusal = InvalidValue(
        "steps[1].tasks[0].targets: there is no host named web09",
        field="steps[1].tasks[0].targets",
    )
    master.answer("add_plan", refusal)
    response = await send(browser, "/plans/new", FORM | {"do": "submit"}, "/plans/new")
    page = await response.text()
    assert response.status == 422
    assert 'id="wrong-targets-1" role="alert">targets: there is no host named web09' in page
    assert 'value="k1"' in page
    wrong = FORM | {"do": "submit", "timeout": ["soon", ""]}
    page = await (await send(browser, "/plans/new", wrong, "/plans/new")).text()
    assert 'id="wrong-timeout-0"' in page
    master.answer("add_plan", Conflict("the key was used"))
    page = await (await send(browser, "/plans/new", FORM, "/plans/new")).text()
    assert "the key was used" in page


async def test_the_form_goes_on_as_json_and_says_what_is_wrong_with_that(browser, master):
    page = await (await send(browser, "/plans/new", FORM | {"do": "json"}, "/plans/new")).text()
    assert "&#34;targets&#34;: &#34;@try:failed&#34;" in page
    response = await send(browser, "/plans/new", {"spec": '{"name": 1}', "key": "k"}, "/plans/new")
    page = await response.text()
    assert response.status == 422
    assert 'id="wrong-spec"' in page
    master.answer("add_plan", PlanAdded(PLAN, True))
    fields = {"spec": as_json(SPEC), "key": "k"}
    assert (await send(browser, "/plans/new", fields, "/plans/new")).status == 303
    assert master.asked("add_plan")[0].spec == SPEC


async def test_it_starts_from_a_plan_that_was(browser, master):
    master.answer("get_plan_spec", SPEC)
    page = await (await browser.get(f"/plans/new?from={PLAN}")).text()
    assert 'value="@try:failed"' in page
    assert 'name="spec"' not in page
    two = PlanSpec(name="ship", steps=[PlanStep("try", SPEC.steps[0].tasks * 2)])
    master.answer("get_plan_spec", two)
    assert 'name="spec"' in await (await browser.get(f"/plans/new?from={PLAN}")).text()
    master.answer("get_plan_spec", NotFound("no plan has the id"))
    assert (await browser.get("/plans/new?from=nothing")).status == 404


def test_what_a_form_shows_comes_back_as_it_was():
    assert spec_of(plan_from(SPEC)) == SPEC
    assert plan_from(SPEC).text is None
    coded = PlanSpec(
        name="x", steps=[PlanStep("a", [Submission(script_base64="AA==", targets="@*")])]
    )
    assert spec_of(plan_from(coded)) == coded
