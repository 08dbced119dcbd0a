"""The results of a task, grouped, and its grid."""

import pytest

from master import groups
from tests.storage.queues import enrol, submit
from wire.errors import InvalidValue, NotFound
from wire.states import RunState
from wire.views import LETTERS

HELLO, BYE = "a" * 64, "b" * 64


@pytest.fixture
def five(house):
    """web1 and web2 say hello, web3 says bye, web4 fails with hello, web5 still waits."""
    agents = house.enrol(*(f"web{number}" for number in range(1, 6)))
    task = house.submit(
        agents,
        targets=[(agent, f"web{number}") for number, agent in enumerate(agents, start=1)],
        fail_count=-1,
    )
    for agent, sha256, state, code in zip(
        agents, (HELLO, HELLO, BYE, HELLO), ["SUCCEED"] * 3 + ["FAILED"], (0, 0, 0, 3), strict=False
    ):
        run = house.run_one(agent)
        house.output(run, 0, b"hello\n")
        house.finish(
            run,
            state=RunState(state),
            code=code,
            output_bytes=6,
            output_sha256=sha256,
            reason="exit code 3" if code else "",
        )
    return task


def test_it_groups_runs_of_one_result_and_folds_their_hosts(house, five):
    answer = house.store.groups(five.id, 100).wait()
    assert [(group.state, group.code, group.count, group.nodeset) for group in answer.groups] == [
        ("SUCCEED", 0, 2, "web[1-2]"),
        ("SUCCEED", 0, 1, "web3"),
        ("FAILED", 3, 1, "web4"),
        ("WAITING", None, 1, "web5"),
    ]
    first, _, failed, waiting = answer.groups
    assert (first.output_sha256, first.output_bytes, first.hosts) == (HELLO, 6, ["web1", "web2"])
    assert house.run(first.runs[1]).hostname == "web2"
    assert failed.reason == "exit code 3"
    assert (waiting.output_sha256, waiting.output_bytes, waiting.reason) == (None, None, "")


def test_it_gives_the_largest_groups_and_says_how_many_there_are(house, five):
    answer = house.store.groups(five.id, 1).wait()
    assert [group.count for group in answer.groups] == [2]
    assert answer.total == 4


def test_it_gives_a_reason_only_where_all_runs_of_the_group_have_it(house):
    agents = house.enrol("web1", "web2")
    task = house.submit(agents, fail_count=-1)
    for agent, reason in zip(agents, ("no such user", "no such shell"), strict=True):
        house.finish(house.run_one(agent), state=RunState.FAILED, code=None, reason=reason)
    (group,) = house.store.groups(task.id, 100).wait().groups
    assert (group.count, group.reason) == (2, "")


def test_it_groups_only_the_runs_in_the_states_that_are_asked_for(house, five):
    answer = house.store.groups(five.id, 100, ["FAILED", "WAITING", "TIMEOUT"]).wait()
    assert [(group.state, group.nodeset) for group in answer.groups] == [
        ("FAILED", "web4"),
        ("WAITING", "web5"),
    ]
    with pytest.raises(InvalidValue, match="DONE"):
        house.store.groups(five.id, 100, ["FAILED", "DONE"]).wait()


def test_of_some_states_it_looks_at_no_more_than_a_few_thousand_runs(house, five, monkeypatch):
    monkeypatch.setattr(groups, "MOST_RUNS", 1)
    (group,) = house.store.groups(five.id, 100, ["SUCCEED"]).wait().groups
    assert group.nodeset == "web1"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"FAILED": 9_000, "TIMEOUT": 0, "UNKNOWN": 5}, {"FAILED": 9_000, "UNKNOWN": 5}),
        ({"FAILED": 20_000, "TIMEOUT": 4_000}, {"FAILED": 6_000, "TIMEOUT": 4_000}),
        ({"FAILED": 20_000, "TIMEOUT": 30_000}, {"FAILED": 5_000, "TIMEOUT": 5_000}),
        ({"FAILED": 20_000}, {"FAILED": 10_000}),
        ({}, {}),
    ],
)
def test_states_share_what_is_looked_at(wanted, found):
    shares = dict(groups.shares(wanted, 10_000))
    assert {state: share for state, share in shares.items() if share} == found


def test_of_a_queue_it_groups_what_was_given_up(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b", "c", max_attempts=1)
    web.finish(web.take(task))
    for _ in range(2):
        web.fail(web.take(task))
    (group,) = house.store.groups(task.id, 100).wait().groups
    assert (group.state, group.code, group.count) == ("FAILED", 1, 2)
    (done,) = house.store.groups(task.id, 100, ["SUCCEED"]).wait().groups
    assert done.count == 1


def test_it_draws_the_grid_in_the_order_of_the_targets(house, five):
    grid = house.store.grid(five.id, 0, 100).wait()
    assert grid.hosts == [f"web{number}" for number in range(1, 6)]
    assert grid.states == "SSSFW"
    runs = house.store.runs(five.id, 100).wait().items
    assert [grid.prefix + rest for rest in grid.runs] == [run.id for run in runs]
    assert (grid.offset, grid.total) == (0, 5)


def test_it_draws_a_part_of_the_grid(house, five):
    grid = house.store.grid(five.id, 2, 2).wait()
    assert (grid.hosts, grid.states) == (["web3", "web4"], "SF")
    beyond = house.store.grid(five.id, 5, 2).wait()
    assert (beyond.hosts, beyond.runs, beyond.states, beyond.total) == ([], [], "", 5)


def test_it_has_a_letter_of_its_own_for_every_state():
    assert set(LETTERS) == set(RunState)
    assert len(set(LETTERS.values())) == len(RunState)


def test_it_knows_no_results_of_a_task_that_is_not_there(house):
    for verb in (house.store.groups("x", 1), house.store.grid("x", 0, 1)):
        with pytest.raises(NotFound):
            verb.wait()
