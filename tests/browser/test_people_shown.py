"""Accounts in a browser: the first one, more of them, and tokens that programs use."""

import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import TIMEOUT_MS
from tests.browser.driving import log_in_as
from tests.fleet import Fleet
from tests.support import until

ZOE, OTTO = "a password of zoe", "a password of otto"


@pytest.fixture(scope="module")
def own_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One in which nobody has an account yet."""
    with Fleet(tmp_path_factory.mktemp("people"), ["web01", "db1"]) as fleet:
        yield fleet


@pytest.fixture
def zoe(context: BrowserContext, own_fleet: Fleet) -> Page:
    """The first admin, logged in; set up by the first test that needs her."""
    page = context.new_page()
    code = own_fleet.master.state_dir / "setup-code"
    if code.exists():
        page.goto(f"{own_fleet.url}/login")
        page.get_by_role("link", name="use it").click()
        page.get_by_label("Code").fill(code.read_text().strip())
        page.get_by_label("Name").fill("zoe")
        page.get_by_label("Password").fill(ZOE)
        page.get_by_role("button", name="Log in with it").click()
    else:
        log_in_as(page, own_fleet.url, "zoe", ZOE)
    page.wait_for_url("**/tasks")
    return page


@pytest.fixture
def elsewhere(chromium: Browser) -> Iterator[Page]:
    """A browser of somebody else, without JavaScript."""
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 844}
    )
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


def curl(fleet: Fleet, token: str, path: str) -> str:
    """What a program is answered that has the token."""
    done = subprocess.run(
        ["curl", "-s", f"{fleet.url}{path}", "-H", f"Authorization: Bearer {token}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_first_account_is_made_once(zoe: Page, own_fleet: Fleet) -> None:
    expect(zoe.get_by_role("link", name="zoe")).to_be_visible()
    assert not (own_fleet.master.state_dir / "setup-code").exists()
    zoe.goto(f"{own_fleet.url}/setup")
    zoe.wait_for_url("**/login")


def test_a_token_made_on_the_page_works_until_it_is_revoked(zoe: Page, own_fleet: Fleet) -> None:
    zoe.goto(f"{own_fleet.url}/account")
    form = zoe.get_by_role("form", name="Make a token")
    form.get_by_label("Name").fill("nightly")
    form.get_by_label("Role").select_option("viewer")
    form.get_by_role("button", name="Make a token").click()
    secret = zoe.locator("#secret").inner_text()
    assert secret.startswith("mst_")
    assert '"role":"viewer"' in curl(own_fleet, secret, "/api/v1/me")
    zoe.goto(f"{own_fleet.url}/account")
    expect(zoe.locator("body")).not_to_contain_text(secret)
    zoe.get_by_role("row", name="nightly").get_by_role("button", name="Revoke").click()
    expect(zoe.get_by_role("row", name="nightly")).to_contain_text("revoked")
    assert "unauthenticated" in curl(own_fleet, secret, "/api/v1/me")


def test_a_limited_operator_is_added_told_and_stopped(
    zoe: Page, own_fleet: Fleet, elsewhere: Page
) -> None:
    zoe.goto(f"{own_fleet.url}/people")
    zoe.get_by_text("Add a person").click()
    zoe.get_by_label("Name").fill("otto")
    zoe.get_by_label("First password").fill(OTTO)
    zoe.get_by_label("Only on these hosts").fill("web*")
    expect(zoe.locator("#meaning")).to_have_text("Now 1 host: web01")
    zoe.get_by_role("button", name="Add").click()
    expect(zoe.get_by_role("row", name="otto")).to_contain_text("web*")

    log_in_as(elsewhere, own_fleet.url, "otto", OTTO)
    expect(elsewhere.get_by_role("link", name="People")).to_have_count(0)
    elsewhere.goto(f"{own_fleet.url}/tasks/new")
    expect(elsewhere.locator("main")).to_contain_text("on hosts of web* alone")
    elsewhere.get_by_label("Script").fill("echo of otto")
    elsewhere.get_by_label("Expression").fill("@*")
    elsewhere.locator("button[value=submit]").click()
    expect(elsewhere.locator("main")).to_contain_text("db1")
    expect(elsewhere.get_by_label("Script")).to_have_value("echo of otto")
    elsewhere.get_by_label("Expression").fill("web*")
    elsewhere.locator("button[value=submit]").click()
    elsewhere.wait_for_url("**/tasks/*")

    zoe.get_by_role("link", name="otto").click()
    zoe.get_by_role("button", name="Disable").click()
    expect(zoe.locator("main")).to_contain_text("Disabled")
    elsewhere.goto(f"{own_fleet.url}/tasks")
    expect(elsewhere.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_session_is_ended_from_another_browser(
    zoe: Page, own_fleet: Fleet, elsewhere: Page
) -> None:
    log_in_as(elsewhere, own_fleet.url, "zoe", ZOE)
    zoe.goto(f"{own_fleet.url}/account")
    others = zoe.get_by_role("button", name="End", exact=True)
    for left in reversed(range(others.count())):
        others.first.click()
        expect(others).to_have_count(left)
    elsewhere.goto(f"{own_fleet.url}/hosts")
    expect(elsewhere.get_by_role("heading", name="Log in")).to_be_visible()
    zoe.reload()
    expect(zoe.get_by_role("heading", name="Sessions")).to_be_visible()


def test_a_wrong_password_is_said_and_a_new_one_holds(
    zoe: Page, own_fleet: Fleet, elsewhere: Page
) -> None:
    log_in_as(elsewhere, own_fleet.url, "zoe", "not the password")
    expect(elsewhere.get_by_role("alert")).to_have_count(1)
    zoe.goto(f"{own_fleet.url}/account")
    zoe.get_by_label("Old").fill(ZOE)
    zoe.get_by_label("New, at least").fill(ZOE + " twice")
    zoe.get_by_role("button", name="Change the password").click()
    expect(zoe.get_by_role("status").filter(has_text="changed")).to_be_visible()
    log_in_as(elsewhere, own_fleet.url, "zoe", ZOE + " twice")
    elsewhere.wait_for_url("**/tasks")
    own_fleet.web.restart()
    until(own_fleet.is_up, 60, "a web that is up again")
    elsewhere.goto(f"{own_fleet.url}/account")
    expect(elsewhere.get_by_role("heading", name="Sessions")).to_be_visible()
