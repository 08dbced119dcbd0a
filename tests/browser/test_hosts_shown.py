"""Hosts: found, opened, labelled; and the pages on a phone."""

import re

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
