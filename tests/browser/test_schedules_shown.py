"""Schedules: made, seen, edited, run and deleted in the pages, with and without JavaScript."""

import pytest
from playwright.sync_api import expect

PATHS = ["/schedules", "/schedules/new", "/schedules/timeline", "/schedules/firings"]


@pytest.fixture(scope="module")
def nightly(fleet):
    made = fleet.api.call(
        "POST",
        "/api/v1/schedules",
        {
            "name": "nightly backup of everything that there is",
            "when": {"kind": "cron", "cron": "30 2 * * *", "zone": "Europe/Berlin"},
            "task": {"script": "echo hello", "targets": "web*"},
        },
    )
    assert made.status == 201, made.body
    return made.json


def test_it_shows_the_next_firings_as_one_types(page, fleet):
    page.goto(f"{fleet.url}/schedules/new")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("By the clock").fill("61 * * * *")
    expect(page.locator("#preview")).to_contain_text("0 to 59")
    page.get_by_label("By the clock").fill("30 2 * * *")
    expect(page.locator("#preview tbody tr")).to_have_count(10)
    expect(page.locator("#preview")).to_contain_text("comes twice")


def test_it_makes_edits_runs_and_deletes_a_schedule_without_javascript(plain, fleet):
    plain.goto(f"{fleet.url}/schedules/new")
    plain.get_by_label("Name", exact=True).fill("sweep")
    plain.get_by_label("Kind").select_option("every")
    plain.get_by_label("Again and again").fill("2 days")
    plain.get_by_label("Script").fill("echo swept")
    plain.get_by_label("Hosts", exact=True).fill("nowhere01")
    plain.get_by_role("button", name="Show the next firings").click()
    expect(plain.locator("#preview tbody tr")).to_have_count(10)
    expect(plain.get_by_label("Script")).to_have_value("echo swept")
    plain.get_by_role("button", name="Make schedule").click()
    expect(plain.locator("#wrong-targets")).to_contain_text("nowhere01")
    plain.get_by_label("Hosts", exact=True).fill("db1")
    plain.get_by_role("button", name="Make schedule").click()
    expect(plain.get_by_role("heading", name="sweep")).to_be_visible()

    plain.get_by_role("button", name="Run now").click()
    plain.wait_for_url("**/tasks/*")
    expect(plain.get_by_role("heading", name="sweep")).to_be_visible()
    plain.get_by_role("link", name="Schedules").click()
    plain.get_by_role("link", name="sweep").click()
    expect(plain.get_by_text("by hand of")).to_be_visible()

    plain.get_by_role("link", name="Edit").click()
    plain.get_by_label("Again and again").fill("6 h")
    plain.get_by_role("button", name="Save").click()
    expect(plain.get_by_text("every 6 hours").first).to_be_visible()
    plain.get_by_role("button", name="Pause").click()
    expect(plain.get_by_text("None while it is paused")).to_be_visible()
    plain.get_by_role("button", name="Resume").click()
    plain.locator("#ask-delete > summary").click()
    plain.get_by_role("button", name="Yes, delete it").click()
    plain.wait_for_url("**/schedules")
    expect(plain.get_by_role("link", name="sweep")).to_have_count(0)
    plain.goto(f"{fleet.url}/schedules/firings")
    expect(plain.get_by_text("by hand of").first).to_be_visible()


def test_it_keeps_what_was_typed_when_another_has_edited_meanwhile(page, fleet, nightly, console):
    page.goto(f"{fleet.url}/schedules/{nightly['id']}/edit")
    changed = fleet.api.call("PATCH", f"/api/v1/schedules/{nightly['id']}", {"misfire": "skip"})
    assert changed.status == 200, changed.body
    page.get_by_label("By the clock").fill("45 2 * * *")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_contain_text("look at it again")
    expect(page.get_by_label("By the clock")).to_have_value("45 2 * * *")
    console.forgive("409")


def test_it_tells_the_coming_hours_as_a_list(page, fleet, nightly):
    page.goto(f"{fleet.url}/schedules/timeline")
    expect(page.get_by_role("link", name=nightly["name"])).to_be_visible()
    expect(page.get_by_text("in Europe/Berlin")).to_be_visible()


@pytest.mark.parametrize("path", [*PATHS, "one"])
@pytest.mark.parametrize("width", [390, 2560])
def test_it_needs_no_sideways_scrolling(page, fleet, nightly, path, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(fleet.url + path.replace("one", f"/schedules/{nightly['id']}"))
    page.wait_for_function("document.readyState === 'complete'")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_schedules_what_a_task_did(page, fleet):
    task = fleet.api.submit("echo again", "db1", name="was once")
    page.goto(f"{fleet.url}/tasks/{task}")
    page.get_by_role("link", name="Schedule…").click()
    expect(page.get_by_label("Script")).to_have_value("echo again")
    expect(page.get_by_label("Hosts", exact=True)).to_have_value("db1")
