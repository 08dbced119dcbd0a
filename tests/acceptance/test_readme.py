"""Do the README's commands do what it says? They are run as they stand."""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.fleet import ROOT
from utils import write_private

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|json)\n(.*?)^```$", README, re.M | re.S)
CURLS = [text for kind, text in BLOCKS if kind == "sh" and "curl" in text]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def shell(fleet, tmp_path):
    """A folder that looks as the demo leaves it, with its three hosts behind it."""
    (tmp_path / ".demo").mkdir()
    write_private(tmp_path / ".demo/url", f"{fleet.url}\n".encode())
    write_private(tmp_path / ".demo/token", f"{fleet.token}\n".encode())

    def run(commands: str) -> str:
        return subprocess.check_output(
            ["sh", "-euc", commands], cwd=tmp_path, text=True, timeout=300
        )

    return run


def test_it_answers_the_first_curl_as_the_readme_shows(shell, api):
    shown = json.loads(next(text for kind, text in BLOCKS if kind == "json"))
    answer = json.loads(shell(CURLS[0]))
    assert answer.keys() >= shown.keys()
    assert api.finished(answer["id"])["state"] == "SUCCEED"
    assert {run["hostname"] for run in api.runs(answer["id"])} == {"web01", "web02", "db1"}


def test_it_answers_the_second_curl_with_a_task_that_has_ended(shell):
    assert json.loads(shell(CURLS[1]))["state"] == "SUCCEED"


def test_it_names_two_commands_that_are_there():
    named = {line.split()[0] for kind, text in BLOCKS for line in text.splitlines() if kind == "sh"}
    commands = {command for command in named if command.startswith("./")}
    assert commands == {"./scripts/demo", "./scripts/test"}
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)
