"""Do the three programs start, stop and refuse as an operator expects?"""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet import ROOT
from tests.support import alive, until
from utils import VERSION

PROGRAMS = {
    "mschedule-agent": "app.py",
    "mschedule-master": "appserver.py",
    "mschedule-web": "appwebserver.py",
}
STOPS_IN_S = 5  # after SIGTERM, as promised


def run(script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_the_same_by_its_name_and_by_its_file(program):
    by_name = [str(Path(sys.executable).with_name(program)), "--version"]
    assert subprocess.check_output(by_name, text=True) == f"{program} {VERSION}\n"
    assert run(PROGRAMS[program], "--version").stdout == f"{program} {VERSION}\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_exits_2_and_names_a_bad_setting(program):
    ended = run(PROGRAMS[program], "--log-level", "loud")
    assert ended.returncode == 2
    assert ended.stderr == (
        f"{program}: log_level = 'loud' (from --log-level): "
        "must be one of debug, info, warning, error\n"
    )


@pytest.mark.parametrize("name", ["master", "web", "web01"])
def test_it_refuses_a_state_directory_in_use(fleet, name):
    program = next(p for p in fleet.programs if p.name == name)
    ended = subprocess.run(
        [sys.executable, *program.arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 1
    assert f"is in use by process {program.pid}; stop it" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["master", "web"])
def test_it_names_a_taken_port_in_one_line(fleet, tmp_path, name):
    program = next(p for p in fleet.programs if p.name == name)
    elsewhere = [*program.arguments, "--state-dir", str(tmp_path / "other")]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, *elsewhere, "--bind", "127.0.0.1", "--port", port],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert ended.returncode == 1
    assert port in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("script", ["appserver.py"])
def test_it_takes_a_free_port_for_port_0_and_writes_it_down(fleet, tmp_path, script):
    with subprocess.Popen(
        [sys.executable, str(ROOT / script), "--state-dir", str(tmp_path / "state"), "--port", "0"]
        + ["--bind", "127.0.0.1"],
        stderr=subprocess.DEVNULL,
    ) as process:
        file = tmp_path / "state" / "port"
        until(file.exists, 60)
        socket.create_connection(("127.0.0.1", int(file.read_text())), 30).close()
        process.terminate()
        assert process.wait(STOPS_IN_S) == 0


def test_it_keeps_everything_private(fleet):
    for program in fleet.programs:
        # Others may at most pass through, to the script of a run that is theirs.
        assert stat.S_IMODE(program.state_dir.stat().st_mode) & 0o066 == 0
        secrets = ("key", "secret", "token", "sqlite", "db", "journal", "identity")
        for path in program.state_dir.rglob("*"):
            if path.is_file() and any(word in path.name for word in secrets):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("kind", ["agent", "web"])
def test_it_prints_join_strings_while_the_master_runs(fleet, kind):
    text = fleet.join_string(kind)
    assert text.startswith(f"mschedule://127.0.0.1:{fleet.master_port}?")
    assert text.count("\n") == 1


def test_it_prints_no_join_string_where_no_master_ever_ran(tmp_path):
    ended = run("appserver.py", "--state-dir", str(tmp_path), "--print-join", "agent")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"mschedule-master: there is no master in {tmp_path} yet")


def test_it_stops_cleanly_at_sigterm_and_comes_back(make_fleet):
    fleet = make_fleet()
    for program in (fleet.web, fleet.agents["web01"], fleet.master):
        assert program.terminate(STOPS_IN_S) == 0, program.log
        assert "Traceback" not in program.log
    for program in fleet.programs:
        program.start()
    until(fleet.is_up, 60)
    task = fleet.api.submit("echo hello", "web01")
    assert fleet.api.finished(task)["state"] == "SUCCEED"


def test_it_leaves_scripts_alone_when_the_agent_stops(make_fleet, tmp_path):
    fleet = make_fleet()
    api = fleet.api
    pid_file, go = tmp_path / "pid", tmp_path / "go"
    task = api.submit(
        f"echo $$ > {pid_file}; until [ -e {go} ]; do sleep 0.05; done; echo done; exit 3", "web01"
    )
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text().strip()))
    agent = fleet.agents["web01"]
    assert agent.terminate(STOPS_IN_S) == 0
    assert alive(pid)
    go.touch()
    until(lambda: not alive(pid))
    agent.start()
    assert api.finished(task)["state"] == "FAILED"
    run = api.run(task)
    assert run["code"] == 3
    assert api.output(task, run["id"]) == b"done\n"


def test_it_says_that_an_agent_is_not_enrolled(fleet, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--state-dir", str(tmp_path / "state")],
            stderr=log,
        )
    until(lambda: "join" in (tmp_path / "log").read_text(), 60, "a line about the join string")
    process.terminate()
    process.wait(60)


def test_it_refuses_a_bad_join_token(fleet, tmp_path):
    good, _, _ = fleet.join_string("agent").partition("token=")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--state-dir", str(tmp_path / "state")],
            env=os.environ | {"MSCHEDULE_JOIN": f"{good}token={'0' * 43}"},
            stderr=log,
        )
    try:
        until(lambda: "token" in (tmp_path / "log").read_text(), 60, "a line about the token")
        assert len(fleet.api.agents()) == 3
    finally:
        process.terminate()
        process.wait(60)
