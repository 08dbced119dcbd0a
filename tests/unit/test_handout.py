"""What is an agent told, and what is it handed out, when it polls?"""

import pytest

from master import handout
from master.records import Run, Task
from tests.factories import (
    NOW,
    START_BY,
    make_agent,
    make_poll,
    make_run,
    make_task,
)
from wire.messages import TaskSpec, Word
from wire.states import (
    Cause,
    RunState,
    Stage,
    Standing,
    Stop,
    TaskState,
    Want,
    WordKind,
)

SPEC = TaskSpec(id="t1", script="")


def judge(agent, runs, poll, *, task=None, **options):
    task = task or make_task(max(1, len(runs)), running=len(runs))
    return handout.judge_poll(agent, runs, {"t1": task}, poll, NOW, **options)


def only(change) -> tuple[Run, Task]:
    """The one run and the one task that a change is about."""
    (run,), (task,) = change.runs, change.tasks
    return run, task


# ---- a poll: who speaks


def test_it_knows_only_the_session_that_it_gave_last():
    assert handout.session_is_current("s2", "s2")
    assert not handout.session_is_current("s1", "s2")
    assert not handout.session_is_current("s1", None)


def test_it_offers_the_free_slots_of_an_agent():
    judgement = judge(make_agent(), [], make_poll(free=3))

    assert judgement.places == 3
    assert judgement.sent == () and judgement.words == ()


@pytest.mark.parametrize("standing", [Standing.QUARANTINED, Standing.REVOKED])
def test_it_offers_nothing_to_an_agent_that_is_not_trusted(standing):
    assert judge(make_agent(standing=standing), [], make_poll(free=3)).places == 0


def test_it_offers_nothing_while_an_operator_holds_hand_outs():
    assert judge(make_agent(), [], make_poll(free=3), held_back=True).places == 0


def test_it_quarantines_an_instance_that_another_had_replaced():
    agent = make_agent(instance="i2", past_instances=["i1"])
    run = make_run(state=RunState.RUNNING, instance="i2")

    judgement = judge(agent, [run], make_poll(instance="i1", hw=1))

    assert "two hosts use one identity" in (judgement.quarantine or "")
    assert judgement.change.runs == () and judgement.sent == () and judgement.places == 0


def test_it_takes_a_reboot_for_a_new_instance():
    agent = make_agent(granted=3, acked=3)

    changed = judge(agent, [], make_poll(instance="i2", hw=3)).change.agent

    assert changed is not None
    assert (changed.instance, changed.past_instances) == ("i2", ["i1"])


def test_it_remembers_a_bounded_number_of_past_instances():
    agent = make_agent(past_instances=[f"old{n}" for n in range(handout.PAST_INSTANCES)])

    changed = judge(agent, [], make_poll(instance="i2")).change.agent

    assert changed is not None and len(changed.past_instances) == handout.PAST_INSTANCES
    assert changed.past_instances[-1] == "i1"


# ---- a poll: what arrived


def test_it_notes_the_highest_number_that_the_agent_accepted():
    changed = judge(make_agent(granted=5, acked=2), [], make_poll(hw=4)).change.agent

    assert changed is not None and changed.acked == 4


def test_it_sends_again_what_did_not_arrive_in_order():
    agent = make_agent(granted=3)
    runs = [make_run(f"r{n}", state=RunState.RUNNING, grant=n) for n in (3, 1, 2)]

    judgement = judge(agent, runs, make_poll(hw=1, r1=Stage.LIVE))

    assert [(sent.run.id, sent.cause) for sent in judgement.sent] == [("r2", None), ("r3", None)]
    assert judgement.places == 2, "what is sent again takes slots"


@pytest.mark.parametrize(
    ("run", "task", "cause"),
    [
        ({"want": Want.CANCEL}, {}, Cause.CANCEL),
        ({"want": Want.SKIP}, {}, Cause.SKIP),
        ({"want": Want.LIMIT}, {}, Cause.LIMIT),
        ({}, {"stop": Stop.CANCEL}, Cause.CANCEL),
        ({}, {"stop": Stop.LIMIT}, Cause.LIMIT),
        ({"state": RunState.UNKNOWN}, {}, Cause.SKIP),
        ({"start_by": NOW}, {}, Cause.SKIP),
    ],
)
def test_it_sends_as_void_what_must_not_start_any_more(run, task, cause):
    lost = make_run(**({"state": RunState.RUNNING} | run))
    counted = {lost.state.lower(): 1} | task

    judgement = judge(make_agent(granted=1), [lost], make_poll(), task=make_task(2, **counted))

    assert [sent.cause for sent in judgement.sent] == [cause]
    assert judgement.places == 4, "a void hand-out takes no slot"


def test_it_never_sends_what_was_made_for_another_instance():
    run = make_run(state=RunState.RUNNING, instance="i0")

    judgement = judge(make_agent(granted=1), [run], make_poll(free=1))

    given_up, task = only(judgement.change)
    assert (given_up.state, given_up.settled) == (RunState.UNKNOWN, True)
    assert judgement.sent == ()
    assert judgement.places == 1, "its number is skipped and takes no slot"
    assert task.state is TaskState.FAILED


def test_it_recalls_what_arrived_and_is_not_held():
    run = make_run(state=RunState.RUNNING)

    judgement = judge(make_agent(granted=1), [run], make_poll(hw=1))

    assert judgement.words == (Word(kind=WordKind.RECALL, run="r1", attempt=1),)
    assert judgement.change.runs == ()


def test_it_takes_a_poll_that_says_less_than_an_earlier_one_for_an_old_one():
    """The same instance can't have lost its journal: nothing is concluded but from its hw."""
    agent = make_agent(granted=2, acked=2)
    runs = [make_run(f"r{n}", state=RunState.RUNNING, grant=n) for n in (1, 2)]

    judgement = judge(agent, runs, make_poll(hw=1, r1=Stage.LIVE))

    assert judgement.change.runs == () and judgement.sent == () and judgement.words == ()
    assert judgement.change.agent is not None and judgement.change.agent.acked == 2


def test_it_gives_up_what_a_lost_journal_had_held_and_goes_on_numbering():
    agent = make_agent(granted=7, acked=7)
    runs = [make_run(f"r{n}", state=RunState.RUNNING, grant=n) for n in (6, 7)]

    judgement = judge(agent, runs, make_poll(instance="i2", hw=0, free=2))

    assert {(run.state, run.settled) for run in judgement.change.runs} == {(RunState.UNKNOWN, True)}
    assert judgement.change.agent is not None
    assert (judgement.change.agent.granted, judgement.change.agent.acked) == (7, 0)
    assert judgement.places == 2


def test_it_stops_a_task_by_the_runs_that_one_poll_gives_up():
    """Single moves come first: the sweep is computed from what is left waiting."""
    task = make_task(5, running=2, fail_count=1)
    runs = [make_run(f"r{n}", state=RunState.RUNNING, grant=n, instance="i0") for n in (1, 2)]

    change = judge(make_agent(granted=2), runs, make_poll(), task=task).change

    assert (change.tasks[0].unknown, change.tasks[0].skipped) == (2, 3)
    assert change.tasks[0].state is TaskState.FAILED
    assert len(change.sweeps) == 1


# ---- a poll: what is held


def test_it_lets_go_what_is_ready():
    run = make_run(state=RunState.RUNNING)

    judgement = judge(make_agent(granted=1), [run], make_poll(hw=1, r1=Stage.READY))

    assert judgement.words == (Word(kind=WordKind.GO, run="r1", attempt=1),)


@pytest.mark.parametrize(
    ("run", "task", "cause"),
    [
        ({"want": Want.CANCEL}, {}, Cause.CANCEL),
        ({}, {"stop": Stop.LIMIT}, Cause.LIMIT),
        ({"state": RunState.UNKNOWN}, {}, Cause.SKIP),
        ({"start_by": NOW}, {}, Cause.SKIP),
    ],
)
def test_it_stops_what_is_ready_and_must_not_start_any_more(run, task, cause):
    held = make_run(**({"state": RunState.RUNNING} | run))
    counted = {held.state.lower(): 1} | task
    poll = make_poll(hw=1, r1=Stage.READY)

    judgement = judge(make_agent(granted=1), [held], poll, task=make_task(2, **counted))

    assert judgement.words == (Word(kind=WordKind.STOP, run="r1", attempt=1, cause=cause),)


@pytest.mark.parametrize("want", [Want.CANCEL, Want.LIMIT])
@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.UNKNOWN])
def test_it_stops_what_is_alive_and_unwanted(want, state):
    run = make_run(state=state, want=want)
    task = make_task(2, **{state.lower(): 1})

    judgement = judge(make_agent(granted=1), [run], make_poll(hw=1, r1=Stage.LIVE), task=task)

    assert [(word.kind, word.cause) for word in judgement.words] == [(WordKind.STOP, Cause(want))]


@pytest.mark.parametrize("stage", [Stage.STOPPING, Stage.ENDED])
def test_it_says_stop_no_more_once_it_is_followed(stage):
    run = make_run(state=RunState.RUNNING, want=Want.CANCEL)

    assert judge(make_agent(granted=1), [run], make_poll(hw=1, r1=stage)).words == ()


@pytest.mark.parametrize(
    "run",
    [
        {"state": RunState.RUNNING},
        {"state": RunState.UNKNOWN},  # the agent is back: its result will settle it
        {"state": RunState.RUNNING, "want": Want.SKIP},  # it had started in time
        {"state": RunState.RUNNING, "start_by": NOW - 1},
        {"state": RunState.SUCCEED},  # the poll is older than the result
    ],
)
def test_it_leaves_alone_what_is_alive(run):
    held = make_run(**run)
    task = make_task(2, **{held.state.lower(): 1})

    judgement = judge(make_agent(granted=1), [held], make_poll(hw=1, r1=Stage.LIVE), task=task)

    assert judgement.words == () and judgement.change.runs == ()


def test_it_shows_what_it_does_not_know_as_a_stray_and_leaves_it():
    poll = make_poll(hw=1, gone=Stage.LIVE)

    judgement = judge(make_agent(granted=1), [], poll)

    assert judgement.strays == tuple(poll.held)
    assert judgement.words == ()


def test_it_stops_an_attempt_that_a_later_one_has_replaced():
    run = make_run(state=RunState.RUNNING, attempt=2, grant=2)
    poll = make_poll(hw=2, r1=Stage.LIVE)

    judgement = judge(make_agent(granted=2), [run], poll)

    stop = Word(kind=WordKind.STOP, run="r1", attempt=1, cause=Cause.CANCEL)
    recall = Word(kind=WordKind.RECALL, run="r1", attempt=2)
    assert judgement.words == (recall, stop)


# ---- a poll: the store is older than the agent


def test_it_holds_hand_outs_and_recalls_when_the_agent_knows_more():
    judgement = judge(make_agent(granted=3, acked=3), [], make_poll(hw=5, free=2))

    assert judgement.places == 0
    assert "restored from an older copy" in (judgement.hold or "")
    assert judgement.words == (Word(kind=WordKind.RECALL, since=3),)
    assert judgement.change.agent is not None
    assert (judgement.change.agent.granted, judgement.change.agent.acked) == (3, 3)


def test_it_calls_unknown_what_it_thinks_waits_and_is_held():
    poll = make_poll(hw=1, r1=Stage.READY)

    judgement = judge(make_agent(), [make_run()], poll, task=make_task(2))

    run, task = only(judgement.change)
    assert (run.state, run.settled) == (RunState.UNKNOWN, False)
    assert (task.waiting, task.unknown) == (1, 1)
    assert [word.kind for word in judgement.words] == [WordKind.RECALL, WordKind.STOP]


def test_it_stops_what_it_had_cancelled_while_the_older_store_had_it_running():
    run = make_run(state=RunState.CANCELLED, grant=None, instance=None)
    poll = make_poll(hw=1, r1=Stage.LIVE)

    judgement = judge(make_agent(), [run], poll, task=make_task(2, cancelled=1))

    assert [(w.kind, w.cause) for w in judgement.words][1:] == [(WordKind.STOP, Cause.CANCEL)]


# ---- claims


def test_it_hands_a_run_out():
    claimed = handout.claim(make_task(2), make_agent(granted=6), make_run(), "i1", NOW)

    assert claimed is not None
    task, agent, run = claimed
    assert (task.state, task.waiting, task.running, task.started_at) == (
        TaskState.RUNNING,
        1,
        1,
        NOW,
    )
    assert agent.granted == 7
    assert (run.state, run.grant, run.instance) == (RunState.RUNNING, 7, "i1")


@pytest.mark.parametrize(
    ("task", "agent", "run", "instance"),
    [
        ({"stop": Stop.CANCEL}, {}, {}, "i1"),
        ({"stop": Stop.LIMIT}, {}, {}, "i1"),
        ({"state": TaskState.PAUSED}, {}, {}, "i1"),
        ({"state": TaskState.CANCELLED}, {}, {}, "i1"),
        ({"parallel": 1, "running": 1}, {}, {}, "i1"),
        ({}, {"standing": Standing.QUARANTINED}, {}, "i1"),
        ({}, {}, {"state": RunState.RUNNING}, "i1"),
        ({}, {}, {"state": RunState.CANCELLED}, "i1"),
        ({}, {}, {"start_by": NOW}, "i1"),
        ({}, {}, {}, "i2"),
    ],
)
def test_it_does_not_hand_a_run_out(task, agent, run, instance):
    claimed = handout.claim(
        make_task(2, **task), make_agent(**agent), make_run(**run), instance, NOW
    )

    assert claimed is None


def test_it_builds_the_message_of_a_hand_out():
    run = make_run(state=RunState.RUNNING, grant=7)

    message = handout.grant_of(handout.Sent(run=run), SPEC, NOW)

    assert (message.grant, message.start_in, message.void) == (7, START_BY - NOW, False)
    assert message.task is SPEC


def test_it_builds_the_message_of_a_void_hand_out_without_a_task():
    run = make_run(state=RunState.RUNNING, start_by=NOW - 5)

    message = handout.grant_of(handout.Sent(run=run, cause=Cause.SKIP), SPEC, NOW)

    assert (message.void, message.cause, message.task, message.start_in) == (
        True,
        Cause.SKIP,
        None,
        0.0,
    )
