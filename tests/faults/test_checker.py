"""Does the checker find every kind of lie, and nothing wrong with the truth?"""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.faults.checker import RULES, check
from tests.faults.history import (
    Birth,
    Harm,
    History,
    Order,
    Play,
    Presence,
    RunSeen,
    Said,
    Straggler,
    TaskSeen,
    pieces_of,
)

HOSTS = ["web01", "web02", "db1"]


def make_history(play: Play | None = None, **order: Any) -> History:
    """A task on three hosts, one after the other, of which everything is true."""
    play = play or Play()
    asked = Order(task="task", play=play, agents=HOSTS, sent_at=9, accepted_at=10, **order)
    said, runs = [], []
    for number, agent in enumerate(HOSTS):
        run, at = f"run{number}", 11.0 + number
        code = play.exit_code(run)
        output = play.output(run)
        said += [
            Said(agent, "start", "task", run, 1, 100 + number, at, 0),
            Said(agent, "end", "task", run, 1, 100 + number, at + 0.9, code),
        ]
        runs.append(
            RunSeen(
                id=run,
                agent=agent,
                attempt=1,
                state="FAILED" if code else "SUCCEED",
                code=code,
                survivors=[],
                output_bytes=len(output),
                output_sha256=hashlib.sha256(output).hexdigest(),
                output_gap=None,
                pieces=pieces_of(output, len(output), None),
            )
        )
    return History(
        orders=[asked],
        said=said,
        tasks=[retold(TaskSeen(id="task", state="SUCCEED", counts={}, runs=runs), asked)],
    )


def retold(task: TaskSeen, order: Order) -> TaskSeen:
    """The task with counts and state that fit its runs."""
    counts: dict[str, int] = {}
    for run in task.runs:
        counts[run.state] = counts.get(run.state, 0) + 1
    missed = len(task.runs) - counts.get("SUCCEED", 0)
    within = missed <= (order.tolerated or 0)
    return replace(task, counts=counts, state="SUCCEED" if within else "FAILED")


def change_run(history: History, number: int, **changes: Any) -> None:
    """Tell something else of one run, and let the task's counts follow."""
    task = history.tasks[0]
    runs = list(task.runs)
    runs[number] = replace(runs[number], **changes)
    history.tasks = [retold(replace(task, runs=runs), history.orders[0])]


def change_order(history: History, **changes: Any) -> None:
    history.orders = [replace(history.orders[0], **changes)]


def unsay(history: History, run: str, what: str) -> None:
    history.said = [s for s in history.said if (s.run, s.what) != (run, what)]


def broken(history: History) -> set[str]:
    return {violation.rule for violation in check(history)}


@pytest.mark.parametrize("play", [Play(), Play(failing=16), Play(lines=0), Play(lines=5000)])
def test_it_finds_nothing_wrong_with_the_truth(play: Play):
    assert check(make_history(play)) == []


def test_it_finds_nothing_wrong_with_no_history_at_all():
    assert check(History()) == []


# ---- lies, one of each kind


def lose_the_task(history: History) -> None:
    history.tasks = []


def lose_a_run(history: History) -> None:
    history.tasks = [replace(history.tasks[0], runs=history.tasks[0].runs[:2])]


def start_what_nobody_submitted(history: History) -> None:
    history.said.append(Said("db1", "start", "other", "run9", 1, 9, 20, 0))


def start_on_another_host(history: History) -> None:
    history.said[0] = Said("db1", "start", "task", "run0", 1, 100, 11, 0)


def start_twice(history: History) -> None:
    history.said.append(Said("web01", "start", "task", "run0", 1, 555, 20, 0))


def start_a_second_attempt(history: History) -> None:
    history.said[0] = Said("web01", "start", "task", "run0", 2, 100, 11, 0)


def end_twice(history: History) -> None:
    history.said.append(Said("web01", "end", "task", "run0", 1, 100, 20, 0))


def end_without_a_start(history: History) -> None:
    unsay(history, "run0", "start")


def run_too_many_at_once(history: History) -> None:
    history.said[2] = Said("web02", "start", "task", "run1", 1, 101, 11.5, 0)


def live_on_beside_the_next(history: History) -> None:
    history.presences = [Presence("run0", 100, 12.4, 12.6)]


def leave_a_run_waiting(history: History) -> None:
    unsay(history, "run2", "start")
    unsay(history, "run2", "end")
    change_run(history, 2, state="WAITING", code=None, pieces=[], output_bytes=0)


def leave_the_task_running(history: History) -> None:
    history.tasks = [replace(history.tasks[0], state="RUNNING")]


def change_a_verdict(history: History) -> None:
    change_run(history, 0, replaced=["FAILED"])


def settle_twice(history: History) -> None:
    change_run(history, 0, replaced=["UNKNOWN", "UNKNOWN"])


def tell_another_code(history: History) -> None:
    change_run(history, 0, state="FAILED", code=3)


def tell_a_success_of_what_never_ran(history: History) -> None:
    unsay(history, "run0", "start")
    unsay(history, "run0", "end")
    change_run(history, 0, pieces=[], output_bytes=0, output_sha256=None)


def tell_a_success_of_what_did_not_end(history: History) -> None:
    unsay(history, "run0", "end")


def tell_a_death_that_nobody_brought_about(history: History) -> None:
    unsay(history, "run0", "end")
    change_run(history, 0, state="FAILED", code=137)


def tell_that_it_could_not_start(history: History) -> None:
    unsay(history, "run0", "start")
    unsay(history, "run0", "end")
    change_run(history, 0, state="FAILED", code=None, pieces=[], output_sha256=None)


def give_up_without_a_reason(history: History) -> None:
    change_run(history, 0, state="UNKNOWN", code=None)


def cancel_what_nobody_cancelled(history: History) -> None:
    change_run(history, 0, state="CANCELLED")


def skip_what_has_run(history: History) -> None:
    change_order(history, tolerated=3)
    change_run(history, 0, state="SKIPPED", code=None)


def time_out_too_early(history: History) -> None:
    change_order(history, timeout_s=30, play=Play(hangs=True))
    unsay(history, "run0", "end")
    change_run(history, 0, state="TIMEOUT", code=137)
    history.presences = [Presence("run0", 100, 11.5, 11.6)]


def time_out_what_was_quick(history: History) -> None:
    unsay(history, "run0", "end")
    change_run(history, 0, state="TIMEOUT", code=137)


def count_wrongly(history: History) -> None:
    history.tasks = [replace(history.tasks[0], counts={"SUCCEED": 2, "FAILED": 1})]


def judge_the_task_wrongly(history: History) -> None:
    history.tasks = [replace(history.tasks[0], state="FAILED")]


def go_on_past_the_limit(history: History) -> None:
    change_order(history, tolerated=0, play=Play(failing=16))
    for said in list(history.said):
        unsay(history, said.run, "end")
    history.said += [
        Said(a, "end", "task", f"run{n}", 1, 100 + n, 11.9 + n, 5) for n, a in enumerate(HOSTS)
    ]
    for number in range(3):
        change_run(history, number, state="FAILED", code=5)


def start_after_a_cancel(history: History) -> None:
    change_order(history, cancel_sent_at=10.1, cancelled_at=10.2)
    history.births = [Birth("web01", 5), Birth("db1", 10.5)]


def leave_a_process_alive(history: History) -> None:
    history.stragglers = [Straggler("run0", 100, "CANCELLED")]


def repeat_a_chunk(history: History) -> None:
    output = Play().output("run0")
    change_run(history, 0, pieces=pieces_of(output[:7] + output, 0, None))


def mix_output_of_two_runs(history: History) -> None:
    change_run(history, 0, pieces=history.tasks[0].runs[1].pieces)


def lose_the_end_of_the_output(history: History) -> None:
    output = Play().output("run0")
    change_run(history, 0, pieces=pieces_of(output[:-1], 0, None))


def tell_less_output(history: History) -> None:
    output = Play().output("run0")[:-1]
    told = hashlib.sha256(output).hexdigest()
    pieces = pieces_of(output, len(output), None)
    change_run(history, 0, pieces=pieces, output_bytes=len(output), output_sha256=told)


def leave_a_gap_for_nothing(history: History) -> None:
    output = Play().output("run0")
    stored = output[:5] + b"(a gap)" + output[9:]
    change_run(history, 0, output_gap=(5, 9), pieces=pieces_of(stored, len(output), (5, 9)))


def tell_another_digest(history: History) -> None:
    change_run(history, 0, output_sha256="0" * 64)


LIES: list[tuple[Callable[[History], None], str]] = [
    (lose_the_task, "accepted_means_present"),
    (lose_a_run, "accepted_means_present"),
    (start_what_nobody_submitted, "only_what_was_accepted_starts"),
    (start_on_another_host, "only_what_was_accepted_starts"),
    (start_twice, "started_at_most_once"),
    (start_a_second_attempt, "started_at_most_once"),
    (end_twice, "started_at_most_once"),
    (end_without_a_start, "started_at_most_once"),
    (run_too_many_at_once, "parallel_is_kept"),
    (live_on_beside_the_next, "parallel_is_kept"),
    (leave_a_run_waiting, "nothing_waits_for_ever"),
    (leave_the_task_running, "nothing_waits_for_ever"),
    (change_a_verdict, "one_verdict"),
    (settle_twice, "one_verdict"),
    (tell_another_code, "verdicts_are_true"),
    (tell_a_success_of_what_never_ran, "verdicts_are_true"),
    (tell_a_success_of_what_did_not_end, "verdicts_are_true"),
    (tell_a_death_that_nobody_brought_about, "verdicts_are_true"),
    (tell_that_it_could_not_start, "verdicts_are_true"),
    (give_up_without_a_reason, "verdicts_are_true"),
    (cancel_what_nobody_cancelled, "verdicts_are_true"),
    (skip_what_has_run, "verdicts_are_true"),
    (time_out_too_early, "timeouts_are_not_early"),
    (time_out_what_was_quick, "verdicts_are_true"),
    (count_wrongly, "tasks_add_up"),
    (judge_the_task_wrongly, "tasks_add_up"),
    (go_on_past_the_limit, "limits_are_kept"),
    (start_after_a_cancel, "cancel_wins"),
    (leave_a_process_alive, "stopped_trees_are_dead"),
    (repeat_a_chunk, "output_is_exact"),
    (mix_output_of_two_runs, "output_is_exact"),
    (lose_the_end_of_the_output, "output_is_exact"),
    (tell_less_output, "output_is_exact"),
    (leave_a_gap_for_nothing, "output_is_exact"),
    (tell_another_digest, "output_is_exact"),
]


@pytest.mark.parametrize(("lie", "rule"), LIES, ids=[lie.__name__ for lie, _ in LIES])
def test_it_complains_of_a_lie(lie: Callable[[History], None], rule: str):
    history = make_history()
    lie(history)

    assert rule in broken(history), check(history)


def test_there_is_a_lie_for_every_rule():
    assert {rule for _, rule in LIES} == {rule.__name__ for rule in RULES}


# ---- what a fault explains


@pytest.mark.parametrize("kind", ["supervisor", "reboot"])
def test_it_takes_unknown_of_a_host_that_was_harmed(kind: str):
    history = make_history()
    give_up_without_a_reason(history)
    history.harms = [Harm(kind=kind, agent="web01", since=11, until=12)]

    assert check(history) == []


@pytest.mark.parametrize(
    "harm",
    [
        Harm(kind="reboot", agent="web02", since=11, until=12),
        Harm(kind="reboot", agent="web01", since=2, until=3),
        Harm(kind="reboot", agent="web01", since=20, until=21),
        Harm(kind="script", agent="web01", since=11, until=12),
        Harm(kind="supervisor", agent="web01", run="run7", since=11, until=12),
    ],
    ids=["another host", "before", "after", "a lesser fault", "another run"],
)
def test_a_fault_that_has_nothing_to_do_with_it_explains_nothing(harm: Harm):
    history = make_history()
    give_up_without_a_reason(history)
    history.harms = [harm]

    assert broken(history) == {"verdicts_are_true"}


def test_it_takes_the_death_of_a_script_that_was_killed():
    history = make_history()
    tell_a_death_that_nobody_brought_about(history)
    history.harms = [Harm(kind="script", agent="web01", run="run0", since=11.5, until=11.5)]

    assert check(history) == []


def test_a_run_that_was_unknown_is_left_out_of_those_at_once():
    history = make_history()
    run_too_many_at_once(history)
    change_run(history, 0, replaced=["UNKNOWN"])

    assert check(history) == []


def test_an_older_store_explains_a_task_that_is_gone_and_no_second_start():
    history = make_history()
    lose_the_task(history)
    history.harms = [Harm(kind="restore", since=9.5, until=20)]
    assert check(history) == []

    start_twice(history)
    assert broken(history) == {"started_at_most_once"}


def test_an_older_store_explains_a_task_of_which_nobody_was_told_and_none_before_its_time():
    history = make_history()
    start_what_nobody_submitted(history)
    history.harms = [Harm(kind="restore", since=19, until=21)]
    assert check(history) == []

    history.harms = [Harm(kind="restore", since=21, until=22)]
    assert broken(history) == {"only_what_was_accepted_starts"}


def test_an_older_store_explains_that_a_tree_lived_on_for_a_while_and_not_for_ever():
    history = make_history()
    leave_a_process_alive(history)
    history.harms = [Harm(kind="restore", since=9.5, until=20)]
    assert check(history) == []

    history.stragglers = [Straggler("run0", 100, "CANCELLED", at_rest=True)]
    assert broken(history) == {"stopped_trees_are_dead"}


def test_a_full_disk_explains_a_gap_and_no_wrong_bytes():
    history = make_history()
    leave_a_gap_for_nothing(history)
    history.harms = [Harm(kind="disk", agent="web01", since=11, until=12)]
    assert check(history) == []

    mix_output_of_two_runs(history)
    assert broken(history) == {"output_is_exact"}
