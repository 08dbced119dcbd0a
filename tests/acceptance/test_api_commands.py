"""docs/api.md: are its commands such that they can be copied? Each is run, on real programs."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.fleet import Fleet

DOC = Path(__file__).resolve().parents[2] / "docs/api.md"
MARK = "====="


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The commands of each block with what they printed. They share variables, so one shell."""
    _, *blocks = re.findall(r"```sh\n(.*?)```", DOC.read_text(), re.DOTALL)
    with Fleet(tmp_path_factory.mktemp("fleet"), ["web01", "web02"]) as fleet:
        told = f"URL={fleet.url}\nAUTH='Authorization: Bearer {fleet.token}'\n"
        shell = subprocess.run(
            ["bash", "-eu", "-c", told + f"echo {MARK}\n".join(blocks)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert shell.returncode == 0, shell.stdout + shell.stderr
    return list(zip(blocks, shell.stdout.split(MARK), strict=True))


def test_no_command_is_refused(answers):
    for commands, printed in answers:
        assert '"error"' not in printed, f"{commands}\n{printed}"


def test_every_command_answers_what_can_be_read(answers):
    for commands, printed in answers:
        assert printed.strip(), commands


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("$TASK/groups", "total", 1),
        ("/grid", "states", "SS"),
        ("/diff?", "identical", True),
        ("/status", "online", 2),
        ("/retry", "left_out", []),
    ],
)
def test_it_answers_as_the_page_says(answers, path, field, value):
    [printed] = [printed for commands, printed in answers if path in commands]
    assert first_object(printed)[field] == value


def first_object(printed):
    """What was printed may be several objects in a row."""
    found, _ = json.JSONDecoder().raw_decode(printed.strip())
    return found
