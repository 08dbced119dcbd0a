"""Is a script that is stopped, or runs too long, dead with all that it started?"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import rundir
from tests.execution_host import Host, with_text
from tests.support import alive, until

# Ignores TERM, and so does each thing it starts: in the group, in a session of its own, as a
# daemon by double fork, and with a cleared environment. `mark` stands in every command line.
STUBBORN_TREE = """#!/bin/sh
trap '' TERM
sh -c 'trap "" TERM; echo group >> {out}; while :; do sleep 1; done # {mark}' &
setsid sh -c 'trap "" TERM; echo session >> {out}; while :; do sleep 1; done # {mark}' &
( setsid sh -c '( trap "" TERM; echo daemon >> {out}; while :; do sleep 1; done # {mark}
) & exit' & )
( ( env -i setsid sh -c 'trap "" TERM; echo bare >> {out}; while :; do sleep 1; done # {mark}' \
    </dev/null >/dev/null 2>&1 & ) & )
while :; do sleep 1; done # {mark}
"""


@pytest.fixture(scope="module", params=["cgroup", "descent"])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """One that kills by cgroup where the machine has them, and one that cannot make any."""
    environ = {"MSCHEDULE_FAILPOINTS": "cgroup=raise"} if request.param == "descent" else {}
    with Host(tmp_path_factory.mktemp(request.param), environ) as started:
        yield started


def start_tree(host: Host, folder: Path, **task: object) -> tuple[tuple[str, int], str]:
    """The stubborn tree, once all of it is up; its key and the mark in its command lines."""
    mark = f"tree-of-{os.getpid()}-{folder.name}-{folder.parent.name}"
    out = folder / "up"
    key = host.start(STUBBORN_TREE.format(out=out, mark=mark), **task)
    until(lambda: out.exists() and len(out.read_text().splitlines()) == 4, what="the tree")
    assert len(with_text(mark)) >= 3
    return key, mark


def said(host: Host, key: tuple[str, int]) -> list[str]:
    """The lines of the output, but for the shell's own remark on a killed child."""
    return [line for line in host.output(key).decode().splitlines() if line != "Terminated"]


def test_a_timeout_kills_a_tree_that_ignores_term_and_hides(host: Host, tmp_path: Path):
    key, mark = start_tree(host, tmp_path, timeout=4.0, grace=0.3)

    record = host.finish(key)

    assert (record["cause"], record["killed"], record["survivors"]) == ("timeout", True, [])
    assert record["code"] == 137
    assert with_text(mark) == []


def test_a_cancel_kills_a_tree_that_ignores_term_and_hides(host: Host, tmp_path: Path):
    key, mark = start_tree(host, tmp_path)

    host.stop(key, grace_s=0.3)
    record = host.finish(key)

    assert (record["cause"], record["killed"], record["survivors"]) == ("cancel", True, [])
    assert with_text(mark) == []
    assert host.call("sweep_clean", *key)


def test_a_daemon_that_never_hears_of_the_term_dies_without_waiting_for_the_grace(
    host: Host, tmp_path: Path
):
    mark = f"daemon-{tmp_path.name}"
    key = host.start(f"setsid sh -c 'echo up; sleep 1000; : {mark}' & sleep 1000")
    until(lambda: host.output(key) == b"up\n")

    host.stop(key, grace_s=1000)

    assert host.finish(key)["code"] == 143
    assert with_text(mark) == []


def test_the_script_gets_the_grace_to_clean_up(host: Host, tmp_path: Path):
    key = host.start(
        "trap 'echo cleaning; sleep 0.5; echo clean; exit 5' TERM; echo up;"
        "while :; do sleep 0.05; done"
    )
    until(lambda: host.output(key) == b"up\n")

    host.stop(key, cause="limit", grace_s=30)
    record = host.finish(key)

    assert (record["cause"], record["code"], record["killed"]) == ("limit", 5, True)
    assert said(host, key) == ["up", "cleaning", "clean"]


def test_a_child_in_the_group_gets_the_grace_even_when_the_script_has_ended(host: Host):
    child = 'trap "sleep 0.5; echo clean; exit" TERM; echo up; while :; do sleep 0.05; done'
    key = host.start(f"sh -c '{child}' & wait")
    until(lambda: host.output(key) == b"up\n")

    host.stop(key, grace_s=30)

    assert host.finish(key)["killed"]
    assert said(host, key) == ["up", "clean"]


def test_a_stopped_script_is_woken_to_hear_the_term(host: Host):
    key = host.start("trap 'echo heard; exit 0' TERM; echo up; kill -STOP $$; sleep 1000")
    until(lambda: host.output(key) == b"up\n")

    host.stop(key, grace_s=1000)
    host.finish(key)

    assert host.output(key) == b"up\nheard\n"


def test_a_second_stop_with_a_shorter_grace_hurries_and_keeps_the_first_cause(host: Host):
    key = host.start("trap '' TERM; echo up; while :; do sleep 0.1; done")
    until(lambda: host.output(key) == b"up\n")

    host.stop(key, cause="limit", grace_s=1000)
    host.stop(key, cause="limit", grace_s=1000)
    host.stop(key, cause="cancel", grace_s=0)
    record = host.finish(key)

    assert (record["cause"], record["code"]) == ("limit", 137)


def test_a_script_that_ended_before_the_stop_keeps_its_own_result(host: Host, tmp_path: Path):
    # Given a supervisor that is halted while its script ends
    key = host.start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; exit 6", timeout=5.0)
    supervisor, main = host.supervisor(key), host.main(key)
    os.kill(supervisor, signal.SIGSTOP)
    (tmp_path / "go").touch()
    until(lambda: not alive(main))

    # When it is asked to stop, and wakes up
    host.stop(key)
    os.kill(supervisor, signal.SIGCONT)

    record = host.finish(key)
    assert (record["cause"], record["code"], record["killed"]) == ("exit", 6, False)


def test_a_stop_after_the_end_changes_nothing(host: Host):
    key = host.start("sleep 1000 & exit 4")
    record = host.finish(key)

    host.stop(key, grace_s=0)

    assert host.call("exit_of", *key) == record
    assert record["left_running"] == 1


@pytest.mark.parametrize("timeout", [1000, 1e9, 1e300])
def test_a_script_within_its_time_is_not_killed(host: Host, timeout: float):
    record = host.run("exit 2", timeout=timeout)

    assert (record["cause"], record["code"], record["killed"]) == ("exit", 2, False)


def test_a_fork_bomb_is_dead_after_its_timeout(host: Host, tmp_path: Path):
    mark = f"bomb-{tmp_path.name}"
    record = host.run(
        f"sh -c 'while :; do (exec sleep 1000) & (sleep 0.001; : {mark}); done # {mark}'",
        timeout=0.5,
        grace=0,
    )

    assert (record["cause"], record["survivors"]) == ("timeout", [])
    assert with_text(mark) == []


def test_a_flood_of_output_does_not_delay_the_kill(host: Host):
    record = host.run("trap '' TERM; yes", timeout=0.3, grace=0.3)

    assert (record["cause"], record["survivors"]) == ("timeout", [])


def test_the_cgroup_of_a_run_is_gone_with_it(host: Host):
    before = _cgroups()

    host.run("sleep 1000 & exit", timeout=0)
    host.run("sleep 1000", timeout=0.1, grace=0)

    left = _cgroups() - before
    assert len(left) <= 1  # of what was left running


def test_a_script_is_born_in_its_cgroup_and_its_supervisor_lives_outside(host: Host):
    key = host.start("sleep 1000")
    main, supervisor = host.main(key), host.supervisor(key)
    of_run = f"/mschedule-{key[0]}.{key[1]}"
    where = str(until(lambda: not _cgroup_of(supervisor).endswith(of_run) and _cgroup_of(main)))

    cgroup = rundir.read_cgroup(str(host.directory(key)))
    if cgroup is not None and Path(cgroup).is_dir():
        assert where.endswith(of_run)
    host.stop(key, grace_s=0.0)
    assert host.finish(key)["survivors"] == []


def _cgroup_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return "".join(line for line in lines if line.startswith("0::"))


def _cgroups() -> set[str]:
    """Those of runs that this process has started: other tests run at the same time."""
    homes = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    ours = f"mschedule-run{'[0-9]' * 13}{os.getpid()}.*"
    return {str(path) for home in homes for path in home.glob(ours)}


def test_an_agent_that_the_script_started_anew_is_never_killed(host: Host, tmp_path: Path):
    # Given a script that starts a process which then says that it is the agent
    key = host.start("sleep 1000 & echo $!; setsid sh -c 'sleep 1000 & wait' & echo $!; wait")
    agent = int(until(lambda: host.output(key).splitlines()[1:])[0])
    claim = host.state_dir / "runs" / "agent"
    before = os.readlink(claim)
    birth = Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()[19]
    claim.unlink()
    claim.symlink_to(f"{agent} {birth}")
    its_child = until(lambda: Path(f"/proc/{agent}/task/{agent}/children").read_text().split())

    # When the run is stopped
    host.stop(key, grace_s=0.2)
    record = host.finish(key)

    # Then the script is dead, and the agent with what is its own is not
    assert (record["cause"], record["survivors"]) == ("cancel", [])
    assert alive(agent)
    assert alive(int(its_child[0]))
    claim.unlink()
    claim.symlink_to(before)
    os.kill(agent, signal.SIGKILL)
