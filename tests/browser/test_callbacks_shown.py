"""Callbacks in a browser, without JavaScript and on a narrow page: add, test, look, send again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import TIMEOUT_MS
from tests.browser.driving import log_in
from tests.fleet import Fleet
from tests.receiver import Receiver
from tests.support import until


@pytest.fixture(scope="module")
def own_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    arguments = ["--callback-allow", "127.0.0.1/32"]
    root = tmp_path_factory.mktemp("callbacks")
    with Fleet(root, ["web01"], master_arguments=arguments) as fleet:
        yield fleet


@pytest.fixture
def plain(chromium: Browser, own_fleet: Fleet) -> Iterator[Page]:
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 844}
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    log_in(page, own_fleet)
    yield page
    context.close()


def fits(page: Page) -> bool:
    wide = page.locator("body").bounding_box()
    return wide is not None and wide["width"] <= 390


def test_it_adds_a_callback_sends_a_test_and_shows_how_it_went(own_fleet: Fleet, plain: Page):
    with Receiver() as receiver:
        plain.goto(f"{own_fleet.url}/callbacks")
        plain.get_by_label("Name", exact=True).fill("ops")
        plain.get_by_label("URL").fill("ftp://example.org")
        plain.get_by_role("button", name="Add callback").click()
        expect(plain.get_by_role("alert")).to_contain_text("url: it takes a URL such as")
        plain.get_by_label("URL").fill(receiver.url)
        plain.get_by_role("button", name="Add callback").click()
        expect(plain.locator("pre").first).to_contain_text("whsec_")
        assert fits(plain)
        plain.get_by_role("button", name="Send a test").click()
        plain.wait_for_url("**/deliveries/*")
        until_told(plain, "taken")
        expect(plain.locator("table")).to_contain_text("thanks")
        assert fits(plain)
        plain.get_by_role("button", name="Send again").click()
        until(lambda: is_told_twice(own_fleet, plain.url.rpartition("/")[2]), what="another try")
        plain.reload()
        expect(plain.locator("table tbody tr")).to_have_count(2)
        assert len({got.id for got in receiver.got}) == 1
        plain.get_by_role("link", name="ops").click()
        expect(plain.locator("table")).to_contain_text("delivered")
        expect(plain.locator("main")).not_to_contain_text("/hook")


def test_it_pauses_changes_and_removes_one(own_fleet: Fleet, plain: Page):
    wish = {"name": "doomed", "url": "https://example.org/key"}
    assert own_fleet.api.call("POST", "/api/v1/callbacks", wish).status == 201
    plain.goto(f"{own_fleet.url}/callbacks")
    plain.get_by_role("link", name="doomed").click()
    plain.get_by_role("button", name="Pause").click()
    expect(plain.locator("main")).to_contain_text("It is paused")
    plain.locator("summary", has_text="Change").click()
    plain.get_by_label("Name", exact=True).fill("renamed")
    plain.get_by_role("button", name="Change callback").click()
    expect(plain.get_by_role("heading", level=1)).to_contain_text("renamed")
    expect(plain.locator("main")).to_contain_text("https://example.org/…")
    plain.locator("summary", has_text="Remove").click()
    plain.get_by_role("button", name="Yes, remove it").click()
    plain.wait_for_url("**/callbacks")
    expect(plain.get_by_role("link", name="renamed")).to_have_count(0)


def is_told_twice(fleet: Fleet, delivery: str) -> bool:
    found = fleet.api.get(f"/api/v1/deliveries/{delivery}")
    return found["state"] == "delivered" and len(found["log"]) == 2


def until_told(page: Page, words: str) -> None:
    """The page looks again by itself, every few seconds, until it has nothing to wait for."""
    expect(page.locator("table")).to_contain_text(words)
