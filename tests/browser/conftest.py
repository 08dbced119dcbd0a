"""What browser tests share: one fleet, one Chromium, and a console that must stay silent."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.browser.driving import launch, log_in
from tests.fleet import Fleet

HOSTS = ["web01", "web02", "db1"]
TIMEOUT_MS = 45_000  # of a single wait, on a machine that does much else

expect.set_options(timeout=TIMEOUT_MS)


def pytest_collection_modifyitems(items):
    if shutil.which("chromium") is None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="chromium is not installed"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), HOSTS) as started:
        yield started


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


class Console:
    """What a page complained of: errors of scripts, of the CSP, of files that did not come."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def listen(self, page: Page) -> None:
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def forgive(self, status: str) -> None:
        """The browser itself notes each answer that is an error; here one was meant."""
        meant = f"Failed to load resource: the server responded with a status of {status}"
        self.errors = [error for error in self.errors if not error.startswith(meant)]

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


@pytest.fixture
def console() -> Iterator[Console]:
    """No test ends well with an error in the console, unless it took it away itself."""
    console = Console()
    yield console
    assert console.errors == []


@pytest.fixture
def context(chromium: Browser, console: Console) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    context.on("page", console.listen)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, fleet: Fleet) -> Page:
    """The admin, logged in, at the list of tasks."""
    page = context.new_page()
    log_in(page, fleet)
    page.wait_for_url("**/tasks")
    return page


@pytest.fixture
def plain(chromium: Browser, fleet: Fleet) -> Iterator[Page]:
    """The admin, logged in, in a browser without JavaScript."""
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    log_in(page, fleet)
    yield page
    context.close()
