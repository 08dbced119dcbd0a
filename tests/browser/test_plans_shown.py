"""A plan in a browser: typed step by step without JavaScript, followed live, mended and resumed."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.fleet import Fleet
from tests.support import until


def fill(page: Page, number: int, name: str, hosts: str, script: str) -> None:
    step = page.get_by_role("group", name=f"Step {number}", exact=True)
    step.get_by_label("Name", exact=True).fill(name)
    step.get_by_label("Hosts").fill(hosts)
    step.get_by_label("Script").fill(script)


def test_a_plan_is_typed_and_submitted_without_javascript(plain: Page, fleet: Fleet):
    plain.set_viewport_size({"width": 390, "height": 844})
    plain.goto(f"{fleet.url}/plans")
    plain.get_by_role("link", name="New plan").click()
    plain.get_by_label("Name", exact=True).first.fill("plain plan")
    fill(plain, 1, "look", "@*", "echo looked")
    fill(plain, 2, "again", "@look:lost", "echo again")
    plain.get_by_role("button", name="Add a step").click()
    fill(plain, 3, "last", "web01", "echo last")
    plain.get_by_role("button", name="Submit plan").click()
    expect(plain.get_by_text("they are one of failed, timeout")).to_be_visible()
    fill(plain, 2, "again", "@look:succeed", "echo again")
    width = plain.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    plain.get_by_role("button", name="Submit plan").click()
    plain.wait_for_url(re.compile("/plans/[0-9a-f]{32}$"))
    assert plain.evaluate("document.documentElement.scrollWidth") <= 390
    plan = plain.url.rpartition("/")[2]
    until(lambda: fleet.api.get(f"/api/v1/plans/{plan}")["state"] == "SUCCEED", 60, "its end")
    plain.reload()
    expect(plain.get_by_role("listitem").filter(has_text="3. last")).to_contain_text("succeeded")


def test_a_list_of_plans_hears_of_a_new_one_and_of_its_end_without_asking(
    page: Page, fleet: Fleet, tmp_path: Path
):
    page.goto(f"{fleet.url}/plans")
    expect(page.get_by_role("heading", name="Plans")).to_be_visible()
    gate = tmp_path / "gate"
    script = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    step = {"name": "build", "tasks": [{"script": script, "targets": "web01"}]}
    body = {"name": "heard of", "steps": [step]}
    assert fleet.api.call("POST", "/api/v1/plans", body).status == 201
    row = page.get_by_role("row").filter(has_text="heard of")
    expect(row).to_contain_text("running")
    gate.touch()
    expect(row).to_contain_text("succeeded")


def test_a_plan_is_followed_and_resumed_where_it_failed(page: Page, fleet: Fleet, tmp_path: Path):
    gate, mended = tmp_path / "gate", tmp_path / "mended"
    page.get_by_role("link", name="Plans").click()
    page.get_by_role("link", name="New plan").click()
    page.get_by_label("Name", exact=True).first.fill("live plan")
    script = f"while [ ! -e {gate} ]; do sleep 0.05; done; test -e {mended}"
    fill(page, 1, "build", "web01", script)
    fill(page, 2, "ship", "@build:succeed", "echo shipped")
    page.get_by_role("button", name="Submit plan").click()
    second = page.get_by_role("listitem").filter(has_text="2. ship")
    expect(second).to_contain_text("waits for build")
    gate.touch()
    expect(page.get_by_text("step build: 1 FAILED of 1 run")).to_be_visible()
    mended.touch()
    page.get_by_text("Resume…").click()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(second).to_contain_text("succeeded")
    expect(page.get_by_role("listitem").filter(has_text="1. build")).to_contain_text("attempt 2")
    second.get_by_role("link", name="ship").click()
    expect(page.get_by_role("link", name="plan live plan")).to_be_visible()
