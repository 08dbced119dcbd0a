"""Schedules through the API and the forms, in front of a small master."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from tests.web.fake_master import BOB, NOW, TASK
from tests.web.test_pages import log_in, send
from wire.errors import Conflict, InvalidValue, Unavailable
from wire.plans import PlanSpec, PlanStep
from wire.requests import Saved, Submission
from wire.schedules import (
    ComingView,
    FiringView,
    FrequentView,
    InstantView,
    PreviewView,
    Run,
    ScheduleView,
    TimelineView,
    Timing,
)
from wire.views import Page

ID = "s0123456789abcdef"
PLAN = "p0123456789abcdef"
CRON = {"kind": "cron", "cron": "30 2 * * *", "zone": "Europe/Berlin"}
SOUND = {"name": "nightly", "when": CRON, "task": {"script": "true", "targets": "@*"}}
FORM = {
    "name": "nightly",
    "kind": "cron",
    "cron": "30 2 * * *",
    "zone": "Europe/Berlin",
    "script": "true\n",
    "targets": "@*",
}


def make_view(**changes):
    given: dict[str, Any] = {
        "id": ID,
        "name": "nightly",
        "state": "active",
        "reason": "",
        "when": Timing("cron", cron="30 2 * * *", zone="Europe/Berlin"),
        "words": "at 2:30",
        "task": {"script": "echo hello\n", "targets": "@*", "timeout": 60.0},
        "overlap": "skip",
        "misfire": "each",
        "misfire_most": 3,
        "misfire_grace": 7200,
        "owner": "otto",
        "created_by": "alice",
        "created_at": NOW,
        "edited_at": NOW,
        "revision": 4,
        "next_at": NOW,
        "next_local": "2026-11-21 09:50:00 +01:00",
    }
    return ScheduleView(**(given | changes))


def make_firing(**changes):
    given: dict[str, Any] = {
        "schedule": ID,
        "schedule_name": "nightly",
        "due_at": NOW,
        "until_at": None,
        "state": "missed",
        "reason": "late by 2 hours: what is late is left out",
        "decided_at": NOW,
        "late_s": 7200.0,
    }
    return FiringView(**(given | changes))


PREVIEW = PreviewView(
    [InstantView(NOW, "2026-11-21 09:50", "comes twice")], "Europe/Berlin", "", ""
)


@pytest.fixture
def ready(master):
    for method in ("get_schedule", "add_schedule", "change_schedule", "pause_schedule"):
        master.answer(method, make_view())
    master.answer("resume_schedule", make_view())
    master.answer("remove_schedule", {})
    master.answer("run_schedule", Run(TASK, "task", True))
    master.answer("preview_schedule", PREVIEW)
    master.answer("get_schedules", Page([make_view(last=make_firing())]))
    master.answer("get_firings", Page([make_firing()]))
    coming = ComingView(ID, "nightly", NOW, "2026-11-21 09:50:00 +01:00", "Europe/Berlin")
    often = FrequentView(ID, "ticking", "every 60 seconds", 1440, NOW)
    master.answer("get_timeline", TimelineView(NOW, NOW, [coming], [often]))
    return master


@pytest.fixture
async def browser(stranger):
    assert (await log_in(stranger)).status == 303
    return stranger


async def test_it_makes_a_schedule_and_says_where_it_is(client, ready):
    response = await client.post("/api/v1/schedules", json=SOUND)
    assert response.status == 201, await response.text()
    assert response.headers["Location"] == f"/api/v1/schedules/{ID}"
    spec = ready.asked("add_schedule")[0].spec
    assert spec.when == Timing("cron", cron="30 2 * * *", zone="Europe/Berlin")
    assert (spec.overlap, spec.misfire, spec.paused) == ("skip", "once", False)


async def test_it_passes_on_what_is_to_be_changed_and_nothing_else(client, ready):
    body = {"overlap": "wait", "revision": 4}
    response = await client.patch(f"/api/v1/schedules/{ID}", json=body)
    assert response.status == 200
    patch = ready.asked("change_schedule")[0].patch
    assert (patch.overlap, patch.revision, patch.when, patch.task) == ("wait", 4, UNSET, UNSET)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**SOUND, "wehn": CRON}, "wehn"),
        ({**SOUND, "when": {"kind": "every", "evry": 1}}, "evry"),
        ({**SOUND, "when": {"kind": "every", "every": "1"}}, "when"),
        ({**SOUND, "task": {"scirpt": "true"}}, "scirpt"),
    ],
)
async def test_it_names_the_field_of_a_malformed_body(client, ready, body, field):
    response = await client.post("/api/v1/schedules", json=body)
    assert response.status == 400
    assert (await response.json())["error"]["field"] == field


@pytest.mark.parametrize(
    "body",
    [rb'{"when": {"kind": "once", "at": 5, "zone": "\ud800"}}', rb'{"\ud800": 1, "\ud800": 2}'],
)
async def test_it_refuses_what_is_no_text_in_words_that_can_be_sent(client, ready, body):
    response = await client.post("/api/v1/schedules/preview", data=body)
    assert response.status == 400
    assert "ud800" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("word", ["pause", "resume"])
async def test_it_pauses_and_resumes(client, ready, word):
    response = await client.post(f"/api/v1/schedules/{ID}/{word}")
    assert (response.status, (await response.json())["id"]) == (200, ID)


async def test_it_runs_now_with_the_key_of_the_caller(client, ready):
    response = await client.post(f"/api/v1/schedules/{ID}/run", headers={"Idempotency-Key": "k 1"})
    assert (response.status, response.headers["Location"]) == (201, f"/api/v1/tasks/{TASK}")
    assert ready.asked("run_schedule")[0].key == "k 1"
    ready.answer("run_schedule", Run(PLAN, "plan", True))
    response = await client.post(f"/api/v1/schedules/{ID}/run")
    assert response.headers["Location"] == f"/api/v1/plans/{PLAN}"
    assert await response.json() == {"id": PLAN, "kind": "plan"}


async def test_it_deletes(client, ready):
    response = await client.delete(f"/api/v1/schedules/{ID}")
    assert (response.status, await response.json()) == (200, {"id": ID})


async def test_it_answers_previews_lists_and_the_timeline(client, ready):
    preview = await client.post("/api/v1/schedules/preview", json={"when": CRON, "count": 3})
    assert (await preview.json())["next"][0]["note"] == "comes twice"
    assert ready.asked("preview_schedule")[0].count == 3
    for path in (
        "/api/v1/schedules?state=paused&text=night&limit=3",
        "/api/v1/schedules/timeline?hours=48",
        f"/api/v1/schedules/{ID}/firings?state=missed",
        "/api/v1/firings",
    ):
        assert (await client.get(path)).status == 200, path
    assert ready.asked("get_schedules")[0].state == "paused"
    assert ready.asked("get_timeline")[0].hours == 48
    assert [asked.schedule for asked in ready.asked("get_firings")] == [ID, None]


@pytest.mark.parametrize("path", ["/api/v1/schedules/timeline?hours=0", "/api/v1/firings?stat=x"])
async def test_it_refuses_a_query_that_makes_no_sense(client, ready, path):
    assert (await client.get(path)).status in (400, 422)


async def test_bob_may_look_and_nothing_else(stranger, ready):
    bob = {"Authorization": f"Bearer {BOB}"}
    assert (await stranger.get(f"/api/v1/schedules/{ID}", headers=bob)).status == 200
    preview = await stranger.post("/api/v1/schedules/preview", json={"when": CRON}, headers=bob)
    assert preview.status == 200
    for method, path, body in (
        ("POST", "/api/v1/schedules", SOUND),
        ("PATCH", f"/api/v1/schedules/{ID}", {"overlap": "wait"}),
        ("POST", f"/api/v1/schedules/{ID}/run", None),
        ("DELETE", f"/api/v1/schedules/{ID}", None),
    ):
        response = await stranger.request(method, path, json=body, headers=bob)
        assert response.status == 403, path


async def test_it_makes_a_schedule_of_a_plan(client, ready):
    step = {"name": "try", "tasks": [{"script": "true", "targets": "@*"}]}
    body = {"name": "nightly", "when": CRON, "plan": {"steps": [step]}}
    assert (await client.post("/api/v1/schedules", json=body)).status == 201
    spec = ready.asked("add_schedule")[0].spec
    assert (spec.task, spec.plan.steps[0].name) == (None, "try")


# ---- pages


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/schedules", "nightly"),
        ("/schedules/timeline", "1,440 times"),
        ("/schedules/firings", "late by 2 hours"),
        (f"/schedules/{ID}", "run each that was missed, at most 3, unless later than 2 h"),
        (f"/schedules/{ID}/edit", "30 2 * * *"),
        ("/schedules/new", "Make schedule"),
        (f"/schedules/new?from={TASK}", "echo hello"),
    ],
)
async def test_it_shows_the_page(browser, ready, path, said):
    response = await browser.get(path)
    assert response.status == 200
    assert said in await response.text()


async def test_it_saves_what_the_form_says(browser, ready):
    given = FORM | {"splay": "10 min", "misfire": "each", "misfire_grace": "2 days"}
    response = await send(browser, "/schedules/new", given)
    assert (response.status, response.headers["Location"]) == (303, f"/schedules/{ID}")
    spec = ready.asked("add_schedule")[0].spec
    assert spec.when == Timing("cron", cron="30 2 * * *", zone="Europe/Berlin", splay=600)
    assert (spec.misfire, spec.misfire_grace) == ("each", 172_800)
    assert spec.task == Submission(script="true\n", targets="@*")


STEPS = {
    "name": "nightly",
    "what": "plan",
    "kind": "cron",
    "cron": "30 2 * * *",
    "zone": "Europe/Berlin",
    "step": ["try", "mend"],
    "needs": ["ended", "succeeded"],
    "script": ["make test\n", "make clean"],
    "targets": ["@*", "@try:failed"],
    "parallel": ["0", ""],
    "fail_count": ["", ""],
    "timeout": ["60 s", ""],
}


async def test_it_saves_the_steps_of_a_plan(browser, ready):
    response = await send(browser, "/schedules/new", STEPS)
    assert (response.status, response.headers["Location"]) == (303, f"/schedules/{ID}")
    spec = ready.asked("add_schedule")[0].spec
    assert (spec.task, spec.name, spec.plan.name) == (None, "nightly", "")
    assert [step.name for step in spec.plan.steps] == ["try", "mend"]
    assert spec.plan.steps[0].tasks[0].timeout == 60.0


async def test_it_says_beside_the_step_what_is_wrong(browser, ready):
    said = "plan.steps[1].tasks[0].targets: there is no host x"
    ready.answer("add_schedule", InvalidValue(said, field="plan.steps[1].tasks[0].targets"))
    response = await send(browser, "/schedules/new", STEPS)
    page = await response.text()
    assert response.status == 422
    assert 'id="wrong-targets-1" role="alert">targets: there is no host x' in page
    assert 'value="30 2 * * *"' in page


async def test_it_adds_and_removes_steps_and_goes_on_as_json(browser, ready):
    page = await (await send(browser, "/schedules/new", STEPS | {"do": "add"})).text()
    assert page.count('name="step"') == 3
    page = await (await send(browser, "/schedules/new", STEPS | {"do": "remove 0"})).text()
    assert page.count('name="step"') == 1
    page = await (await send(browser, "/schedules/new", STEPS | {"do": "json"})).text()
    assert "make test" in page and 'name="spec"' in page
    assert not ready.asked("add_schedule")


async def test_it_shows_and_edits_a_schedule_of_a_plan(browser, ready):
    spec = PlanSpec(
        name="ship",
        steps=[
            PlanStep("try", [Submission(script="make test", targets="@*")], "ended"),
            PlanStep("mend", [Submission(saved=Saved("tidy"), targets="@try:failed")]),
        ],
    )
    ready.answer("get_schedule", make_view(task=None, plan=msgspec.to_builtins(spec)))
    page = await (await browser.get(f"/schedules/{ID}")).text()
    for said in ("make test", "@try:failed", "/scripts/tidy", "all of this has ended"):
        assert said in page
    page = await (await browser.get(f"/schedules/{ID}/edit")).text()
    assert 'name="spec"' in page  # a saved script is more than the fields can show
    firing = make_firing(state="fired", reason="", plan=PLAN, plan_state="RUNNING")
    ready.answer("get_firings", Page([firing]))
    assert f"/plans/{PLAN}" in await (await browser.get("/schedules/firings")).text()


async def test_it_begins_with_what_a_plan_was(browser, ready):
    step = PlanStep("try", [Submission(script="make test\n", targets="@*")])
    ready.answer("get_plan_spec", PlanSpec(name="ship", steps=[step]))
    page = await (await browser.get(f"/schedules/new?plan={PLAN}")).text()
    assert 'name="name" value="ship"' in page
    assert "make test" in page
    page = await (await browser.get("/schedules/new?what=plan")).text()
    assert page.count('name="step"') == 2


async def test_it_takes_of_the_form_what_is_of_its_kind(browser, ready):
    await send(browser, "/schedules/new", FORM | {"kind": "every", "every": "6 h"})
    assert ready.asked("add_schedule")[0].spec.when == Timing(
        "every", every=21_600, zone="Europe/Berlin"
    )


async def test_it_edits_the_revision_that_was_shown(browser, ready):
    response = await send(browser, f"/schedules/{ID}/edit", FORM | {"revision": "4"})
    assert response.status == 303
    patch = ready.asked("change_schedule")[0].patch
    assert (patch.revision, patch.name) == (4, "nightly")


async def test_it_shows_the_next_firings_and_saves_nothing(browser, ready):
    response = await send(browser, "/schedules/new", FORM | {"do": "preview"})
    assert response.status == 200
    assert "comes twice" in await response.text()
    assert not ready.asked("add_schedule")


@pytest.mark.parametrize(
    ("refusal", "place"),
    [
        (InvalidValue("its minute 61", field="when.cron"), "wrong-cron"),
        (InvalidValue("task.targets: no host", field="task.targets"), "wrong-targets"),
        (Conflict("there is one", field="name"), "wrong-name"),
    ],
)
async def test_it_keeps_what_was_typed_and_says_beside_the_field_what_is_wrong(
    browser, ready, refusal, place
):
    ready.answer("add_schedule", refusal)
    response = await send(browser, "/schedules/new", FORM)
    page = await response.text()
    assert response.status == refusal.status
    assert f'id="{place}"' in page
    assert "true\n</textarea>" in page


async def test_it_says_which_duration_cannot_be_read(browser, ready):
    given = FORM | {"kind": "every", "every": "now and then", "misfire_most": "many"}
    response = await send(browser, "/schedules/new", given)
    page = await response.text()
    assert response.status == 422
    assert 'id="wrong-every"' in page
    assert 'id="wrong-misfire_most"' in page
    assert not ready.asked("add_schedule")


async def test_it_keeps_the_form_while_the_master_is_away(browser, ready):
    ready.answer("preview_schedule", Unavailable("the master is away"))
    ready.answer("add_schedule", Unavailable("the master is away"))
    response = await send(browser, "/schedules/new", FORM)
    assert response.status == 503
    assert "30 2 * * *" in await response.text()


async def test_it_shows_times_on_the_clock_of_the_zone(browser, ready):
    when = Timing("once", at="2026-10-25T01:30:00.000Z", zone="Europe/Berlin")
    ready.answer("get_schedule", make_view(when=when))
    page = await (await browser.get(f"/schedules/{ID}/edit")).text()
    assert 'value="2026-10-25 02:30:00+01:00"' in page  # the second time that it is 2:30


@pytest.mark.parametrize("word", ["pause", "resume", "delete", "run"])
async def test_its_buttons_take_one_on(browser, ready, word):
    response = await send(browser, f"/schedules/{ID}/{word}", {})
    assert response.status == 303


async def test_it_never_runs_html_of_a_name_or_a_reason(browser, ready):
    bad = "<script>alert(1)</script>"
    ready.answer("get_schedules", Page([make_view(name=bad, reason=bad, words=bad)]))
    ready.answer("get_firings", Page([make_firing(reason=bad, schedule_name=bad)]))
    for path in ("/schedules", "/schedules/firings", f"/schedules/{ID}"):
        assert bad not in await (await browser.get(path)).text()
