"""The agent as a process, beside a master that does as a test tells it."""

import signal
import subprocess
import sys

import pytest

from tests.agent_peers import master_and_host, settle
from tests.support import alive, descendants, until
from wire.errors import NotEnrolled, ProtocolMismatch, Refused, RegisterAgain
from wire.keys import make_keys
from wire.messages import OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES
from wire.states import Cause, RunState, Stage, WordKind


@pytest.fixture
def peers(tmp_path):
    with master_and_host(tmp_path) as peers:
        yield peers


@pytest.fixture
def master(peers):
    return peers[0]


@pytest.fixture
def host(peers):
    host = peers[1]
    host.start()
    return host


@pytest.fixture
def host_that_is_off(peers):
    return peers[1]


def witness(host, run: str, then: str = "") -> str:
    """A script that says that it ran, so that a second start would be seen."""
    return f"echo {run} >> {host.witness}\n{then}"


def wait_for_gate(host) -> str:
    """Shell: go on once the test has opened the gate."""
    return f"while [ ! -e {gate(host)} ]; do sleep 0.05; done"


def gate(host):
    return host.witness.with_name("gate")


def has_ended(host) -> bool:
    """Is there the exit record of a script?"""
    return any(host.state.glob("runs/*/exit"))


# ---- who it is


def test_it_registers_with_what_it_knows_of_itself(master, host):
    register = master.registers[0]
    assert register.hostname == "web01"
    assert len(register.id) == 32 and len(register.machine) == 32
    assert register.slots == 4
    assert register.facts["cpus"] >= 1 and register.facts["kernel"]
    assert "127.0.0.1" not in register.ip


def test_it_gives_its_token_once_and_keeps_the_master_without_it(master, host):
    assert master.registers[0].token == "a-join-token"
    host.agent.signal(signal.SIGTERM)
    host.wait()
    kept = (host.state / "master").read_text()
    assert "a-join-token" not in kept
    del host.agent.environ["MSCHEDULE_JOIN"]
    host.start()
    assert master.registers[-1].token is None
    assert master.registers[-1].id == master.registers[0].id


def test_its_files_are_private(master, host):
    for name in ("id", "keys", "master", "journal"):
        assert (host.state / name).stat().st_mode & 0o077 == 0


def test_it_sends_heartbeats_as_often_as_the_master_says(master, host_that_is_off):
    master.heartbeat_s = 0.5
    host_that_is_off.start()
    master.until(lambda: len(master.heartbeats) >= 3)
    assert master.heartbeats[-1].id == master.registers[0].id
    assert master.heartbeats[-1].hostname == "web01"


# ---- a run


def test_it_runs_what_it_is_granted_and_reports_in_one_message(master, host):
    master.grant("r1", "echo hello; exit 3")
    result = master.result_of("r1")
    assert (result.state, result.code, result.cause) == (RunState.FAILED, 3, Cause.EXIT)
    assert result.data == b"hello\n" and result.offset == 0
    assert result.hw == 1 and result.free == 4
    assert master.outputs == []
    master.until(host.is_idle)


def test_it_polls_while_all_its_slots_are_busy(master, host):
    for number in range(4):
        master.grant(f"r{number}", "sleep 60")
    master.until(lambda: master.polls[-1].free == 0)
    assert master.parked is not None
    master.cancel("r2")
    assert master.result_of("r2").state is RunState.CANCELLED
    master.until(lambda: master.polls[-1].free == 1)


def test_it_streams_output_while_a_script_runs(master, host):
    master.grant("r1", "echo first; sleep 60")
    master.until(lambda: master.output_of("r1") == b"first\n")
    master.until(lambda: master.stage_of("r1") is Stage.LIVE)
    master.cancel("r1")
    master.result_of("r1")


def test_it_brings_a_long_output_whole(master, host):
    master.grant("r1", "seq 1 300000")
    result = master.result_of("r1")
    master.until(lambda: len(master.output_of("r1")) >= result.output_bytes)
    assert master.output_of("r1") == b"".join(b"%d\n" % n for n in range(1, 300001))
    master.until(host.is_idle)


def test_it_marks_the_gap_of_an_output_beyond_the_cap(master, host):
    size = 12_000_000
    master.grant("r1", f"head -c {size} /dev/zero | tr '\\0' x; printf end")
    result = master.result_of("r1", 60)
    master.until(lambda: len(master.output_of("r1")) == size + 3, 60)
    assert result.output_bytes == size + 3
    assert master.gaps["r1"] == tuple(result.output_gap)
    start, end = master.gaps["r1"]
    stored = master.output_of("r1")
    assert (start, size + 3 - end) == (OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES)
    assert set(stored[:start]) == {ord("x")} and stored[end:].endswith(b"xend")
    master.until(host.is_idle)


def test_a_session_that_never_lasts_is_no_busy_loop(master, host):
    master.until(lambda: master.parked is not None)
    master.refuse["poll"] = RegisterAgain()
    master.end_poll()
    registers = len(master.registers)
    settle(2.0)
    assert 2 <= len(master.registers) - registers < 30
    del master.refuse["poll"]
    master.grant("r1")
    assert master.result_of("r1").state is RunState.SUCCEED


def test_it_goes_back_when_the_master_has_lost_output(master, host):
    master.grant(
        "r1", f"printf %0300000d 7; echo; while [ ! -e {host.witness} ]; do sleep 0.1; done"
    )
    master.until(lambda: len(master.output_of("r1")) == 300001)
    del master.stored["r1"][1000:]
    host.witness.write_text("")
    master.result_of("r1")
    master.until(lambda: len(master.output_of("r1")) == 300001)
    assert master.output_of("r1") == b"0" * 299999 + b"7\n"


def test_it_sends_refused_output_never_again(master, host):
    master.refused_output.add("r1")
    master.grant("r1", f"echo x; while [ ! -e {host.witness} ]; do echo y; sleep 0.1; done")
    master.until(lambda: master.outputs)
    settle(1.0)
    assert len(master.outputs) == 1
    host.witness.write_text("")
    assert master.result_of("r1").data == b""
    master.until(host.is_idle)


# ---- messages that are lost or repeated


def test_it_repeats_a_result_until_it_is_acknowledged(master, host):
    master.swallow["result"] = 1
    master.grant("r1", witness(host, "r1"))
    master.until(lambda: len(master._results_of("r1")) >= 2, 60)
    master.until(host.is_idle)
    assert host.scripts_ran() == ["r1"]


def test_it_starts_a_grant_once_however_often_it_is_sent(master, host):
    master.grant("r1", witness(host, "r1"))
    master.result_of("r1")
    for _ in range(5):
        polls = len(master.polls)
        master.until(lambda: master.parked is not None)
        master.answer(all_of_it=True)
        master.until(lambda polls=polls: len(master.polls) > polls)
    master.grant("r2", witness(host, "r2"))
    master.result_of("r2")
    assert host.scripts_ran() == ["r1", "r2"]


def test_it_drops_an_answer_to_another_session(master, host):
    master.until(lambda: master.parked is not None)
    polls = len(master.polls)
    master.answer_as = "another-session"
    master.grant("r1", witness(host, "r1"))
    master.until(lambda: len(master.polls) > polls)
    assert master.polls[-1].hw == 0
    master.answer_as = None
    master.until(lambda: master.parked is None or master.answer())
    master.result_of("r1")
    assert host.scripts_ran() == ["r1"]


def test_it_registers_again_when_its_session_is_unknown(master, host):
    master.until(lambda: master.parked is not None)
    master.session = "that of a master that was restarted"
    master.cancel("nobody")  # brings the next poll
    master.until(lambda: len(master.registers) >= 2)
    master.grant("r1")
    assert master.result_of("r1").state is RunState.SUCCEED


# ---- void, go, stop, recall


def test_it_never_starts_a_void_grant(master, host):
    master.grant("r1", witness(host, "r1"), void=True, cause=Cause.CANCEL)
    result = master.result_of("r1")
    assert (result.state, result.code, result.hw) == (RunState.CANCELLED, None, 1)
    assert host.scripts_ran() == []


def test_it_never_starts_what_was_granted_to_another_instance(master, host):
    master.grant("r1", witness(host, "r1"), instance="another")
    master.result_of("r1")
    assert host.scripts_ran() == []


def test_a_cancel_kills_the_tree_and_says_so(master, host):
    master.grant("r1", "trap '' TERM; echo up; sleep 600 & wait; sleep 600", grace=0.2)
    master.until(lambda: master.output_of("r1") == b"up\n")
    master.cancel("r1")
    result = master.result_of("r1")
    assert (result.state, result.killed, result.survivors) == (RunState.CANCELLED, True, [])


def test_a_run_that_is_being_stopped_is_listed_as_such(master, host):
    master.grant("r1", "trap '' TERM; echo up; while :; do sleep 1; done", grace=600.0)
    master.until(lambda: master.output_of("r1") == b"up\n")
    master.cancel("r1")
    master.until(lambda: master.stage_of("r1") is Stage.STOPPING)


def test_it_sends_the_done_record_when_it_is_recalled(master, host):
    master.grant("r1", "exit 7")
    master.result_of("r1")
    master.until(host.is_idle)
    master.until(lambda: master.parked is not None)
    master.say(WordKind.RECALL, "r1")
    master.until(lambda: master.dones)
    assert [(r.run, r.state, r.code) for r in master.dones[0].records] == [
        ("r1", RunState.FAILED, 7)
    ]
    assert master.dones[0].asked == ["r1"]
    master.until(lambda: master.parked is not None)
    master.say(WordKind.RECALL, None, since=0)
    master.until(lambda: len(master.dones) == 2)
    assert (master.dones[1].asked, master.dones[1].floor) == (None, 0)


def test_a_stop_of_what_it_does_not_hold_changes_nothing(master, host):
    master.until(lambda: master.parked is not None)
    master.cancel("nobody")
    master.grant("r1")
    assert master.result_of("r1").state is RunState.SUCCEED


def test_words_that_change_nothing_are_not_answered_in_a_storm(master, host):
    master.until(lambda: master.parked is not None)
    master.babble = True
    polls = len(master.polls)
    master.cancel("nobody")
    settle(1.0)
    master.babble = False
    assert 2 <= len(master.polls) - polls < 50
    master.grant("r1")
    assert master.result_of("r1").state is RunState.SUCCEED


# ---- the master away


def test_scripts_that_end_while_the_master_is_away_arrive_once(master, host):
    master.grant("r1", witness(host, "r1", f"{wait_for_gate(host)}; echo late"))
    master.until(lambda: master.stage_of("r1") is Stage.LIVE)
    master.stop()
    host.log_has("master unreachable")
    gate(host).touch()
    master.until(lambda: has_ended(host), what="the end of the script")
    master.start()
    assert master.result_of("r1").state is RunState.SUCCEED
    assert master.output_of("r1") == b"late\n"
    host.log_has("recovered")
    master.until(host.is_idle)
    assert host.scripts_ran() == ["r1"]


@pytest.mark.parametrize(
    "refusal, words",
    [
        (NotEnrolled("no valid token"), "not enrolled"),
        (Refused("agent is revoked"), "refused"),
        (ProtocolMismatch("2 is not 1"), "protocol mismatch"),
    ],
)
def test_it_says_why_the_master_does_not_want_it(master, host_that_is_off, refusal, words):
    master.refuse["register"] = refusal
    host_that_is_off.agent.start()
    host_that_is_off.log_has(f"{words}: {refusal}")
    del master.refuse["register"]
    master.until(lambda: master.polls)


def test_it_says_when_the_key_of_the_master_is_wrong(master, host_that_is_off):
    master.stop()
    master.keys = make_keys()  # the join string has the one before
    master.start()
    host_that_is_off.agent.start()
    host_that_is_off.log_has("wrong master key")


# ---- a full disk


@pytest.fixture
def small_disk(host_that_is_off):
    """The state directory on a disk of its own, of 40 MB."""
    state = host_that_is_off.state
    state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "mschedule", str(state)])
    if mounted.returncode != 0:
        pytest.skip("mounting a disk takes root")
    yield state
    if host_that_is_off.agent.running:
        host_that_is_off.agent.kill()
    subprocess.run(["umount", "-l", str(state)], check=True)


def fill_up(folder):
    with pytest.raises(OSError), (folder / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
        raise OSError


def test_what_is_granted_on_a_full_disk_has_failed_and_says_so(
    master, small_disk, host_that_is_off
):
    host = host_that_is_off
    master.poll_s = 0.5
    host.start()
    fill_up(small_disk)
    master.grant("r1", witness(host, "r1"))
    result = master.result_of("r1")
    assert (result.state, result.code) == (RunState.FAILED, None)
    assert "space" in result.reason.lower()
    assert host.scripts_ran() == []
    master.until(lambda: master.polls[-1].free == 0)
    (small_disk / "ballast").unlink()
    master.poll_s = 30.0
    master.until(lambda: master.end_poll() or master.polls[-1].free == 4)
    master.grant("r2", witness(host, "r2"))
    assert master.result_of("r2").state is RunState.SUCCEED


# ---- killed, restarted, rebooted


@pytest.mark.parametrize("place", ["granted", "journalled", "started", "ended", "acknowledged"])
def test_it_runs_a_script_once_wherever_it_is_killed(master, host_that_is_off, place):
    host = host_that_is_off
    host.start(MSCHEDULE_FAILPOINTS=f"{place}=kill")
    master.grant("r1", witness(host, "r1", "echo done; exit 3"))
    assert host.wait() == -signal.SIGKILL
    host.start()
    if place == "journalled":
        assert master.stage_of("r1") is Stage.READY
        assert host.scripts_ran() == []
        master.say(WordKind.GO, "r1")
    result = master.result_of("r1")
    assert (result.state, result.code) == (RunState.FAILED, 3)
    master.until(host.is_idle)
    assert master.output_of("r1") == b"done\n"
    assert host.scripts_ran() == ["r1"]


def test_it_takes_back_a_run_that_lives_on_after_its_death(master, host):
    then = f"echo one; {wait_for_gate(host)}; echo two; exit 5"
    master.grant("r1", witness(host, "r1", then))
    master.until(lambda: master.output_of("r1") == b"one\n")
    host.kill()
    host.start()
    master.until(lambda: master.stage_of("r1") is Stage.LIVE)
    gate(host).touch()
    result = master.result_of("r1")
    assert (result.state, result.code) == (RunState.FAILED, 5)
    assert master.output_of("r1") == b"one\ntwo\n"
    assert host.scripts_ran() == ["r1"]


def test_it_reports_what_ended_while_it_was_dead(master, host):
    master.grant("r1", witness(host, "r1", f"{wait_for_gate(host)}; exit 4"))
    master.until(lambda: master.stage_of("r1") is Stage.LIVE)
    host.kill()
    gate(host).touch()
    master.until(lambda: has_ended(host), what="the end of the script")
    host.start()
    assert master.result_of("r1").code == 4


def test_what_it_finds_ready_can_be_cancelled_instead(master, host_that_is_off):
    host = host_that_is_off
    host.start(MSCHEDULE_FAILPOINTS="journalled=kill")
    master.grant("r1", witness(host, "r1"))
    host.wait()
    host.start()
    master.cancel("r1")
    assert master.result_of("r1").state is RunState.CANCELLED
    assert host.scripts_ran() == []


def test_after_a_reboot_what_may_have_started_is_unknown(master, host_that_is_off):
    host = host_that_is_off
    host.start(MSCHEDULE_FAILPOINTS="journalled=kill")
    master.grant("r1", witness(host, "r1"))
    host.wait()
    host.reboot()
    host.start()
    result = master.result_of("r1")
    assert (result.state, result.cause, result.code) == (RunState.UNKNOWN, Cause.LOST, None)
    assert master.registers[-1].instance != master.registers[0].instance
    assert host.scripts_ran() == []


def test_it_finishes_a_kill_that_it_died_over(master, host):
    master.grant("r1", "trap '' TERM; echo up; while :; do sleep 0.2; done", grace=1.5)
    master.until(lambda: master.output_of("r1") == b"up\n")
    master.cancel("r1")
    master.until(lambda: master.stage_of("r1") is Stage.STOPPING)
    host.kill()
    host.start()
    assert master.result_of("r1").state is RunState.CANCELLED


def test_it_begins_anew_with_a_journal_that_is_damaged(master, host):
    for number in range(3):
        master.grant(f"r{number}", witness(host, f"r{number}"))
        master.result_of(f"r{number}")
    master.until(host.is_idle)
    host.kill()
    log = host.state / "journal" / "log"
    content = bytearray(log.read_bytes())
    content[60] ^= 0xFF
    log.write_bytes(content)
    master.grants.clear()
    host.start()
    assert master.polls[-1].hw == 0
    assert master.registers[-1].instance != master.registers[0].instance
    assert "set aside" in host.agent.log
    assert host.scripts_ran() == ["r0", "r1", "r2"]


def test_it_clears_away_what_the_journal_does_not_know(master, host):
    host.kill()
    orphan = host.state / "runs" / "forgotten.1"
    orphan.mkdir()
    (orphan / "output").write_bytes(b"x")
    host.start()
    assert not orphan.exists()


def test_fewer_slots_than_runs_leave_the_runs_alone(master, host):
    for number in range(3):
        master.grant(f"r{number}", "sleep 60")
    master.until(lambda: master.polls[-1].free == 1)
    host.kill()
    host.start(MSCHEDULE_SLOTS="1")
    assert master.polls[-1].free == 0
    assert len(master.polls[-1].held) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_its_scripts_running(master, host, number):
    master.grant("r1", witness(host, "r1", f"{wait_for_gate(host)}; exit 6"))
    master.until(lambda: master.stage_of("r1") is Stage.LIVE and host.scripts_ran())
    scripts = descendants(host.agent.pid)
    host.agent.signal(number)
    assert host.wait() == 0
    assert any(alive(pid) for pid in scripts)
    host.start()
    gate(host).touch()
    assert master.result_of("r1").code == 6
    assert host.scripts_ran() == ["r1"]


def test_it_stops_at_once_while_the_master_is_away(master, host):
    master.stop()
    host.log_has("master unreachable")
    host.agent.signal(signal.SIGTERM)
    assert host.wait() == 0


def test_a_second_agent_in_the_same_state_directory_is_one_clear_line(master, host):
    again = subprocess.run(
        [sys.executable, *host.agent.arguments], capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 1
    assert "is in use by process" in again.stderr


def test_without_a_join_string_it_says_how_to_get_one(master, host_that_is_off):
    host = host_that_is_off
    del host.agent.environ["MSCHEDULE_JOIN"]
    host.agent.start()
    assert host.wait() == 1
    assert "has not joined a master yet" in host.agent.log


# ---- items of a queue


def test_it_runs_a_script_on_an_item(master, host):
    master.grant(
        "r1", 'echo "<$1> <$MSCHEDULE_ITEM> $MSCHEDULE_ATTEMPT"', item="-a 'ü\n", attempt=3
    )
    assert master.result_of("r1").state is RunState.SUCCEED
    assert master.output_of("r1").decode() == "<-a 'ü\n> <-a 'ü\n> 3\n"


def test_it_reports_the_failed_items_of_a_batch(master, host):
    script = 'grep -v web01 "$1" > "$MSCHEDULE_FAILED"; echo whatever >> "$MSCHEDULE_FAILED"'
    master.grant("r1", script, item="db1\nweb01\ndb2", batch=True)
    result = master.result_of("r1")
    assert (result.state, result.code, result.failed_items) == (RunState.FAILED, 0, [0, 2])
    assert result.reason.startswith("2 of 3 items failed; 1 lines")


def test_it_reports_the_failed_items_of_a_batch_that_ended_while_it_was_dead(master, host):
    go = host.state / "go"
    script = f'until [ -e {go} ]; do sleep 0.05; done; tail -n 1 "$1" > "$MSCHEDULE_FAILED"; echo .'
    master.grant("r1", script, item="a\nb", batch=True)
    master.until(lambda: master.stage_of("r1") is Stage.LIVE)
    host.kill()
    go.touch()
    until(lambda: (host.state / "runs/r1.1/exit").exists(), what="its end")
    host.start()
    assert master.result_of("r1").failed_items == [1]


def test_it_says_that_it_knows_of_queues_and_serves_all(master, host):
    assert master.registers[0].queues == []
