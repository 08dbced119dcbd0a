"""Saved groups, saved scripts, and schedules of plans, in the pages and without JavaScript."""

import re

from playwright.sync_api import Page, expect

from tests.fleet import Fleet


def test_a_group_is_saved_changed_shown_where_it_is_used_and_removed(plain: Page, fleet: Fleet):
    plain.goto(f"{fleet.url}/groups")
    plain.get_by_label("Name", exact=True).fill("front")
    plain.get_by_label("Hosts", exact=True).fill("web[01")
    plain.get_by_role("button", name="Save group").click()
    expect(plain.locator("#wrong-hosts")).to_contain_text("web[01")
    plain.get_by_label("Hosts", exact=True).fill("web01")
    plain.get_by_role("button", name="Save group").click()
    plain.get_by_role("link", name="@front").click()
    expect(plain.get_by_text("Nothing else names it")).to_be_visible()
    plain.get_by_label("Hosts", exact=True).fill("web*")
    plain.get_by_role("button", name="Change group").click()
    expect(plain.locator(".summary")).to_contain_text("2 hosts")

    body = {
        "name": "of the front",
        "when": {"kind": "every", "every": 86_400},
        "task": {"script": "true", "targets": "@front"},
    }
    made = fleet.api.call("POST", "/api/v1/schedules", body)
    assert made.status == 201, made.body
    plain.reload()
    expect(plain.get_by_role("link", name="of the front")).to_be_visible()
    expect(plain.get_by_role("button", name="Remove group")).to_have_count(0)
    assert fleet.api.call("DELETE", f"/api/v1/schedules/{made.json['id']}").status == 200
    plain.reload()
    plain.get_by_role("button", name="Remove group").click()
    plain.wait_for_url("**/groups")
    expect(plain.get_by_role("link", name="@front")).to_have_count(0)


def test_a_script_is_saved_in_versions_compared_run_and_disabled(plain: Page, fleet: Fleet):
    plain.goto(f"{fleet.url}/scripts")
    plain.get_by_label("Name", exact=True).fill("greet")
    plain.get_by_label("Script", exact=True).fill("echo hello")
    plain.get_by_label("Parameters").fill("WHO colour")
    plain.get_by_role("button", name="Save script").click()
    expect(plain.locator("#wrong-parameters")).to_contain_text("colour")
    plain.get_by_label("Parameters").fill("WHO = world # whom to greet")
    plain.get_by_role("button", name="Save script").click()

    plain.get_by_label("Script", exact=True).fill("echo good morning, $WHO")
    plain.get_by_label("Note").fill("politer")
    plain.get_by_role("button", name="Save version 2").click()
    plain.get_by_role("link", name="what changed").click()
    expect(plain.locator("table")).to_contain_text("echo hello")
    expect(plain.locator("table")).to_contain_text("echo good morning, $WHO")
    plain.get_by_role("link", name="greet").click()

    plain.get_by_role("link", name="Run version 2").click()
    expect(plain.get_by_label("WHO")).to_have_value("world")
    plain.get_by_label("WHO").fill("fleet")
    plain.get_by_label("Expression").fill("db1")
    plain.get_by_role("button", name="Run").first.click()
    plain.wait_for_url(re.compile("/tasks/[0-9a-f]{32}$"))
    task = plain.url.rpartition("/")[2]
    (run,) = fleet.api.runs(fleet.api.finished(task)["id"])
    assert fleet.api.output(task, run["id"]) == b"good morning, fleet\n"

    plain.goto(f"{fleet.url}/scripts/greet")
    expect(plain.locator(f'a[href="/tasks/{task}"]')).to_be_visible()
    plain.get_by_role("button", name="Disable", exact=True).click()
    expect(plain.get_by_text("Disabled: nothing of it starts")).to_be_visible()
    expect(plain.get_by_role("link", name="Run version 2")).to_have_count(0)


def test_a_plan_is_scheduled_from_its_page_with_one_step_more(plain: Page, fleet: Fleet):
    step = {"name": "look", "tasks": [{"script": "true", "targets": "db1"}]}
    made = fleet.api.call("POST", "/api/v1/plans", {"name": "rounds", "steps": [step]})
    assert made.status == 201, made.body
    plain.goto(f"{fleet.url}/plans/{made.json['id']}")
    plain.get_by_role("link", name="Schedule…").click()
    expect(plain.get_by_label("Name", exact=True).first).to_have_value("rounds")
    plain.get_by_role("button", name="Add a step").click()
    plain.locator("#step-1").fill("tell")
    plain.locator("#script-1").fill("echo told")
    plain.locator("#targets-1").fill("@look:lost")
    plain.get_by_label("Kind").select_option("every")
    plain.get_by_label("Again and again").fill("1 day")
    plain.get_by_role("button", name="Make schedule").click()
    expect(plain.locator("#wrong-targets-1")).to_contain_text("@look:lost")
    plain.locator("#targets-1").fill("@look:succeed")
    plain.get_by_role("button", name="Make schedule").click()
    expect(plain.get_by_text("every day").first).to_be_visible()
    expect(plain.get_by_role("heading", name="2. tell")).to_be_visible()
    plain.get_by_role("button", name="Run now").click()
    plain.wait_for_url("**/plans/*")
    expect(plain.get_by_role("heading", name="rounds")).to_be_visible()


def test_a_task_names_the_callbacks_that_are_told_of_it(plain: Page, fleet: Fleet):
    wish = {"name": "pager", "url": "https://example.org/hook", "active": False}
    made = fleet.api.call("POST", "/api/v1/callbacks", wish)
    assert made.status == 201, made.body
    plain.goto(f"{fleet.url}/tasks/new?targets=db1")
    plain.get_by_label("Script", exact=True).fill("true")
    plain.locator("#more > summary").click()
    plain.get_by_label("Callbacks").fill("pager, nobody")
    plain.get_by_role("button", name="Run").first.click()
    expect(plain.locator("#wrong-callbacks")).to_contain_text("there is no callback 'nobody'")
    plain.get_by_label("Callbacks").fill("pager")
    plain.get_by_role("button", name="Run").first.click()
    plain.wait_for_url("**/tasks/*")
    expect(plain.locator("main")).to_contain_text("Tells the callbacks")
    path = f"/api/v1/callbacks/{made.json['callback']['id']}"
    assert fleet.api.call("DELETE", path).status == 200
