"""What becomes of runs when agent, runner or supervisor is killed, or the disk is full?"""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution_host import Host
from tests.support import alive, until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a small file system")
RACES = 200


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path / "state") as started:
        yield started


def slow(folder: Path, end: str = "exit 3") -> str:
    """A script that says when it is up, notes each start, and ends when `go` is there."""
    return (
        f"echo start >> {folder}/witness; echo up;"
        f"until [ -e {folder}/go ]; do sleep 0.01; done; echo done; {end}"
    )


# ---- the agent dies


def test_a_killed_agent_finds_its_run_again_live(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path))
    until(lambda: host.output(key) == b"up\n")

    host.restart()

    assert host.look(key) == {"mark": "started", "locked": True, "alive": False, "exited": False}
    host.watch(*key)
    (tmp_path / "go").touch()
    assert host.finish(key)["code"] == 3
    assert host.output(key) == b"up\ndone\n"
    assert (tmp_path / "witness").read_text() == "start\n"


def test_a_run_that_ends_while_no_agent_lives_keeps_code_and_output(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path, end="head -c 3000000 /dev/zero; exit 9"))
    until(lambda: host.output(key) == b"up\n")
    supervisor = host.supervisor(key)

    host.kill()
    (tmp_path / "go").touch()
    until(lambda: not alive(supervisor))
    host.restart()

    assert host.look(key)["exited"]
    host.watch(*key)
    record = host.finish(key)
    assert (record["code"], record["output_bytes"]) == (9, 3_000_000 + 8)
    assert host.output(key) == b"up\ndone\n" + bytes(3_000_000)


def test_a_timeout_is_kept_while_no_agent_lives(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path), timeout=0.5, grace=0.1)
    main, supervisor = host.main(key), host.supervisor(key)

    host.kill()
    until(lambda: not alive(supervisor))

    host.restart()
    assert not alive(main)
    assert host.call("exit_of", *key)["cause"] == "timeout"


def test_a_new_agent_can_stop_what_an_older_one_started(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path))
    until(lambda: host.output(key) == b"up\n")

    host.restart()
    host.watch(*key)
    host.stop(key, grace_s=0.5)

    record = host.finish(key)
    assert (record["cause"], record["code"], record["survivors"]) == ("cancel", 143, [])


def test_a_stop_that_was_asked_for_before_the_agent_died_is_carried_out(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path, end=""), grace=1000)
    supervisor = host.supervisor(key)
    os.kill(supervisor, signal.SIGSTOP)
    host.stop(key, grace_s=0.1)

    host.kill()
    os.kill(supervisor, signal.SIGCONT)
    until(lambda: not alive(supervisor))

    host.restart()
    assert host.call("exit_of", *key)["cause"] == "cancel"


def test_terminating_the_agent_leaves_scripts_alone(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path))
    until(lambda: host.output(key) == b"up\n")
    runner, supervisor = host.call("runner_pid"), host.supervisor(key)

    os.kill(host.pid, signal.SIGTERM)
    os.kill(runner, signal.SIGTERM)
    os.kill(supervisor, signal.SIGTERM)
    os.kill(supervisor, signal.SIGHUP)
    until(lambda: not alive(runner))
    (tmp_path / "go").touch()
    host.restart()
    host.watch(*key)

    assert host.finish(key)["code"] == 3


def test_closing_ends_the_runner_and_leaves_scripts_alone(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path))
    supervisor, runner = host.supervisor(key), host.call("runner_pid")

    host.call("close")

    assert not alive(runner)
    assert alive(supervisor)


# ---- the runner dies


def test_a_killed_runner_takes_no_run_with_it_and_is_replaced(host: Host, tmp_path: Path):
    key = host.start(slow(tmp_path))
    until(lambda: host.output(key) == b"up\n")
    runner = host.call("runner_pid")

    os.kill(runner, signal.SIGKILL)

    assert host.run("exit 4")["code"] == 4
    assert host.call("runner_pid") != runner
    (tmp_path / "go").touch()
    assert host.finish(key)["code"] == 3


def test_a_start_that_a_dying_runner_never_answered_is_asked_again(host: Host):
    runner = host.call("runner_pid")
    os.kill(runner, signal.SIGSTOP)
    key = host.start("exit 4")

    os.kill(runner, signal.SIGKILL)

    assert host.finish(key)["code"] == 4


# ---- the supervisor dies


def test_a_killed_supervisor_leaves_the_run_live_until_its_tree_is_gone(host: Host, tmp_path: Path):
    key = host.start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    main = host.main(key)

    os.kill(host.supervisor(key), signal.SIGKILL)
    until(lambda: not host.look(key)["locked"])

    assert host.look(key) == {"mark": "started", "locked": False, "alive": True, "exited": False}
    assert not host.call("sweep_clean", *key)
    (tmp_path / "go").touch()
    assert host.finish(key) is None
    assert not alive(main)
    assert host.look(key) == {"mark": "started", "locked": False, "alive": False, "exited": False}
    assert host.call("sweep_clean", *key)


@pytest.mark.parametrize("sweep", ["cgroup", "descent"])
def test_a_tree_whose_supervisor_was_killed_can_still_be_stopped(tmp_path: Path, sweep: str):
    environ = {"MSCHEDULE_FAILPOINTS": "cgroup=raise"} if sweep == "descent" else {}
    with Host(tmp_path / "state", environ) as host:
        key = host.start("trap '' TERM; sh -c 'echo $$; sleep 1000' & setsid sleep 1000 & wait")
        child = int(until(lambda: host.output(key)))
        main = host.main(key)
        os.kill(host.supervisor(key), signal.SIGKILL)
        until(lambda: not host.look(key)["locked"])
        host.restart()
        host.watch(*key)

        host.stop(key, grace_s=0.2)

        assert host.finish(key) is None
        assert not alive(main)
        assert not alive(child)


def test_a_timeout_is_kept_though_the_supervisor_was_killed(host: Host, tmp_path: Path):
    script = f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 1000; done"
    key = host.start(script, timeout=3.0, grace=0.2)
    until((tmp_path / "up").exists)
    main = host.main(key)

    os.kill(host.supervisor(key), signal.SIGKILL)

    assert host.finish(key) is None
    assert not alive(main)
    assert host.look(key) == {"mark": "started", "locked": False, "alive": False, "exited": False}


@pytest.mark.parametrize(
    ("place", "mark", "alive_after"),
    [("mark-made", "started", False), ("exited", "started", False)],
)
def test_a_supervisor_that_dies_at_a_named_place_leaves_no_false_exit(
    tmp_path: Path, place: str, mark: str, alive_after: bool
):
    with Host(tmp_path / "state", {"MSCHEDULE_FAILPOINTS": f"{place}=kill"}) as host:
        key = host.start("exit 0")

        assert host.finish(key) is None
        look = host.look(key)
        assert (look["mark"], look["locked"], look["alive"]) == (mark, False, alive_after)


def test_a_supervisor_that_dies_before_its_mark_has_started_nothing(host: Host):
    entry = host.entry("echo hello")
    key = (entry["run"], 1)
    host.directory(key).joinpath("secrets").mkdir(parents=True)  # which it cannot read

    host.call("start", entry)
    host.watch(*key)

    record = host.finish(key)
    assert (record["cause"], record["code"]) == ("broken", None)
    assert "supervisor died before the script was started" in record["reason"]
    assert host.call("void", *key) is False


def test_a_supervisor_that_dies_once_the_exit_is_written_has_told_it(tmp_path: Path):
    with Host(tmp_path / "state", {"MSCHEDULE_FAILPOINTS": "exit-written=kill"}) as host:
        assert host.run("echo hello; exit 5")["code"] == 5


def test_a_failure_just_before_exec_is_told_as_one(tmp_path: Path):
    with Host(tmp_path / "state", {"MSCHEDULE_FAILPOINTS": "before-exec=raise"}) as host:
        record = host.run("exit 5")

        assert (record["cause"], record["code"]) == ("broken", None)
        assert record["reason"] == f"the script could not be started: {os.strerror(errno.EAGAIN)}"


def test_a_torn_exit_counts_as_none(host: Host):
    key = host.start("exit 5")
    host.finish(key)
    path = host.directory(key) / "exit"
    whole = path.read_bytes()

    for torn in (b"", whole[: len(whole) // 2], whole[:-1], b"\0" * len(whole)):
        path.write_bytes(torn)
        host.restart()
        assert host.look(key)["exited"] is False
        assert host.call("exit_of", *key) is None


# ---- the mark


def test_a_void_run_never_starts(host: Host, tmp_path: Path):
    entry = host.entry(f"touch {tmp_path}/ran")
    key = (entry["run"], 1)

    assert host.call("void", *key) is True
    assert host.call("void", *key) is False
    host.call("start", entry)
    host.watch(*key)

    until(lambda: host.ended(key))
    assert host.look(key)["mark"] == "void"
    assert host.call("exit_of", *key) is None
    host.run("true")  # the runner has passed on to the next
    assert not (tmp_path / "ran").exists()


def test_exactly_one_of_start_and_void_wins_each_race(host: Host, tmp_path: Path):
    entries = [host.entry(f"echo $MSCHEDULE_RUN_ID >> {tmp_path}/ran") for _ in range(RACES)]

    voided = {entry["run"] for entry in entries if host.call("race", entry)}

    for entry in entries:
        host.watch(entry["run"])
    until(lambda: all(host.ended((entry["run"], 1)) for entry in entries), timeout_s=60)
    ran = (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []
    assert len(ran) == len(set(ran))
    assert set(ran).isdisjoint(voided)
    assert len(ran) + len(voided) == RACES


def test_a_second_start_of_the_same_run_starts_nothing(host: Host, tmp_path: Path):
    entry = host.entry(f"echo start >> {tmp_path}/witness")
    for _ in range(5):
        host.call("start", entry)
    host.watch(entry["run"])

    assert host.finish((entry["run"], 1))["code"] == 0
    host.run("true")
    assert (tmp_path / "witness").read_text() == "start\n"


def test_the_end_is_told_once_to_each_who_watches(host: Host):
    key = host.start("exit 0")
    host.watch(*key)
    host.finish(key)

    host.run("true")

    assert host.call("ended", *key) == 2


# ---- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=True)
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()


@as_root
def test_a_full_disk_cuts_the_output_and_keeps_the_code(small_disk: Path):
    with Host(small_disk / "state") as host:
        record = host.run("head -c 3000000 /dev/zero; echo end; exit 6")

        assert (record["cause"], record["code"]) == ("exit", 6)
        assert record["output_bytes"] == 3_000_004
        start, end = record["output_gap"]
        assert 0 < start < 1 << 20
        assert end == 3_000_004
        assert record["output"] == bytes(start)


@as_root
def test_output_that_comes_after_the_disk_has_room_again_is_in_the_tail(
    small_disk: Path, tmp_path: Path
):
    with Host(small_disk / "state") as host:
        key = host.start(
            f"echo first; until [ -e {tmp_path}/full ]; do sleep 0.01; done;"
            f"head -c 100000 /dev/zero; touch {tmp_path}/lost;"
            f"until [ -e {tmp_path}/free ]; do sleep 0.01; done; echo last"
        )
        until(lambda: host.output(key) == b"first\n")
        fill(small_disk / "filler")
        (tmp_path / "full").touch()
        until((tmp_path / "lost").exists)
        (small_disk / "filler").unlink()
        (tmp_path / "free").touch()

        record = host.finish(key)

        assert record["output_bytes"] == 6 + 100_000 + 5
        output = host.output(key)
        assert output.startswith(b"first\n")
        assert output.endswith(b"last\n")


@as_root
def test_a_disk_without_any_room_breaks_the_start_and_says_so(small_disk: Path):
    with Host(small_disk / "state") as host:
        fill(small_disk / "filler")

        key = host.start("echo hello")
        record = host.finish(key)

        assert (record["cause"], record["code"]) == ("broken", None)
        assert "No space left on device" in record["reason"]
        # And a stop is decided all the same
        assert host.call("void", "another000000000", 1)
        assert host.look(("another000000000", 1))["mark"] == "void"
        (small_disk / "filler").unlink()
        assert host.run("echo again")["output"] == b"again\n"


# ---- order on the disk


def test_the_exit_is_synced_and_renamed_before_the_lock_is_freed(host: Host, tmp_path: Path):
    if shutil.which("strace") is None:
        pytest.skip("needs strace, to see the order of system calls")
    trace = tmp_path / "trace"
    runner = host.call("runner_pid")
    command = ["strace", "-f", "-y", "-o", str(trace), "-p", str(runner)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        if "attached" not in strace.stderr.readline():
            pytest.skip("strace may not trace here")
        record = host.run("echo hello; exit 3")
        os.kill(strace.pid, signal.SIGTERM)
        strace.communicate()

    assert record["code"] == 3
    calls = [line.split(None, 1)[1] for line in trace.read_text().splitlines()]
    places = [
        _first(calls, "symlink(", "started"),
        _first(calls, "execve(", "/bin/sh"),
        _first(calls, "fsync(", "/output>"),
        _first(calls, "fsync(", "/exit.room>"),
        _first(calls, "rename(", "/exit.room"),
        _first(calls, "fsync(", ".1>"),
        _first(calls, "flock(", "LOCK_UN"),
    ]
    assert places == sorted(places)
    assert _first(calls, "write(", '{\\"cause\\"') < places[3]


def _first(calls: list[str], name: str, argument: str) -> int:
    return next(i for i, call in enumerate(calls) if call.startswith(name) and argument in call)
