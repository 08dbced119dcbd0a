"""Hosts: found, opened, labelled; and the pages on a phone."""

import re
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import expect

PATHS = ["/tasks", "/hosts", "/tasks/new", "/tasks/nothing", "/nowhere", "/api"]


def test_it_filters_and_sorts_hosts_as_one_types(page, fleet):
    page.goto(f"{fleet.url}/hosts")
    names = page.locator("#hosts td.name")
    expect(names).to_have_text(["db1", "web01", "web02"])
    page.get_by_label("Text").fill("web")
    expect(names).to_have_text(["web01", "web02"])
    expect(page).to_have_url(re.compile(r"\?text=web$"))
    page.get_by_role("link", name="Host", exact=True).click()
    expect(names).to_have_text(["web02", "web01"])
    page.get_by_label("Text").fill("nothing like it")
    expect(page.get_by_text("No host fits this filter")).to_be_visible()


def test_it_labels_a_host_and_shows_what_ran_there(page, fleet, console):
    fleet.api.finished(fleet.api.submit("true", "db1", name="was here"))
    page.goto(f"{fleet.url}/hosts")
    page.get_by_role("link", name="db1").click()
    expect(page.get_by_role("link", name="was here").first).to_be_visible()
    page.get_by_label("Name", exact=True).fill("role")
    page.get_by_label("Value").fill("db")
    page.get_by_label("Value").press("Enter")
    expect(page.get_by_text("role:db")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("no such thing!")
    page.get_by_label("Value").fill("x")
    page.get_by_role("button", name="Set label").click()
    expect(page.get_by_role("alert")).to_contain_text("no such thing!")
    console.forgive("422")
    page.get_by_role("button", name="Remove the label role").click()
    expect(page.get_by_text("role:db")).to_be_hidden()
    page.get_by_role("link", name="Run a script here").click()
    expect(page.get_by_role("button", name="Run on 1 host")).to_be_visible()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [390, 2560])
def test_it_needs_no_sideways_scrolling(page, fleet, console, path, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(fleet.url + path)
    page.wait_for_function("document.readyState === 'complete'")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    console.forgive("404")


@pytest.mark.parametrize("width", [390, 1440])
def test_it_pings_all_hosts(page, fleet, console, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{fleet.url}/hosts")
    page.get_by_role("button", name="Ping all").click()
    expect(page.get_by_role("heading", name="3 of 3 answered")).to_be_visible()
    expect(page.locator("td.answer")).to_have_text([re.compile(r"ms$")] * 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def ten_thousand(route):
    """The API of a fleet that is larger than this machine could hold."""
    asked = parse_qs(urlparse(route.request.url).query)
    first, limit = int(asked["offset"][0]), int(asked["limit"][0])
    rest = {"ip": [], "labels": {}, "state": "online", "standing": "enrolled", "busy": 0}
    rest |= {"slots": 4, "last_seen": None, "version": "1", "clock_skew": None}
    numbers = range(first, min(first + limit, 10_000))
    hosts = [{"id": f"{n:032x}", "hostname": f"host{n:05}", **rest} for n in numbers]
    route.fulfill(json={"items": hosts, "next": None, "total": 10_000})


def test_it_scrolls_through_ten_thousand_hosts_with_few_rows(page, fleet):
    page.route("**/api/v1/agents?*", ten_thousand)
    page.goto(f"{fleet.url}/hosts")
    rows = page.locator("#hosts tbody tr")
    expect(page.get_by_role("link", name="host00000")).to_be_visible()
    expect(page.locator("#total")).to_have_text("10,000")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(page.get_by_role("link", name="host09999")).to_be_visible()
    assert rows.count() < 150
    expect(rows.locator("visible=true").nth(5)).to_have_attribute("aria-rowindex", re.compile("99"))


def test_it_draws_ten_thousand_hosts_that_are_asked_for_by_key(page):
    grid = {"offset": 0, "total": 10_000, "prefix": "r", "since": "m-1", "states": "SF" * 5_000}
    names = [f"{n:05}" for n in range(10_000)]
    grid |= {"runs": names, "hosts": [f"host{name}" for name in names]}
    page.route("**/api/v1/tasks/big/grid?*", lambda route: route.fulfill(json=grid))
    page.route("**/tasks/big/runs/*", lambda route: route.fulfill(body="the run"))
    module = (
        page.locator("link[rel=stylesheet]").get_attribute("href").replace("style.css", "grid.js")
    )
    page.evaluate(
        """async (url) => {
            const { Grid } = await import(url);
            const place = document.createElement("div");
            document.getElementById("main").prepend(place);
            await new Grid(place, "big").load();
        }""",
        module,
    )
    drawn = page.get_by_role("application", name="10000 hosts: 5000 succeeded, 5000 failed")
    drawn.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "End"):
        page.keyboard.press(key)
    expect(page.get_by_text("✕ host09999: failed")).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/big/runs/r09999")
