"""Are never more runs alive than `parallel` says, and does a task stop when too much fails?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet
from tests.support import until
from tests.witness import Witness

HOSTS = 10


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    names = [f"web{number:02}" for number in range(1, HOSTS + 1)]
    with Fleet(tmp_path_factory.mktemp("limits"), names) as started:
        yield started


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def reasons(api: Api, task: str, state: str) -> set[str]:
    return {run["reason"] for run in api.runs(task, state=state)}


# ---- parallel


@pytest.mark.parametrize(
    ("parallel", "most"),
    [(None, 1), (1, 1), (3, 3), (HOSTS, HOSTS), (50, HOSTS), (0, HOSTS)]
    + [("1%", 1), ("25%", 3), ("30%", 3), ("31%", 4), ("100%", HOSTS)],
)
def test_it_reaches_parallel_and_never_exceeds_it(
    api: Api, witness: Witness, parallel: int | str | None, most: int
):
    fields = {} if parallel is None else {"parallel": parallel}
    task = api.submit(witness.play(), "@*", **fields)

    # With every place that is given back, the next run starts; there are as many as allowed.
    for ended in range(HOSTS):
        expected = min(HOSTS, ended + most)
        witness.wait_for("start", expected)
        assert witness.count() == expected
        assert api.task(task)["counts"]["RUNNING"] <= most
        witness.open(min(witness.present()))
        witness.wait_for("end", ended + 1)

    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.most_at_once() == most
    assert sorted(line.run for line in witness.lines("start")) == sorted(
        run["id"] for run in api.runs(task)
    )


def test_it_keeps_parallel_for_each_of_several_tasks(api: Api, tmp_path: Path):
    witnesses = [Witness(tmp_path / f"w{number}") for number in range(3)]
    tasks = [
        api.submit(witness.play(), "@*", parallel=number + 1)
        for number, witness in enumerate(witnesses)
    ]
    for number, witness in enumerate(witnesses):
        witness.wait_for("start", number + 1)
    for witness in witnesses:
        witness.open()

    assert {api.finished(task)["state"] for task in tasks} == {"SUCCEED"}
    for number, witness in enumerate(witnesses):
        assert witness.most_at_once() <= number + 1
        assert witness.count() == HOSTS


def test_a_run_that_fails_gives_its_place_back(api: Api, witness: Witness):
    task = api.submit(witness.play("exit 1"), "@*", parallel=2)
    witness.open()

    assert api.finished(task)["counts"]["FAILED"] == HOSTS
    assert witness.most_at_once() <= 2


# ---- how much failure is too much

NOT_EXCEEDED = [
    # settings, failures
    ({"fail_count": 0}, 0),
    ({"fail_count": 1}, 1),
    ({"fail_count": 2}, 2),
    ({"fail_count": HOSTS}, HOSTS),
    ({"fail_rate": 0}, 0),
    ({"fail_rate": 0.1}, 1),
    ({"fail_rate": 0.19}, 1),
    ({"fail_rate": 0.5}, 5),
    ({"fail_rate": 1}, HOSTS),
    ({"fail_count": 1, "fail_rate": 0.5}, 1),
    ({"fail_count": 5, "fail_rate": 0.1}, 1),
    ({}, 0),
    ({"fail_count": -1}, 0),
]

EXCEEDED = [
    ({"fail_count": 0}, 1),
    ({"fail_count": 1}, 2),
    ({"fail_count": 2}, 3),
    ({"fail_rate": 0}, 1),
    ({"fail_rate": 0.1}, 2),
    ({"fail_rate": 0.19}, 2),
    ({"fail_rate": 0.5}, 6),
    ({"fail_count": 1, "fail_rate": 0.5}, 2),
    ({"fail_count": 5, "fail_rate": 0.1}, 2),
    ({"fail_count": 0, "fail_rate": 1}, 1),
]

NO_LIMIT: list[dict[str, Any]] = [{}, {"fail_count": -1}, {"fail_count": -1, "fail_rate": 0}]


@pytest.mark.parametrize(("settings", "failures"), NOT_EXCEEDED)
def test_it_succeeds_when_no_more_fails_than_is_tolerated(
    api: Api, witness: Witness, settings: dict[str, Any], failures: int
):
    task = api.submit(witness.first_fail(failures), "@*", parallel=1, **settings)

    found = api.finished(task)
    assert found["state"] == "SUCCEED"
    assert (found["counts"]["FAILED"], found["counts"]["SKIPPED"]) == (failures, 0)
    assert found["counts"]["SUCCEED"] == HOSTS - failures
    if failures:
        assert f"{failures} of {HOSTS} runs did not succeed" in found["reason"]


@pytest.mark.parametrize(("settings", "failures"), EXCEEDED)
def test_it_stops_when_more_fails_than_is_tolerated(
    api: Api, witness: Witness, settings: dict[str, Any], failures: int
):
    task = api.submit(witness.first_fail(HOSTS), "@*", parallel=1, **settings)

    found = api.finished(task)
    assert found["state"] == "FAILED"
    assert (found["counts"]["FAILED"], found["counts"]["SUCCEED"]) == (failures, 0)
    assert found["counts"]["SKIPPED"] == HOSTS - failures
    assert found["reason"].startswith(f"{failures} of {HOSTS} runs failed, more than fail_")
    for name, value in settings.items():
        assert f"{name} {float(value) if name == 'fail_rate' else value}" in found["reason"]
    assert reasons(api, task, "SKIPPED") == {found["reason"]}
    assert {run["code"] for run in api.runs(task, state="SKIPPED")} == {None}


@pytest.mark.parametrize("settings", NO_LIMIT)
@pytest.mark.parametrize("failures", [1, HOSTS])
def test_failures_never_stop_a_task_without_a_limit(
    api: Api, witness: Witness, settings: dict[str, Any], failures: int
):
    task = api.submit(witness.first_fail(failures), "@*", parallel=1, **settings)

    found = api.finished(task)
    assert (found["state"], found["counts"]["FAILED"]) == ("FAILED", failures)
    assert found["counts"]["SKIPPED"] == 0
    assert found["reason"] == f"{failures} of {HOSTS} runs did not succeed"


def test_a_limit_that_contradicts_itself_is_refused_in_a_sentence(api: Api):
    answer = api.call(
        "POST",
        "/api/v1/tasks",
        {"script": "true", "targets": "@*", "fail_count": -1, "fail_rate": 0.5},
    )
    assert answer.status == 422
    assert answer.json["error"]["field"] == "fail_count"
    assert "contradicts fail_rate 0.5" in answer.json["error"]["message"]


def test_a_timeout_counts_as_a_failure(api: Api, witness: Witness):
    task = api.submit(witness.play(), "@*", timeout=0.2, grace=0, fail_count=1)

    found = api.finished(task)
    assert found["state"] == "FAILED"
    assert (found["counts"]["TIMEOUT"], found["counts"]["SKIPPED"]) == (2, HOSTS - 2)
    assert found["reason"].startswith(f"2 of {HOSTS} runs failed, more than fail_count 1")


def test_a_run_that_cannot_start_counts_as_a_failure(api: Api):
    task = api.submit("#!/no/such/interpreter\n", "@*", fail_count=0)

    found = api.finished(task)
    assert (found["state"], found["counts"]["FAILED"]) == ("FAILED", 1)
    assert reasons(api, task, "FAILED") != {""}
    assert {run["code"] for run in api.runs(task)} == {None}


def test_the_rate_is_of_the_targets_at_submission_not_of_those_that_have_ended(
    api: Api, witness: Witness
):
    # All that have ended have failed, and still it goes on: 3 of 10 are tolerated.
    task = api.submit(witness.first_fail(3), "@*", parallel=1, fail_rate=0.3)

    assert api.finished(task)["counts"]["SUCCEED"] == HOSTS - 3


# ---- what becomes of runs that are alive when a limit is exceeded


def one_fails_while_two_run(api: Api, witness: Witness, **settings: Any) -> str:
    """Three at once; the first is let go and fails."""
    script = witness.play(witness.first_fail(1))
    task = api.submit(script, "@*", parallel=3, fail_count=0, **settings)
    (first, *_) = witness.wait_for("start", 3)
    witness.open(first.run)
    until(lambda: api.task(task)["counts"]["FAILED"] == 1, what="the failure")
    return task


@pytest.mark.parametrize("settings", [{}, {"on_limit": "finish"}])
def test_runs_finish_when_a_limit_is_exceeded(api: Api, witness: Witness, settings: dict[str, Any]):
    task = one_fails_while_two_run(api, witness, **settings)

    # Nothing more is handed out, and the task has not ended before its last run.
    found = api.task(task)
    assert found["state"] == "RUNNING"
    assert found["counts"]["SKIPPED"] == HOSTS - 3
    witness.open()
    found = api.finished(task)
    assert found["state"] == "FAILED"
    assert (found["counts"]["SUCCEED"], found["counts"]["FAILED"]) == (2, 1)
    assert found["reason"].startswith(f"1 of {HOSTS} runs failed, more than fail_count 0")
    assert (witness.count("start"), witness.count("end")) == (3, 3)


def test_runs_are_killed_when_a_limit_is_exceeded_and_that_was_asked_for(
    api: Api, witness: Witness
):
    task = one_fails_while_two_run(api, witness, on_limit="kill")

    found = api.finished(task)
    assert found["state"] == "FAILED"
    assert found["counts"] | {"CANCELLED": 2, "FAILED": 1, "SKIPPED": HOSTS - 3} == found["counts"]
    # What was killed for the limit counts as no failure.
    assert found["reason"].startswith(f"1 of {HOSTS} runs failed, more than fail_count 0")
    for run in api.runs(task, state="CANCELLED"):
        assert run["killed"]
        assert run["survivors"] == []
        assert "limit" in run["reason"]
    assert witness.count("end") == 1
    assert witness.survivors() == []
