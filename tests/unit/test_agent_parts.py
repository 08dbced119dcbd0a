"""The small parts of the agent's connection: pauses, troubles in the log, messages, snapshots."""

import logging

import pytest

from agent.cm import SAME_AGAIN_S, Troubles, _in_words
from agent.courier import Backoff
from agent.decide import Verdict
from agent.executor import ExitRecord, OutputChunk
from agent.identity import Host, Identity
from agent.msg import Message, Snapshot, facts
from agent.records import Entry
from agent.runs import matters
from wire.errors import Busy, NotEnrolled, ProtocolMismatch, Refused
from wire.keys import make_keys
from wire.messages import PROTOCOL, Held
from wire.states import Cause, RunState, Stage

ENTRY = Entry(run="r1", attempt=2, grant=7, instance="i", start_by=0.0, void=False)
NOTHING = OutputChunk(offset=0, data=b"")


@pytest.fixture
def message():
    return Message(
        Identity("a" * 32, make_keys()), Host("m", "b"), "journal", "web01", 4, ["scans", "default"]
    )


# ---- pauses


def test_pauses_grow_to_their_cap_and_are_never_busy():
    backoff = Backoff(0.1, 5.0)
    pauses = [backoff.next_s() for _ in range(500)]
    assert min(pauses) >= 0.05
    assert max(pauses[:2]) <= 0.2
    assert 4.0 < max(pauses) <= 5.0


def test_pauses_begin_short_again_after_a_success():
    backoff = Backoff(0.1, 5.0)
    for _ in range(20):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1


# ---- troubles


@pytest.fixture
def troubles(caplog):
    caplog.set_level(logging.INFO)
    return Troubles()


def test_a_trouble_is_logged_once_until_it_changes(troubles, caplog):
    troubles.say("master unreachable", "a")
    troubles.say("master unreachable", "b")
    troubles.say("refused", "c")
    troubles.say("master unreachable", "d")
    assert [record.message[-1] for record in caplog.records] == ["a", "c", "d"]


def test_a_trouble_that_stays_is_logged_again_after_a_while(troubles, caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("agent.cm.time.monotonic", lambda: now[0])
    troubles.say("refused", "a")
    now[0] += SAME_AGAIN_S
    troubles.say("refused", "b")
    assert len(caplog.records) == 2


def test_the_end_of_a_trouble_is_logged_and_of_none_is_not(troubles, caplog):
    troubles.over()
    troubles.say("refused", "a")
    troubles.over()
    troubles.over()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_each_refusal_has_words_of_its_own():
    refusals = [NotEnrolled(), Refused(), ProtocolMismatch(), Busy()]
    kinds = [_in_words(refusal)[0] for refusal in refusals]
    assert kinds == ["not enrolled", "refused", "protocol mismatch", "not served"]


# ---- messages


def test_register_says_who_this_is_and_what_it_speaks(message):
    register = message.register("token")
    assert (register.id, register.hostname, register.slots) == ("a" * 32, "web01", 4)
    assert register.protocol == PROTOCOL
    assert register.instance == Host("m", "b").instance("journal")
    assert register.token == "token"
    assert register.queues == ["scans", "default"]


def test_a_result_carries_the_exit_record(message):
    exit = ExitRecord(
        cause=Cause.EXIT,
        code=3,
        started_at=1.0,
        ended_at=2.0,
        left_running=1,
        output_bytes=6,
        output_sha256="ab",
        output_gap=(1, 2),
    )
    verdict = Verdict(state=RunState.FAILED, cause=Cause.EXIT, reason="exit code 3", exit=exit)
    last = OutputChunk(offset=0, data=b"hello\n")
    result = message.result("s", ENTRY, verdict, Snapshot(7, 4, ()), last)
    assert (result.run, result.attempt, result.grant) == ("r1", 2, 7)
    assert (result.state, result.code, result.reason) == (RunState.FAILED, 3, "exit code 3")
    assert (result.started_at, result.ended_at, result.left_running) == (1.0, 2.0, 1)
    assert (result.output_bytes, result.output_sha256, result.output_gap) == (6, "ab", (1, 2))
    assert (result.hw, result.free, result.data) == (7, 4, b"hello\n")


def test_a_result_names_the_failed_items_of_a_batch(message):
    verdict = Verdict(state=RunState.FAILED, cause=Cause.EXIT, reason="2 of 3", failed_items=(0, 2))
    assert message.result("s", ENTRY, verdict, Snapshot(7, 0, ()), NOTHING).failed_items == [0, 2]


def test_a_result_without_an_exit_record_has_no_code(message):
    verdict = Verdict(state=RunState.UNKNOWN, cause=Cause.LOST, reason="the host went down")
    result = message.result("s", ENTRY, verdict, Snapshot(7, 0, ()), NOTHING)
    assert (result.code, result.started_at, result.output_sha256) == (None, None, None)


def test_facts_are_what_a_person_wants_to_know():
    found = facts()
    assert {"kernel", "arch", "cpus", "memory_bytes", "python"} <= set(found)
    assert found["memory_bytes"] > 1 << 20


# ---- what of a snapshot matters


def snapshot(*stages: Stage, free: int = 1, hw: int = 1) -> Snapshot:
    held = tuple(Held(f"r{number}", 1, stage) for number, stage in enumerate(stages))
    return Snapshot(hw, free, held)


@pytest.mark.parametrize(
    "changed",
    [
        snapshot(Stage.LIVE, free=2),
        snapshot(Stage.LIVE, hw=2),
        snapshot(Stage.STOPPING),
        snapshot(Stage.ENDED),
        snapshot(Stage.LIVE, Stage.READY),
    ],
)
def test_what_the_master_would_decide_by_matters(changed):
    assert matters(changed) != matters(snapshot(Stage.LIVE))


def test_that_an_ended_run_was_let_go_does_not_matter():
    assert matters(snapshot(Stage.ENDED)) == matters(snapshot())
