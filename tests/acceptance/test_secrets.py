"""Do secrets reach scripts, through every program, and stay nowhere else: disk, logs, API?"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import Fleet
from tests.support import until

SECRET = "correct-horse/battery+staple"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n"
TRACES = [SECRET.encode(), b"MIIEvQIBADANBgkqhkiG", b"9w0BAQEFAASCBKcwggSj"]
# A checksum is not the value, and so not hidden: it shows what arrived.
SCRIPT = """
echo "token <$TOKEN>"
printf %s "$TOKEN" | sha256sum
cat "$KEY"
wc -c < "$KEY"
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), ["web01"]) as started:
        yield started


def submit(fleet: Fleet, script: str = SCRIPT, **fields) -> str:
    return fleet.api.submit(
        script, "web01", secrets={"TOKEN": SECRET}, secret_files={"KEY": KEY}, **fields
    )


def files_with(folder: Path, trace: bytes) -> list[Path]:
    found = []
    for place, _, names in os.walk(folder):  # also while folders come and go
        for path in (Path(place, name) for name in names):
            try:
                if path.is_file() and trace in path.read_bytes():
                    found.append(path)
            except FileNotFoundError:
                pass
    return found


def command_lines_with(trace: bytes) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if trace in path.read_bytes():
                found.append(path)
        except OSError:
            pass
    return found


def pruned(fleet: Fleet) -> bool:
    return not list((fleet.agents["web01"].state_dir / "runs").glob("*.1"))


def test_it_gives_them_to_the_script_and_hides_them_in_its_output(fleet: Fleet):
    task = submit(fleet)
    assert fleet.api.finished(task)["state"] == "SUCCEED"
    run = fleet.api.run(task)
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    expected = f"token <***>\n{digest}  -\n***\n{len(KEY)}\n"
    output = fleet.api.output(task, run["id"])
    assert output.decode() == expected
    assert run["output_bytes"] == len(expected)
    assert run["output_sha256"] == hashlib.sha256(output).hexdigest()


def test_it_leaves_them_nowhere_on_disk_in_logs_or_answers(fleet: Fleet, tmp_path: Path):
    """While the script runs, the one place is the run's private file; afterwards there is none."""
    gate = tmp_path / "gate"
    wait = f"\nuntil [ -e {gate} ]; do sleep 0.02; done\nexit 3"
    task = submit(fleet, SCRIPT + wait, name="leaky")
    api = fleet.api
    until(lambda: b"***" in api.output(task, api.run(task)["id"]), what="masked output")
    runs = fleet.agents["web01"].state_dir / "runs"
    for trace in TRACES:
        assert {path.parent.parent for path in files_with(fleet.root, trace)} == {runs}
        assert command_lines_with(trace) == []
    gate.touch()
    assert api.finished(task)["state"] == "FAILED"
    until(lambda: pruned(fleet), what="a pruned run")
    for trace in TRACES:
        assert files_with(fleet.root, trace) == []

    run = api.run(task)
    paths = ["tasks", f"tasks/{task}", f"tasks/{task}/runs", f"tasks/{task}/runs/{run['id']}"]
    for path in paths:
        assert SECRET not in json.dumps(api.get(f"/api/v1/{path}"))
    settings = api.task(task)["settings"]
    assert (settings["secrets"], settings["secret_files"]) == (["TOKEN"], ["KEY"])


def test_it_carries_them_on_to_a_retry(fleet: Fleet):
    task = submit(fleet, 'printf %s "$TOKEN" | sha256sum; exit 1')
    assert fleet.api.finished(task)["state"] == "FAILED"
    answer = fleet.api.call("POST", f"/api/v1/tasks/{task}/retry", {"states": ["FAILED"]})
    again = answer.json["id"]
    fleet.api.finished(again)
    first, second = (fleet.api.output(id, fleet.api.run(id)["id"]) for id in (task, again))
    assert first == second
    assert fleet.api.task(again)["settings"]["secrets"] == ["TOKEN"]


def test_it_follows_live_output_without_a_secret_in_it(fleet: Fleet, tmp_path: Path):
    """Cut by the script itself, in the middle of the value, with a pause."""
    gate = tmp_path / "gate"
    half = len(SECRET) // 2
    script = (
        f'printf "<%s" "$(printf %s "$TOKEN" | cut -c -{half})"; echo waiting >&2\n'
        f"until [ -e {gate} ]; do sleep 0.02; done\n"
        f'printf "<%s" "$(printf %s "$TOKEN" | cut -c -{half})"; sleep 0.3\n'
        f'printf "%s>" "$(printf %s "$TOKEN" | cut -c {half + 1}-)"\n'
    )
    task = submit(fleet, script)
    api = fleet.api
    run = until(lambda: api.runs(task), what="the run")[0]["id"]
    until(lambda: b"waiting" in api.output(task, run), what="the first half")
    gate.touch()
    api.finished(task)
    assert api.output(task, run) == f"<{SECRET[:half]}waiting\n<***>".encode()


def test_it_goes_on_hiding_when_the_agent_is_killed_and_comes_back(fleet: Fleet, tmp_path: Path):
    gate = tmp_path / "gate"
    script = f'echo begun; until [ -e {gate} ]; do sleep 0.02; done; echo "<$TOKEN>"; cat "$KEY"'
    task = submit(fleet, script)
    api, agent = fleet.api, fleet.agents["web01"]
    run = until(lambda: api.runs(task), what="the run")[0]["id"]
    until(lambda: b"begun" in api.output(task, run), what="the beginning")
    agent.kill()
    gate.touch()
    agent.start()
    assert api.finished(task)["state"] == "SUCCEED"
    assert api.output(task, run) == b"begun\n<***>\n***\n"
    until(lambda: pruned(fleet), what="a pruned run")
    for trace in TRACES:
        assert files_with(fleet.root, trace) == []


def test_it_takes_secrets_for_what_was_handed_out_and_not_started(tmp_path: Path):
    """The agent dies between journal and start: the next one has names, and finds the values."""
    with Fleet(tmp_path, ["web01"]) as fleet:
        agent = fleet.agents["web01"]
        agent.terminate()
        agent.start(MSCHEDULE_FAILPOINTS="journalled")
        task = submit(fleet)
        agent.wait()
        assert files_with(agent.state_dir / "journal", SECRET.encode()) == []
        agent.start()
        assert fleet.api.finished(task)["state"] == "SUCCEED"
        assert b"token <***>" in fleet.api.output(task, fleet.api.run(task)["id"])


def test_it_takes_no_run_whose_secrets_it_cannot_write_until_it_can(fleet: Fleet):
    agent = fleet.agents["web01"]
    runs = agent.state_dir / "runs"
    aside = runs.rename(runs.with_name("runs.aside"))
    runs.touch()
    task = submit(fleet, "true")
    until(lambda: "their secrets could not be written" in agent.log, what="the complaint")
    assert fleet.api.task(task)["state"] == "RUNNING"
    runs.unlink()
    aside.rename(runs)
    assert fleet.api.finished(task)["state"] == "SUCCEED"
    assert SECRET not in agent.log


def test_it_refuses_what_is_not_sound_without_quoting_it(fleet: Fleet):
    body = {"script": "true", "targets": "web01", "secrets": {"MSCHEDULE_A": SECRET}}
    answer = fleet.api.call("POST", "/api/v1/tasks", body)
    assert answer.status == 422
    assert answer.json["error"]["field"] == "secrets"
    assert SECRET.encode() not in answer.body


def test_it_does_not_start_a_master_whose_key_is_gone(tmp_path: Path):
    with Fleet(tmp_path, ["web01"]) as fleet:
        fleet.agents["web01"].terminate()
        task = submit(fleet)
        fleet.master.terminate()
        key = fleet.master.state_dir / "secrets.key"
        kept = key.read_text()
        key.unlink()
        fleet.master.start()
        assert fleet.master.wait() != 0
        assert f"{key} is missing" in fleet.master.log

        key.write_text(kept)
        key.chmod(0o600)
        fleet.master.start()
        fleet.agents["web01"].start()
        until(fleet.is_up, 60, "a fleet that is up")
        assert fleet.api.finished(task)["state"] == "SUCCEED"


def test_it_forgets_them_with_the_task(tmp_path: Path):
    with Fleet(tmp_path, ["web01"]) as fleet:
        fleet.api.finished(submit(fleet))
        newest = fleet.api.submit("true", "web01")
        fleet.api.finished(newest)
        fleet.master.terminate()
        fleet.master.arguments += ["--keep-days", "0.00001"]
        fleet.master.start()
        store = fleet.master.state_dir / "store.sqlite"
        until(lambda: count(store, "secrets") == 0, 120, "forgotten secrets")


def count(store: Path, table: str) -> int:
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        (found,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        return int(found)
    finally:
        connection.close()
