"""How do tests and scripts drive a browser? The system's Chromium, and the way in."""

import shutil

from playwright.sync_api import Browser, Page, Playwright

from tests.fleet import Fleet

START_MS = 120_000  # on a machine that does much else
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def launch(playwright: Playwright) -> Browser:
    """Headless; the one that Debian packages, never a download."""
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=FLAGS, timeout=START_MS
    )


def log_in(page: Page, fleet: Fleet, path: str = "/") -> None:
    """As an admin, with the token of the first start."""
    page.goto(f"{fleet.url}/login?next={path}")
    field = page.get_by_label("API token")
    if not field.is_visible():
        page.get_by_text("With an API token").click()
    field.fill(fleet.token)
    page.get_by_role("button", name="Use the token").click()


def log_in_as(page: Page, url: str, name: str, password: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()
