"""What does an agent do with an answer, a stop, a restart?"""

from typing import Any

import pytest

from agent import decide
from agent.decide import Finding, Leave, Stopping
from agent.executor import ExitRecord
from agent.records import Entry, Mark, RunDirectory
from wire.messages import Grant, Held, TaskSpec, Word, Work
from wire.states import Cause, RunState, Stage, WordKind

SPEC = TaskSpec(id="t1", script="")


def make_grant(number=1, run="r1", **fields: Any) -> Grant:
    values: dict[str, Any] = {"attempt": 1, "instance": "i1", "start_in": 60.0, "task": SPEC}
    return Grant(run=run, grant=number, **(values | fields))


def make_void(number=1, run="r1", cause=Cause.CANCEL) -> Grant:
    return make_grant(number, run, void=True, cause=cause, task=None)


def make_entry(**fields: Any) -> Entry:
    values: dict[str, Any] = {
        "run": "r1",
        "attempt": 1,
        "grant": 1,
        "instance": "i1",
        "start_by": 160.0,
        "void": False,
        "task": SPEC,
    }
    return Entry(**(values | fields))


def make_directory(mark=None, *, locked=False, alive=False, exited=False) -> RunDirectory:
    return RunDirectory(mark=mark, locked=locked, alive=alive, exited=exited)


def make_exit(code: int | None = 0, **fields: Any) -> ExitRecord:
    values: dict[str, Any] = {"cause": Cause.EXIT, "code": code}
    return ExitRecord(**(values | fields))


def accept(*grants, session="s1", hw=0, held=(), boot_now=100.0, words=()):
    work = Work(session="s1", grants=list(grants), words=list(words))
    return decide.accept(
        work, session=session, hw=hw, held=set(held), instance="i1", boot_now=boot_now
    )


# ---- an answer


def test_it_journals_and_starts_what_was_granted():
    accepted = accept(make_grant(1))

    (entry,) = accepted.entries
    assert (entry.run, entry.grant, entry.start_by, entry.void) == ("r1", 1, 160.0, False)
    assert accepted.hw == 1
    assert accepted.start == (entry,) and accepted.void == ()


def test_it_takes_grants_in_the_order_of_their_numbers():
    accepted = accept(make_grant(9, "r9"), make_grant(7, "r7"), make_void(8, "r8"))

    assert [entry.grant for entry in accepted.entries] == [7, 8, 9]
    assert accepted.hw == 9
    assert [entry.run for entry in accepted.start] == ["r7", "r9"]
    assert [(entry.run, entry.cause) for entry in accepted.void] == [("r8", Cause.CANCEL)]


def test_it_journals_the_item_of_a_queue():
    accepted = accept(make_grant(1, item="a"), make_grant(2, "r2", item="b\nc", batch=True))

    assert [(entry.item, entry.batch) for entry in accepted.entries] == [
        ("a", False),
        ("b\nc", True),
    ]


def test_it_leaves_to_the_next_answer_what_the_journal_cannot_take_at_once():
    item = "x" * (decide.ACCEPT_CHARS // 2)
    grants = [make_grant(number, f"r{number}", item=item) for number in range(1, 4)]

    first = accept(*grants)
    assert ([entry.run for entry in first.entries], first.hw) == (["r1", "r2"], 2)
    assert [entry.run for entry in accept(*grants, hw=2).entries] == ["r3"]


def test_it_takes_one_however_large_it_is():
    script = "x" * (decide.ACCEPT_CHARS + 1)
    grants = [make_grant(n, f"r{n}", task=TaskSpec(id="t", script=script)) for n in (1, 2)]

    assert accept(*grants).hw == 1


def test_it_drops_an_answer_to_another_session():
    go = Word(kind=WordKind.GO, run="r1", attempt=1)

    assert accept(make_grant(1), session="s2", words=[go]) == decide.Accepted()
    assert accept(make_grant(1), session=None) == decide.Accepted()


def test_it_drops_numbers_that_it_has_accepted():
    accepted = accept(make_grant(3, "r3"), make_grant(4, "r4"), hw=3)

    assert [entry.run for entry in accepted.entries] == ["r4"]


def test_it_journals_nothing_for_an_answer_without_news():
    stop = Word(kind=WordKind.STOP, run="r1", attempt=1, cause=Cause.CANCEL)

    accepted = accept(make_grant(3), hw=3, words=[stop])

    assert accepted.hw is None and accepted.entries == ()
    assert accepted.words == (stop,)


def test_it_only_takes_the_number_of_a_run_that_it_holds():
    accepted = accept(make_grant(5), held=[("r1", 1)])

    assert accepted.entries == () and accepted.start == ()
    assert accepted.hw == 5


@pytest.mark.parametrize("grant", [make_grant(instance="i0"), make_grant(start_in=0.0)])
def test_it_makes_void_what_it_may_not_start(grant):
    accepted = accept(grant)

    assert accepted.start == ()
    assert accepted.void == accepted.entries


# ---- leave to start


@pytest.mark.parametrize("leave", [Leave.ACCEPTED, Leave.GO])
def test_it_may_start_what_it_accepted_or_was_told_to(leave):
    assert decide.may_start(make_entry(), "i1", 100.0, leave)


@pytest.mark.parametrize("leave", Leave)
@pytest.mark.parametrize(
    ("fields", "boot_now"),
    [({"instance": "i0"}, 100.0), ({"void": True}, 100.0), ({}, 160.0)],
)
def test_it_may_not_start_what_is_void_late_or_of_another_boot(leave, fields, boot_now):
    assert not decide.may_start(make_entry(**fields), "i1", boot_now, leave)


def test_it_may_not_start_what_it_only_found():
    assert not decide.may_start(make_entry(), "i1", 100.0, Leave.FOUND)


# ---- a stop


@pytest.mark.parametrize("cause", [Cause.CANCEL, Cause.LIMIT, Cause.SKIP])
def test_it_says_never_started_when_it_made_the_mark(cause):
    assert decide.on_stop(cause, made_void=True, mark=None) is Stopping.NEVER_STARTED
    assert decide.on_stop(cause, made_void=False, mark=Mark.VOID) is Stopping.NEVER_STARTED


@pytest.mark.parametrize("cause", [Cause.CANCEL, Cause.LIMIT])
def test_it_kills_what_had_started(cause):
    assert decide.on_stop(cause, made_void=False, mark=Mark.STARTED) is Stopping.KILL


def test_it_leaves_alone_what_had_started_in_time():
    assert decide.on_stop(Cause.SKIP, made_void=False, mark=Mark.STARTED) is Stopping.LEAVE


def test_it_never_says_never_started_without_a_mark():
    assert decide.on_stop(Cause.CANCEL, made_void=False, mark=None) is Stopping.KILL


# ---- what is found


@pytest.mark.parametrize(
    ("directory", "finding"),
    [
        (make_directory(), Finding.READY),
        (make_directory(locked=True), Finding.LIVE),  # its supervisor is about to make the mark
        (make_directory(Mark.STARTED, locked=True, alive=True), Finding.LIVE),
        (make_directory(Mark.STARTED, alive=True), Finding.ORPHANED),
        (make_directory(Mark.STARTED), Finding.UNKNOWN),
        (make_directory(Mark.STARTED, exited=True), Finding.ENDED),
        (make_directory(Mark.STARTED, locked=True, exited=True), Finding.ENDED),  # still draining
        (make_directory(exited=True), Finding.ENDED),  # the mark was lost with the power
        (make_directory(Mark.VOID), Finding.NEVER_STARTED),
    ],
)
def test_it_finds_out_where_a_run_stands(directory, finding):
    assert decide.recover(make_entry(), directory, "i1") is finding


@pytest.mark.parametrize(
    ("directory", "finding"),
    [
        (make_directory(), Finding.UNKNOWN),
        (make_directory(Mark.VOID), Finding.NEVER_STARTED),
        (make_directory(Mark.STARTED), Finding.UNKNOWN),
        (make_directory(exited=True), Finding.ENDED),
    ],
)
def test_it_trusts_no_missing_mark_of_another_boot(directory, finding):
    assert decide.recover(make_entry(instance="i0"), directory, "i1") is finding


@pytest.mark.parametrize("instance", ["i0", "i1"])
def test_it_still_has_to_void_a_void_entry_without_a_mark(instance):
    entry = make_entry(void=True, instance=instance)

    assert decide.recover(entry, make_directory(), "i1") is Finding.TO_VOID


@pytest.mark.parametrize(
    ("finding", "cause", "stage"),
    [
        (Finding.READY, None, Stage.READY),
        (Finding.TO_VOID, Cause.CANCEL, Stage.READY),
        (Finding.LIVE, None, Stage.LIVE),
        (Finding.LIVE, Cause.CANCEL, Stage.STOPPING),
        (Finding.ORPHANED, None, Stage.LIVE),
        (Finding.ORPHANED, Cause.LIMIT, Stage.STOPPING),
        (Finding.NEVER_STARTED, Cause.CANCEL, Stage.ENDED),
        (Finding.ENDED, None, Stage.ENDED),
        (Finding.UNKNOWN, None, Stage.ENDED),
    ],
)
def test_it_tells_the_stage_of_a_run(finding, cause, stage):
    assert decide.stage_of(make_entry(cause=cause), finding) is stage


def test_it_lists_all_that_it_holds():
    entries = {("r1", 1): make_entry(), ("r2", 1): make_entry(run="r2")}
    findings = {("r1", 1): Finding.LIVE, ("r2", 1): Finding.ENDED}

    held = decide.held(entries, findings)

    assert held == [Held("r1", 1, Stage.LIVE), Held("r2", 1, Stage.ENDED)]
    assert decide.free_slots(4, held, has_room=True) == 3
    assert decide.free_slots(1, held, has_room=True) == 0
    assert decide.free_slots(4, held, has_room=False) == 0


# ---- verdicts


@pytest.mark.parametrize(
    ("cause", "state", "said"),
    [
        (Cause.CANCEL, RunState.CANCELLED, Cause.CANCEL),
        (Cause.LIMIT, RunState.SKIPPED, Cause.LIMIT),
        (Cause.SKIP, RunState.SKIPPED, Cause.SKIP),
        (None, RunState.SKIPPED, Cause.SKIP),
    ],
)
def test_it_says_why_a_run_never_started(cause, state, said):
    verdict = decide.never_started(cause)

    assert (verdict.state, verdict.cause, verdict.exit) == (state, said, None)
    assert verdict.reason


@pytest.mark.parametrize(
    ("code", "state"), [(0, RunState.SUCCEED), (3, RunState.FAILED), (137, RunState.FAILED)]
)
def test_it_takes_the_code_of_a_script_that_ended_by_itself(code, state):
    verdict = decide.result_of(make_entry(), make_exit(code))

    assert (verdict.state, verdict.cause) == (state, Cause.EXIT)
    assert verdict.exit is not None and verdict.exit.code == code


@pytest.mark.parametrize("code", [0, 1, 143])
@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (Cause.TIMEOUT, RunState.TIMEOUT),
        (Cause.CANCEL, RunState.CANCELLED),
        (Cause.LIMIT, RunState.CANCELLED),
    ],
)
def test_it_lets_the_cause_of_a_kill_decide_whatever_the_code(cause, state, code):
    verdict = decide.result_of(make_entry(), make_exit(code, cause=cause, killed=True))

    assert (verdict.state, verdict.cause) == (state, cause)


def test_it_lets_the_journalled_cause_decide_when_the_supervisor_knows_none():
    verdict = decide.result_of(make_entry(cause=Cause.CANCEL), make_exit(143, killed=True))

    assert verdict.state is RunState.CANCELLED


def test_it_calls_a_timeout_what_timed_out_before_it_was_cancelled():
    exit = make_exit(143, cause=Cause.TIMEOUT, killed=True)

    assert decide.result_of(make_entry(cause=Cause.CANCEL), exit).state is RunState.TIMEOUT


@pytest.mark.parametrize(("code", "state"), [(0, RunState.SUCCEED), (2, RunState.FAILED)])
def test_it_keeps_the_result_of_a_script_that_ended_before_the_signal(code, state):
    entry = make_entry(cause=Cause.CANCEL)

    assert decide.result_of(entry, make_exit(code, killed=False)).state is state


def test_it_claims_no_death_that_is_not_proven():
    exit = make_exit(137, cause=Cause.TIMEOUT, killed=True, survivors=[4711, 4712])

    verdict = decide.result_of(make_entry(), exit)

    assert verdict.state is RunState.FAILED
    assert verdict.reason == (
        "ran into its timeout and was killed, but these processes could not be killed: 4711, 4712"
    )


def test_it_fails_what_could_not_be_started():
    exit = make_exit(None, cause=Cause.BROKEN, reason="user: there is no user 'bob' on this host")

    verdict = decide.result_of(make_entry(), exit)

    assert (verdict.state, verdict.cause) == (RunState.FAILED, Cause.BROKEN)
    assert "no user 'bob'" in verdict.reason


def test_it_guesses_no_verdict_without_a_code():
    verdict = decide.result_of(make_entry(), make_exit(None))

    assert (verdict.state, verdict.cause) == (RunState.UNKNOWN, Cause.LOST)


@pytest.mark.parametrize(
    ("mark", "words"), [(None, "whether the script had started"), (Mark.STARTED, "how it ended")]
)
def test_it_says_what_cannot_be_known(mark, words):
    verdict = decide.unknown(make_directory(mark))

    assert (verdict.state, verdict.cause) == (RunState.UNKNOWN, Cause.LOST)
    assert words in verdict.reason


# ---- letting go


def test_it_lets_go_only_of_what_is_acknowledged_complete_and_dead():
    done = {"acknowledged": True, "output_done": True, "locked": False, "swept": True}

    assert decide.may_prune(**done)
    for missing, value in {
        "acknowledged": False,
        "output_done": False,
        "locked": True,
        "swept": False,
    }.items():
        assert not decide.may_prune(**(done | {missing: value}))
