"""What do the pages look like? Pictures of a real fleet at work, made with the system's Chromium.

docs/task.png is the README's picture. With --all FOLDER every page is shown, wide and
narrow, light and dark, for whoever changes them.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.driving import launch, log_in
from tests.fleet import ROOT, Fleet
from tests.support import until

HOSTS = (
    [f"web{n:02}" for n in range(1, 19)]
    + [f"db{n}" for n in range(1, 5)]
    + [f"cache{n}" for n in range(1, 5)]
    + ["lb1", "lb2", "mail1", "build1"]
)
WIDE, NARROW = (1440, 900), (390, 844)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/screenshots", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, into this folder")
    folder: Path | None = parser.parse_args(argv).all
    with _at_work() as (fleet, task), sync_playwright() as playwright:
        browser = launch(playwright)
        if folder is None:
            _picture(browser, fleet, task)
        else:
            _all_pages(browser, fleet, task, folder.absolute())
        browser.close()
    return 0


@contextmanager
def _at_work() -> Iterator[tuple[Fleet, str]]:
    """A fleet with some history, and a task of which most has succeeded and some failed."""
    with (
        tempfile.TemporaryDirectory(prefix="mschedule-pictures-") as root,
        Fleet(Path(root), HOSTS) as fleet,
    ):
        api = fleet.api
        _label(fleet)
        api.finished(api.submit("uptime\n", "@role:db", name="Look at the databases"))
        api.finished(api.submit("true\n", "lb*", name="Rotate logs", parallel=0))
        settings = {"parallel": 8, "fail_rate": 0.5}
        task = api.submit(_rollout(fleet), "@*!lb*", name="Roll out openssl 3.0.15", **settings)
        until(lambda: _done(fleet, task) == len(HOSTS) - 4, 60, "a task that is nearly done")
        yield fleet, task


def _label(fleet: Fleet) -> None:
    named = {
        agent["id"]: {"role": agent["hostname"].rstrip("0123456789"), "env": "prod"}
        for agent in fleet.api.agents()
    }
    answer = fleet.api.call("POST", "/api/v1/agents/labels", {"labels": named})
    assert answer.status == 200, answer.body


def _rollout(fleet: Fleet) -> str:
    """All agents live on one machine here: each learns who it plays from its id."""
    names = "\n".join(
        f"  {agent['id']}) host={agent['hostname']} ;;" for agent in fleet.api.agents()
    )
    return f"""#!/bin/sh
case $MSCHEDULE_AGENT_ID in
{names}
esac
echo "Reading package lists..."
case $host in
web07|web13)
  printf '\\033[31mE: Unable to fetch openssl: no route to mirror (10.0.9.4)\\033[0m\\n'
  exit 100 ;;
cache3)
  printf '\\033[31mE: You do not have enough free space in /var/cache/apt/archives/\\033[0m\\n'
  exit 100 ;;
db4|web18)
  echo "Waiting for the lock of another apt ..."
  sleep 600 ;;
esac
echo "Setting up openssl (3.0.15-1) ..."
printf '\\033[32mok\\033[0m  certificate valid until 2027-03-01\\n'
"""


def _done(fleet: Fleet, task: str) -> int:
    counts = fleet.api.task(task)["counts"]
    return sum(count for state, count in counts.items() if state not in ("WAITING", "RUNNING"))


def _picture(browser: Browser, fleet: Fleet, task: str) -> None:
    page = _page(browser, fleet, (1280, 860), "light")
    page.goto(f"{fleet.url}/tasks/{task}")
    page.locator("#cells a").last.wait_for()
    page.screenshot(path=ROOT / "docs/task.png")


def _all_pages(browser: Browser, fleet: Fleet, task: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    failed = fleet.api.runs(task, state="FAILED")
    good = fleet.api.runs(task, state="SUCCEED")[0]["id"]
    run = failed[0]["id"]
    host = fleet.agent_id("web01")
    pages = {
        "hosts": "/hosts",
        "host": f"/hosts/{host}",
        "tasks": "/tasks",
        "schedules": "/schedules",
        "schedule-form": "/schedules/new",
        "new": f"/tasks/new?from={task}&states=FAILED",
        "task": f"/tasks/{task}",
        "run": f"/tasks/{task}/runs/{run}",
        "diff": f"/tasks/{task}/diff?left={good}&right={run}",
        "missing": "/tasks/nothing",
        "login": "/login",
        "setup": "/setup",
        "account": "/account",
        "people": "/people",
        "person": f"/people/{_some_people(fleet)}",
        "tokens": "/tokens",
    }
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        for size in (WIDE, NARROW):
            page = _page(browser, fleet, size, scheme)
            for name, path in pages.items():
                page.goto(fleet.url + path)
                page.wait_for_timeout(400)
                page.screenshot(path=folder / f"{name}-{size[0]}-{scheme}.png", full_page=True)
            page.context.close()


def _some_people(fleet: Fleet) -> str:
    """Two people and a token; the id of the second."""
    people = (
        {"name": "alice", "role": "viewer"},
        {"name": "otto", "role": "operator", "hosts": "@role:web"},
    )
    for person in people:
        answer = fleet.api.call("POST", "/api/v1/people", person | {"password": "a long password"})
        assert answer.status == 201, answer.body
    token = {"name": "nightly backup", "role": "operator", "expires_in": 90 * 86_400}
    assert fleet.api.call("POST", "/api/v1/tokens", token).status == 201
    return str(answer.json["id"])


def _page(
    browser: Browser, fleet: Fleet, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> Page:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    page = context.new_page()
    log_in(page, fleet)
    return page


if __name__ == "__main__":
    sys.exit(main())
