"""Secrets typed into the form: they run, they are masked, and no page ever has them again."""

import re

from playwright.sync_api import expect

SECRET = "correct-horse"
KEY = "-----BEGIN KEY-----\nbattery-staple\n"


def fill(page, fleet, script, secret=SECRET):
    page.goto(f"{fleet.url}/tasks/new")
    page.get_by_label("Script", exact=True).fill(script)
    page.get_by_label("Expression").fill("web01")
    page.locator("#more > summary").click()
    page.get_by_label("Variable of secret 1", exact=True).fill("TOKEN")
    page.get_by_label("Value of secret 1", exact=True).fill(secret)
    page.get_by_label("Variable of secret file 1").fill("KEY")
    page.get_by_label("Content of secret file 1").fill(KEY)


def run(page):
    page.get_by_role("button", name=re.compile("^Run on 1 host$")).click()


def test_it_runs_with_secrets_and_shows_stars(page, fleet):
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.post_data or "")))
    fill(page, fleet, 'echo "<$TOKEN>"; cat "$KEY"')
    run(page)
    expect(page.locator("#groups pre")).to_have_text("<***>\n***\n")
    assert "correct-horse" not in page.content()
    page.locator("#script-and-settings > summary").click()
    expect(page.locator("#script-and-settings")).to_contain_text("TOKEN")
    previews = [data for url, data in sent if url.endswith("/preview")]
    assert previews
    assert not [data for data in previews if SECRET in data or "battery" in data]


def test_it_asks_for_the_values_again_after_an_error_and_for_the_next_run(page, fleet, console):
    fill(page, fleet, "true", secret="abc")
    run(page)
    expect(page.get_by_role("alert").first).to_be_visible()
    console.forgive("422")
    expect(
        page.get_by_text("Type the values: they are never put back into a page.")
    ).to_be_visible()
    expect(page.get_by_label("Variable of secret 1", exact=True)).to_have_value("TOKEN")
    expect(page.get_by_label("Value of secret 1", exact=True)).to_have_value("")
    assert "battery-staple" not in page.content()

    page.get_by_label("Value of secret 1", exact=True).fill(SECRET)
    page.get_by_label("Content of secret file 1").fill(KEY)
    run(page)
    expect(page.locator("#state")).to_contain_text("succeeded")

    page.get_by_role("link", name="Run again").click()
    expect(page.get_by_label("Variable of secret 1", exact=True)).to_have_value("TOKEN")
    expect(page.get_by_label("Value of secret 1", exact=True)).to_have_value("")
    expect(page.get_by_label("Content of secret file 1")).to_have_value("")


def test_it_fits_a_phone(page, fleet):
    page.set_viewport_size({"width": 390, "height": 844})
    fill(page, fleet, "true")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_it_takes_secrets_without_javascript(plain, fleet):
    fill(plain, fleet, 'echo "<$TOKEN>"')
    plain.get_by_role("button", name=re.compile("^Run")).click()
    plain.wait_for_url(re.compile("/tasks/[0-9a-f]{32}$"))
    fleet.api.finished(plain.url.rpartition("/")[2])
    plain.reload()
    expect(plain.locator("#groups pre")).to_have_text("<***>\n")
