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


# ---- what a view says beforehand


BOB = Person("bob", "viewer")
EVERY = ["FAILED", "TIMEOUT", "SKIPPED", "UNKNOWN", "CANCELLED"]


def told(office, person, task):
    may = office.desk.get_task(person, ById(AUTH, task)).may
    return may.steer, may.retry


def is_refused(act):
    try:
        act()
    except Forbidden:
        return True
    return False


@pytest.mark.parametrize("targets", ["web01", "web*", "web01,db1", "db1"])
def test_a_task_says_just_what_is_not_refused(office, targets):
    task = submit(office, ALICE, targets)
    within = "db1" not in targets
    assert told(office, BOB, task) == (False, [])
    assert told(office, ALICE, task) == (True, EVERY)
    assert told(office, OTTO, task)[0] is within
    for act in (
        lambda: office.desk.pause_task(OTTO, ById(AUTH, task), by()),
        lambda: office.desk.resume_task(OTTO, ById(AUTH, task), by()),
        lambda: office.desk.cancel_task(OTTO, ById(AUTH, task), by()),
    ):
        assert is_refused(act) is not within
    office.desk.cancel_task(ALICE, ById(AUTH, task), by())
    again = RetryTask(AUTH, task, ["CANCELLED"])
    assert ("CANCELLED" in told(office, OTTO, task)[1]) is within
    assert is_refused(lambda: office.desk.retry_task(OTTO, again, by())) is not within


def test_a_task_says_for_each_state_whether_it_may_be_retried(office):
    task = submit(office, ALICE, "web01,db1")
    runs = {run.hostname: run.id for run in office.house.store.runs(task, 10).wait().items}
    office.desk.cancel_run(ALICE, ById(AUTH, runs["web01"]), by())
    assert told(office, OTTO, task) == (False, EVERY)
    office.desk.cancel_run(ALICE, ById(AUTH, runs["db1"]), by())
    assert told(office, OTTO, task) == (False, EVERY[:-1])


def test_a_run_says_whether_it_may_be_cancelled(office):
    task = submit(office, ALICE, "web01,db1")
    for run in office.house.store.runs(task, 10).wait().items:
        may = [
            office.desk.get_run(person, ById(AUTH, run.id)).may_cancel
            for person in (ALICE, OTTO, BOB)
        ]
        assert may == [True, run.hostname == "web01", False]


def test_a_host_says_whether_scripts_may_be_run_there(office):
    for id, otto in ((office.web01, True), (office.db1, False)):
        may = [
            office.board.get_agent(person, ById(AUTH, id)).may_run for person in (ALICE, OTTO, BOB)
        ]
        assert may == [True, otto, False]


def test_a_limit_that_cannot_be_resolved_lets_nothing_be_done(office):
    task = submit(office, ALICE, "web01")
    lost = Person("otto", "operator", "gone01")
    assert told(office, lost, task) == (False, [])
    assert office.board.get_agent(lost, ById(AUTH, office.web01)).may_run is False


def test_lists_and_changes_do_not_say_what_may_be_done(office):
    task = submit(office, ALICE, "web01")
    (listed,) = office.board.get_tasks(OTTO, ListTasks(AUTH)).items
    assert listed.may is None
    assert office.desk.pause_task(OTTO, ById(AUTH, task), by()).may is None
