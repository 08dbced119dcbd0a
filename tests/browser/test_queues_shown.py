"""A script for each item, as a person sees it: from a file of lines to what was given up."""

import re

from playwright.sync_api import Page, expect

# Fails until somebody makes the file: the test decides when another attempt is worth it.
GATED = 'echo "item $1"\ntest "$1" != bad || test -e {gate}\n'


def write(page: Page, fleet, script, **fields):
    """Fill in the form of a queue; answers with the button that submits it."""
    page.goto(f"{fleet.url}/tasks/new")
    page.get_by_role("link", name="For each item").click()
    page.get_by_label("Script", exact=True).fill(script)
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(text)
    return page.locator("button.go")


def lines(*items: str):
    return {"name": "hosts.txt", "mimeType": "text/plain", "buffer": "\n".join(items).encode()}


def rows(page: Page):
    return page.locator(".run-rows tbody tr")


def test_it_runs_a_script_for_each_line_and_takes_more_until_it_is_closed(page, fleet):
    run = write(page, fleet, 'echo "item $1"', Items="typed\n\nby hand", Name="by items")
    expect(run).to_have_text("Run for each of 2 items on 3 hosts")
    page.get_by_label("Or a file of lines").set_input_files(lines("one", "two", "three"))
    page.get_by_label("Rate", exact=True).fill("100")
    page.get_by_label("Leave it open").check()
    expect(run).to_have_text(
        "Run for 2 items and each line of hosts.txt on 3 hosts, 100 a second at most"
    )
    run.click()
    expect(page.get_by_role("heading", name="by items")).to_be_visible()
    expect(page.locator("#done-words")).to_have_text("5 of 5 items done")
    expect(page.locator("#head")).to_contain_text("open: items can be added")
    page.get_by_text("Add items", exact=True).click()
    page.get_by_label("Items, one a line").fill("late")
    page.get_by_role("button", name="Add them").click()
    expect(page.locator("#done-words")).to_have_text("6 of 6 items done")
    page.get_by_text("Close…").click()
    page.get_by_role("button", name="Yes, close it").click()
    expect(page.locator("#state")).to_contain_text("succeeded")
    names = ["one", "two", "three", "typed", "by hand", "late"]
    expect(rows(page).locator(".item")).to_have_text(names)
    page.get_by_role("link", name="late").click()
    expect(page.locator("#output")).to_have_text("item late\n")


def test_it_shows_what_was_given_up_and_tries_it_again(page, fleet, tmp_path):
    gate = tmp_path / "gate"
    run = write(page, fleet, GATED.format(gate=gate), Items="good\nbad", Attempts="1")
    page.get_by_label("Leave it open").check()
    expect(run).to_have_text("Run for each of 2 items on 3 hosts")
    run.click()
    expect(page.locator("#dead")).to_contain_text("1 item without success")
    group = page.locator("#dead .group")
    expect(group.locator("pre")).to_have_text("item bad\n")
    expect(group).to_contain_text("exit 1")
    gate.touch()
    page.get_by_role("button", name="Try all of them again").click()
    expect(page.locator("#dead .group")).to_have_count(0)
    expect(page.locator("#done-words")).to_have_text("2 of 2 items done")
    expect(rows(page).filter(has_text="succeeded")).to_have_count(2)
    page.get_by_role("link", name="bad").click()
    expect(page.get_by_role("heading", name="Earlier attempts")).to_be_visible()


def test_its_rate_is_changed_while_it_runs(page, fleet):
    items = [str(n) for n in range(50)]
    task = fleet.api.submit("true", "@*", mode="queue", items=items, rate=0.01, name="slow")
    page.goto(f"{fleet.url}/tasks/{task}")
    expect(page.locator("#done-words")).to_have_text(re.compile("of 50 items done"))
    expect(page.locator("#head")).to_contain_text("36 an hour")
    page.get_by_text("Change…").click()
    page.get_by_label("Items a second").fill("")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.locator("#state")).to_contain_text("succeeded")
    expect(page.locator("#done-words")).to_have_text("50 of 50 items done")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").first.click()
    assert len(download.value.path().read_text().splitlines()) == 51


def test_it_works_without_javascript(plain, fleet):
    run = write(plain, fleet, "true", Items="a\nb", Name="plainly")
    plain.get_by_role("button", name="Preview").click()
    expect(run).to_have_text("Run for each of 2 items on 3 hosts")
    run.click()
    expect(plain.get_by_role("heading", name="plainly")).to_be_visible()
    expect(plain.locator("#done-words")).to_have_text("2 of 2 items done")
