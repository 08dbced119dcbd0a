"""Does ./scripts/demo do on this machine what the README says it does?"""

import os
import re
import signal
import socket
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.fleet import ROOT, Api
from tests.support import adopt_orphans, alive, descendants, free_port, kill_all, until


@pytest.fixture
def command(tmp_path):
    """The demo with ports and a directory of its own; whatever it leaves behind goes afterwards."""
    adopt_orphans()
    before = set(descendants(os.getpid()))
    yield [
        *[str(ROOT / "scripts/demo"), "--dir", str(tmp_path / ".demo")],
        *["--web-port", str(free_port()), "--master-port", str(free_port())],
    ]
    kill_all([pid for pid in descendants(os.getpid()) if pid not in before])


def test_it_runs_once_shows_every_host_and_leaves_nothing_behind(command, tmp_path):
    before = set(descendants(os.getpid()))
    ended = subprocess.run(
        [*command, "--once"], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    for host in ("web01", "web02", "db1"):
        assert re.search(rf"^{host}: SUCCEED, exit code 0\n    hello from ", ended.stdout, re.M)
    assert f"url    {(tmp_path / '.demo/url').read_text().strip()}\n" in ended.stdout
    assert set(descendants(os.getpid())) <= before


def test_it_writes_url_and_token_and_stays_until_it_is_interrupted(command, tmp_path):
    log = tmp_path / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    until(lambda: "Ctrl-C stops everything" in log.read_text(), 120, "a demo that is up")
    demo = tmp_path / ".demo"
    url = (demo / "url").read_text().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert stat.S_IMODE((demo / "token").stat().st_mode) == 0o600

    api = Api(int(url.rpartition(":")[2]), (demo / "token").read_text().strip())
    with closing(api):
        pids = _start_something_long(api)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()
    assert not any(alive(pid) for pid in pids)
    assert log.read_text().endswith("stopped.\n")


def _start_something_long(api: Api) -> list[int]:
    """A script on two hosts that would run for a long while; the pids of its processes."""
    task = api.submit("echo $$; exec sleep 10000", "web*", parallel=0)

    def pids() -> list[int]:
        outputs = [api.output(task, run["id"]) for run in api.runs(task, state="RUNNING")]
        return [int(output) for output in outputs if output.endswith(b"\n")]

    return until(lambda: pids() if len(pids()) == 2 else None)


@pytest.mark.parametrize("flag", ["--web-port", "--master-port"])
def test_it_names_a_taken_port_in_one_line(command, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*command, flag, str(port), "--once"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"port {port} " in ended.stderr
    assert flag in ended.stderr


def test_it_refuses_a_second_demo_in_the_same_directory(command, tmp_path):
    from utils import state_dir

    with state_dir(tmp_path / ".demo"):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "is in use by process" in ended.stderr


def test_its_default_ports_are_those_of_the_readme():
    help = subprocess.check_output([ROOT / "scripts/demo", "--help"], text=True)
    assert "default 9900" in help and "default 9000" in help
    assert Path(ROOT / ".ci/run").read_text().count("./scripts/test") == 1
