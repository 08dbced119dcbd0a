"""Does a supervisor that carries several runs through keep them apart?"""

import base64
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import tree
from tests.execution_host import Host
from tests.support import alive, until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes users")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path) as started:
        yield started


def run(host: Host, script: str, **task: object) -> int:
    """Run it to its end; the pid of its supervisor."""
    key = host.start(script, **task)
    supervisor = host.supervisor(key)
    host.finish(key)
    return supervisor


def test_short_runs_one_after_another_share_a_supervisor_that_gathers_nothing(host: Host):
    supervisors, descriptors = set(), set()
    for number in range(20):
        key = host.start(f"seq {number} 40; exit {number}", args=["x"] * number)
        record = host.finish(key)
        said = "".join(f"{line}\n" for line in range(number, 41)).encode()
        assert (record["code"], host.output(key)) == (number, said)
        assert record["output_sha256"] == hashlib.sha256(said).hexdigest()
        assert not host.look(key)["locked"]
        supervisors.add(host.supervisor(key))
        descriptors.add(int(host.run("ls /proc/$PPID/fd | wc -l")["output"]))

    assert len(supervisors) < 20
    assert max(descriptors) < 20


def test_runs_at_once_have_a_supervisor_each(host: Host, tmp_path: Path):
    run(host, "true")
    keys = [host.start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done") for _ in range(6)]

    supervisors = {host.supervisor(key) for key in keys}

    assert len(supervisors) == 6
    (tmp_path / "go").touch()
    assert [host.finish(key)["code"] for key in keys] == [0] * 6
    until(lambda: not any(alive(pid) for pid in supervisors), what="the end of those that wait")


def test_a_run_that_leaves_a_process_is_its_supervisors_last(host: Host):
    supervisor = run(host, "sleep 1000 > /dev/null 2>&1 & exit 3")

    key = host.start("pgrep -P $PPID | grep -vc $$; exit 0")

    assert host.supervisor(key) != supervisor
    assert host.finish(key)["left_running"] == 0
    until(lambda: not alive(supervisor))


def test_a_run_has_all_its_time_though_its_supervisor_is_older_and_was_killed(
    host: Host, tmp_path: Path
):
    # Given a supervisor that has lived for longer than its next run may
    first = host.start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    until(lambda: age_s(host.supervisor(first)) > 3.5)
    (tmp_path / "go").touch()
    host.finish(first)
    key = host.start(f"touch {tmp_path}/up; while :; do sleep 1000; done", timeout=3.0, grace=0.1)
    until((tmp_path / "up").exists)
    main = host.main(key)
    born_s = boot_s() - age_s(main)

    # When it is killed
    os.kill(host.supervisor(key), signal.SIGKILL)

    # Then its script is, once its own time is over, and not before
    until(lambda: not alive(main))
    assert boot_s() - born_s >= 3.0
    assert host.finish(key) is None


def age_s(pid: int) -> float:
    return boot_s() - tree.born(pid) / os.sysconf("SC_CLK_TCK")


def boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_run_with_secrets_is_its_supervisors_last(host: Host):
    supervisor = run(host, "echo $KEY", secrets={"KEY": "a long secret"})

    key = host.start("echo a long secret")

    assert host.supervisor(key) != supervisor
    host.finish(key)
    assert host.output(key) == b"a long secret\n"


def test_a_timeout_and_a_stop_of_one_run_are_not_those_of_the_next(host: Host):
    key = host.start("sleep 1000", timeout=0.3, grace=0.1)
    assert host.finish(key)["cause"] == "timeout"
    stopped = host.start("sleep 1000")
    host.main(stopped)
    host.stop(stopped, grace_s=0.1)
    assert host.finish(stopped)["cause"] == "cancel"

    following = host.start("sleep 0.5; echo whole")

    record = host.finish(following)
    assert (record["cause"], record["code"]) == ("exit", 0)


@as_root
def test_a_run_as_another_user_does_not_change_who_the_next_runs_as(host: Host, tmp_path: Path):
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    run(host, "id -un; cd /; umask 777", user="nobody")

    assert host.run("id -un; pwd; umask")["output"] == b"root\n/root\n0022\n"


def test_one_that_was_killed_while_it_waited_is_missed_by_nobody(host: Host):
    supervisor = run(host, "true")
    with contextlib.suppress(ProcessLookupError):  # which has waited for long enough already
        os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(supervisor))

    key = host.start("echo hello")

    assert host.finish(key)["code"] == 0
    assert host.supervisor(key) != supervisor


def test_those_that_wait_end_with_their_runner(host: Host):
    supervisor = run(host, "true")

    os.kill(host.call("runner_pid"), signal.SIGKILL)

    until(lambda: not alive(supervisor))
    assert host.run("echo hello")["output"] == b"hello\n"


def test_a_busy_one_outlives_its_runner_and_ends_with_its_run(host: Host, tmp_path: Path):
    run(host, "true")
    key = host.start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    supervisor = host.supervisor(key)

    host.restart()
    host.watch(*key)
    (tmp_path / "go").touch()

    assert host.finish(key)["code"] == 0
    until(lambda: not alive(supervisor))


def test_its_output_is_kept_whole_after_one_that_exceeded_the_cap(host: Host):
    capped = host.start("seq 100000", head_bytes=1000, tail_bytes=500)
    host.finish(capped)

    key = host.start("printf '%s' '" + base64.b64encode(bytes(3000)).decode() + "'")

    assert host.finish(key)["output_gap"] is None
    assert host.output(key) == base64.b64encode(bytes(3000))
