"""A limited operator acts on their hosts and on no others, whatever they name them by."""

import pytest

from master.rights import Person
from tests.storage.cast import by
from tests.storage.test_board import Office
from wire.errors import Forbidden, NotFound
from wire.requests import (
    AddTask,
    Auth,
    ById,
    ChangeTask,
    JustAuth,
    ListTasks,
    RetryTask,
    Submission,
    TaskChanges,
)
from wire.states import Standing

AUTH = Auth()
ALICE = Person("alice", "operator")
OTTO = Person("otto", "operator", "@env:staging")


class Site(Office):
    """Two hosts of staging and one of production."""

    def __init__(self, house):
        super().__init__(house)
        self.web01, self.web02, self.db1 = self.enrol("web01", "web02", "db1")
        label(self, self.web01, "staging")
        label(self, self.web02, "staging")
        label(self, self.db1, "prod")


@pytest.fixture
def office(house):
    return Site(house)


def label(office, id, env):
    office.house.store.set_labels({id: {"env": env}}, by()).wait()
    office.roster.set_labels({id: {"env": env}})


def submit(office, person, targets, key=None):
    asked = AddTask(AUTH, Submission(script="true", targets=targets), key)
    return office.desk.add_task(person, asked, by()).id


def counts(office, task):
    return office.desk.get_task(OTTO, ById(AUTH, task)).counts


def test_it_submits_to_hosts_within_the_limit(office):
    for targets in ("@env:staging", "web[01-02]", "web01", [office.web02], "@*!db1"):
        submit(office, OTTO, targets)


@pytest.mark.parametrize("by", ["db1", "@*", "@env:prod", "web01,db1", "id", "*"])
def test_it_refuses_hosts_outside_and_names_them(office, by):
    targets = [office.web01, office.db1] if by == "id" else by
    with pytest.raises(Forbidden, match="other hosts than db1") as refused:
        submit(office, OTTO, targets)
    assert refused.value.details == {"hosts": ["db1"], "count": 1}
    assert office.board.get_tasks(OTTO, ListTasks(AUTH)).items == []


def test_it_names_twenty_of_many(office):
    for number in range(30):
        office.enrol(f"other{number:02}")
    with pytest.raises(Forbidden, match="and 11 more") as refused:
        submit(office, OTTO, "@*")
    assert refused.value.details is not None
    assert (len(refused.value.details["hosts"]), refused.value.details["count"]) == (20, 31)


def test_it_resolves_the_limit_anew_at_each_act(office):
    submit(office, OTTO, "web02")
    label(office, office.web02, "prod")
    with pytest.raises(Forbidden):
        submit(office, OTTO, "web02")
    label(office, office.db1, "staging")
    submit(office, OTTO, "db1")


def test_it_lets_nobody_through_by_a_limit_that_cannot_be_resolved(office):
    for limit in ("gone01", "web[", "@env:none"):
        with pytest.raises(Forbidden):
            submit(office, Person("otto", "operator", limit), "web01")


def test_it_cancels_tasks_that_are_wholly_within(office):
    inside, across = submit(office, ALICE, "web*"), submit(office, ALICE, "web01,db1")
    assert office.desk.cancel_task(OTTO, ById(AUTH, inside), by()).state == "CANCELLED"
    with pytest.raises(Forbidden, match="db1"):
        office.desk.cancel_task(OTTO, ById(AUTH, across), by())
    assert counts(office, across)["WAITING"] == 2
    with pytest.raises(NotFound):
        office.desk.cancel_task(OTTO, ById(AUTH, "no-task"), by())


def test_it_cancels_runs_that_are_within(office):
    task = submit(office, ALICE, "web01,db1")
    runs = {run.hostname: run.id for run in office.house.store.runs(task, 10).wait().items}
    with pytest.raises(Forbidden, match="db1"):
        office.desk.cancel_run(OTTO, ById(AUTH, runs["db1"]), by())
    assert office.desk.cancel_run(OTTO, ById(AUTH, runs["web01"]), by()).state == "CANCELLED"
    assert counts(office, task)["WAITING"] == 1
    with pytest.raises(NotFound):
        office.desk.cancel_run(OTTO, ById(AUTH, "no-run"), by())


def test_it_retries_what_is_within_even_where_the_task_was_not(office):
    task = submit(office, ALICE, "web01,db1")
    runs = {run.hostname: run.id for run in office.house.store.runs(task, 10).wait().items}
    office.desk.cancel_run(ALICE, ById(AUTH, runs["web01"]), by())
    again = office.desk.retry_task(OTTO, RetryTask(AUTH, task, ["CANCELLED"]), by())
    assert [run.hostname for run in office.house.store.runs(again.id, 10).wait().items] == ["web01"]

    office.desk.cancel_run(ALICE, ById(AUTH, runs["db1"]), by())
    with pytest.raises(Forbidden, match="db1"):
        office.desk.retry_task(OTTO, RetryTask(AUTH, task, ["CANCELLED"], key="once"), by())
    # The refused one has left nothing: its key is free.
    assert office.desk.retry_task(
        ALICE, RetryTask(AUTH, task, ["CANCELLED"], key="once"), by()
    ).created


def test_it_is_not_held_up_by_hosts_that_are_no_longer_enrolled(office):
    task = submit(office, ALICE, "web01,db1")
    office.house.store.bury_agent(office.db1, Standing.REVOKED, "stolen", by()).wait()
    assert office.desk.cancel_task(OTTO, ById(AUTH, task), by()).counts["CANCELLED"] == 1


def test_it_shows_everything_to_a_limited_operator(office):
    task = submit(office, ALICE, "db1")
    assert office.desk.get_task(OTTO, ById(AUTH, task)).id == task
    assert office.board.get_agent(OTTO, ById(AUTH, office.db1)).hostname == "db1"
    assert office.board.get_status(OTTO, JustAuth(AUTH)).tasks_active == 1


@pytest.mark.parametrize("word", ["pause_task", "resume_task", "change_task"])
def test_it_steers_tasks_that_are_wholly_within(office, word):
    inside, across = submit(office, OTTO, "web01,web02"), submit(office, ALICE, "web01,db1")

    def steer(task):
        change = ChangeTask(AUTH, task, TaskChanges(priority=7))
        asked = change if word == "change_task" else ById(AUTH, task)
        return getattr(office.desk, word)(OTTO, asked, by())

    before = office.desk.get_task(OTTO, ById(AUTH, across))
    assert steer(inside).id == inside
    with pytest.raises(Forbidden, match="other hosts than db1"):
        steer(across)
    assert office.desk.get_task(OTTO, ById(AUTH, across)) == before
