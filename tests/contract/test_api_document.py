"""Is the API what its document says? schemathesis asks the real programs what the document allows.

It sends what fits the document and what does not, to every operation, and looks whether each
answer is one that the document describes. The same requests each time: a failure can be repeated.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet import Fleet

HERE = Path(__file__).parent
LIMIT_S = 900
# Random requests an operation, beside those made for each field and its bounds.
EXAMPLES = 12
FEWER = 8  # by those who may do little: mostly it is looked how they are refused

FINE = ["2xx", "3xx", "401", "403", "404", "409", "413", "416", "422", "429"]

CONFIG = f"""
hooks = {json.dumps(str(HERE / "api_hooks.py"))}
request-timeout = 120

[generation]
deterministic = true
max-examples = EXAMPLES

[phases.stateful]
enabled = false

# Beside what is taken for granted: a value may have the right form and still not fit what is
# there, and a body may be too large. Neither can be said in a schema.
[checks.positive_data_acceptance]
expected-statuses = {json.dumps(FINE)}

# A cursor is a text that only a list can have made.
[[operations]]
include-path-regex = "/(agents|tasks|runs|people|tokens|audit)$"
include-method = "GET"
checks.positive_data_acceptance.expected-statuses = {json.dumps([*FINE, "400"])}

# These paths also have the form of /agents/{{agent}} and the like, whose methods are named as well.
[[operations]]
include-path-regex = "/(agents/labels|schedules/preview|schedules/timeline)$"
checks.allow_header_conformance.enabled = false
"""


def test_it_answers_as_its_document_says(tmp_path):
    try_as(lambda fleet: fleet.token, tmp_path, EXAMPLES)


@pytest.mark.parametrize("role", ["operator", None], ids=["an operator", "nobody"])
def test_it_answers_so_to_those_who_may_do_less(tmp_path, role):
    try_as(lambda fleet: token_of(fleet, role), tmp_path, FEWER)


def token_of(fleet, role):
    if role is None:
        return None
    answer = fleet.api.call("POST", "/api/v1/tokens", {"name": role, "role": role})
    assert answer.status == 201, answer.body
    return answer.json["secret"]


def try_as(token, tmp_path, examples):
    with Fleet(tmp_path, ["web01"]) as fleet:
        task = fleet.api.submit("echo hello; exit 3")
        fleet.api.finished(task)
        fleet.agents.pop("web01").kill()  # so that no random script is ever run
        known = {
            "KNOWN_TASK": task,
            "KNOWN_RUN": fleet.api.run(task)["id"],
            "KNOWN_AGENT": fleet.api.agents()[0]["id"],
        }
        found = schemathesis(fleet, token(fleet), tmp_path, known, examples)
        assert found.returncode == 0, found.stdout + found.stderr
        assert "Traceback" not in fleet.web.log + fleet.master.log, fleet.logs()


def schemathesis(fleet, token, folder, known, examples):
    config = CONFIG.replace("max-examples = EXAMPLES", f"max-examples = {examples}")
    (folder / "schemathesis.toml").write_text(config)
    credential = ["--header", f"Authorization: Bearer {token}"] if token else []
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file"),
            *(str(folder / "schemathesis.toml"), "run", f"{fleet.url}/api/openapi.json"),
            *credential,
            # Streams have no end, and it would revoke its own token; tests/web tries both.
            *("--exclude-path-regex", "/events$|/v1/tokens/"),
            *("--workers", "1", "--output-truncate", "false"),
        ],
        env=os.environ | known | {"NO_COLOR": "1", "COLUMNS": "120"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
