"""What people see and do, over a real store and the memory of a master."""

import hashlib

import msgspec
import pytest

from master.board import Board
from master.desk import Desk
from master.dispatch import Dispatcher
from master.events import Ring
from master.live import Live
from master.rights import Person
from master.roster import Roster
from master.secrets import Vault
from master.waiters import Waiters
from tests.storage.cast import by
from wire.errors import Conflict, InvalidValue, NotFound
from wire.requests import (
    AddTask,
    Auth,
    ById,
    Changes,
    GetGrid,
    GetGroups,
    GetOutput,
    GetTaskTargets,
    JustAuth,
    ListAgents,
    ListRunsOfAgent,
    ListTasks,
    RetryTask,
    Submission,
)
from wire.states import RunState, Standing

AUTH = Auth()
ALICE = Person("alice", "operator")


class Office:
    """The rooms of a master that people speak to."""

    def __init__(self, house):
        self.house = house
        self.roster = Roster(5.0)
        self.live = Live(self.roster, house.clock)
        self.ring = Ring(self.live.event)
        waiters = Waiters()
        dispatcher = Dispatcher(house.store, self.roster, self.ring, waiters, self.live)
        self.desk = Desk(
            house.store, self.roster, dispatcher, self.ring, waiters, self.live, Vault(bytes(32))
        )
        self.board = Board(house.store, self.roster, self.ring, self.live, dispatcher.queues)

    def enrol(self, *names):
        ids = self.house.enrol(*names)
        for record in self.house.store.all_agents().wait():
            self.roster.registered(record, self.house.clock.now)
        return ids

    def silence(self, id):
        presence = self.roster.get(id)
        assert presence is not None
        presence.heard_at -= 3600.0

    def changes(self, since):
        return self.desk.changes(ALICE, Changes(AUTH, since, wait=0.0))


@pytest.fixture
def office(house):
    return Office(house)


def test_it_tells_how_the_master_is(house, office):
    web01, web02 = office.enrol("web01", "web02")
    office.silence(web02)
    house.submit([web01])
    status = office.board.get_status(ALICE, JustAuth(AUTH))
    assert (status.online, status.stale, status.offline) == (1, 0, 1)
    assert (status.tasks_active, status.held, status.held_since) == (1, None, None)
    office.live.held = house.store.hold("an older store was restored").wait()
    status = office.board.get_status(ALICE, JustAuth(AUTH))
    assert status.held == "an older store was restored"
    assert status.held_since == "2027-01-15T08:00:00.000Z"


def test_it_lists_hosts_and_shows_one_with_all_that_is_known(office):
    web10, web9 = office.enrol("web10", "web9")
    page = office.board.get_agents(ALICE, ListAgents(AUTH, sort="-hostname"))
    assert [view.id for view in page.items] == [web10, web9]
    view = office.board.get_agent(ALICE, ById(AUTH, web9))
    assert (view.hostname, view.state, view.instance) == ("web9", "online", "instance-one")
    assert view.registered_at == "2027-01-15T08:00:00.000Z"
    with pytest.raises(NotFound):
        office.board.get_agent(ALICE, ById(AUTH, "nobody"))


def test_it_refuses_a_page_that_is_too_large_or_none(office):
    for limit in (0, -1, 10_001):
        with pytest.raises(InvalidValue) as refused:
            office.board.get_agents(ALICE, ListAgents(AUTH, limit))
        assert refused.value.field == "limit"


def test_it_shows_the_history_of_a_host(house, office):
    (web01,) = office.enrol("web01")
    house.submit([web01], name="first")
    house.submit([web01], name="second")
    page = office.board.get_runs_of_agent(ALICE, ListRunsOfAgent(AUTH, web01))
    assert [run.task_name for run in page.items] == ["second", "first"]
    with pytest.raises(NotFound):
        office.board.get_runs_of_agent(ALICE, ListRunsOfAgent(AUTH, "nobody"))


def test_it_finds_tasks_of_a_host_by_its_name(house, office):
    web01, twin, _ = office.enrol("web01", "twin", "other")
    task = house.submit([web01])
    house.submit([twin])
    page = office.board.get_tasks(ALICE, ListTasks(AUTH, agent="web01"))
    assert [view.id for view in page.items] == [task.id]
    with pytest.raises(InvalidValue, match="there is no host 'web1'"):
        office.board.get_tasks(ALICE, ListTasks(AUTH, agent="web1"))
    office.roster.get(web01).hostname = "twin"
    with pytest.raises(InvalidValue, match="borne by 2"):
        office.board.get_tasks(ALICE, ListTasks(AUTH, agent="twin"))


def test_it_takes_empty_filters_for_none(house, office):
    (web01,) = office.enrol("web01")
    house.submit([web01])
    asked = ListTasks(AUTH, state="", text=" ", created_by="", agent="")
    assert len(office.board.get_tasks(ALICE, asked).items) == 1
    with pytest.raises(InvalidValue):
        office.board.get_tasks(ALICE, ListTasks(AUTH, state="nonsense"))


def test_a_page_that_follows_from_its_grid_on_misses_nothing(house, office):
    (web01,) = office.enrol("web01")
    task = house.submit([web01])
    grid = office.board.get_grid(ALICE, GetGrid(AUTH, task.id))
    assert grid.states == "W"
    office.desk.cancel_task(ALICE, ById(AUTH, task.id), by())
    (event,) = office.changes(grid.since).events
    assert (event.kind, event.task, event.moved) == ("task", task.id, True)
    assert event.data["counts"]["CANCELLED"] == 1
    assert office.board.get_grid(ALICE, GetGrid(AUTH, task.id)).states == "C"
    with pytest.raises(InvalidValue):
        office.board.get_grid(ALICE, GetGrid(AUTH, task.id, offset=-1))


def test_it_groups_results(house, office):
    (web01,) = office.enrol("web01")
    task = house.submit([web01])
    (group,) = office.board.get_groups(ALICE, GetGroups(AUTH, task.id)).groups
    assert (group.state, group.count) == ("WAITING", 1)


def test_it_runs_a_task_again_and_tells_the_pages(house, office):
    web01, web02 = office.enrol("web01", "web02")
    task = house.submit([web01, web02], fail_count=-1)
    for agent, state in ((web01, RunState.SUCCEED), (web02, RunState.FAILED)):
        house.finish(house.run_one(agent), state=state)
    since = office.changes(None).next
    asked = RetryTask(AUTH, task.id, ["FAILED"], key="once")
    added = office.desk.retry_task(ALICE, asked, by())
    assert (added.created, added.left_out) == (True, [])
    (event,) = office.changes(since).events
    assert (event.task, event.data["retry_of"]) == (added.id, task.id)
    assert office.desk.retry_task(ALICE, asked, by()).created is False
    assert office.desk.retry_task(ALICE, asked, by()).id == added.id
    assert house.task(added.id).total == 1


def test_it_skips_what_is_offline_when_a_task_that_does_so_runs_again(house, office):
    web01, web02 = office.enrol("web01", "web02")
    task = house.submit([web01, web02], offline="skip", skip=frozenset([web01, web02]))
    office.silence(web02)
    added = office.desk.retry_task(ALICE, RetryTask(AUTH, task.id, ["SKIPPED"]), by())
    assert house.states(added.id) == ["WAITING", "SKIPPED"]


def test_it_gives_a_form_the_hosts_of_a_task_with_their_digest(house, office):
    web01, web02, web03 = office.enrol("web01", "web02", "web03")
    task = house.submit([web01, web02, web03])
    house.store.bury_agent(web03, Standing.REVOKED, "sold", by()).wait()
    office.silence(web02)
    view = office.desk.get_task_targets(ALICE, GetTaskTargets(AUTH, task.id))
    assert (view.nodeset, view.count, view.offline) == ("web[01-02]", 2, 1)
    assert (view.ids, view.left_out) == ([web01, web02], ["web03"])
    none = office.desk.get_task_targets(ALICE, GetTaskTargets(AUTH, task.id, ["FAILED"]))
    assert (none.count, none.ids) == (0, [])
    with pytest.raises(InvalidValue):
        office.desk.get_task_targets(ALICE, GetTaskTargets(AUTH, task.id, ["WAITING"]))


def test_output_that_is_not_all_here_ends_when_its_host_is_away(house, office):
    (web01,) = office.enrol("web01")
    house.submit([web01])
    run = house.run_one(web01)
    house.output(run, 0, b"hello ")
    house.finish(run, output_bytes=11)
    asked = GetOutput(AUTH, run.id)
    view = office.board.get_output(ALICE, asked)
    assert (view.data, view.ended, view.complete, view.state) == (
        b"hello ",
        False,
        False,
        "SUCCEED",
    )
    office.silence(web01)
    view = office.board.get_output(ALICE, asked)
    assert (view.ended, view.complete) == (True, False)
    house.output(run, 6, b"world")
    view = office.board.get_output(ALICE, asked)
    assert (view.size, view.ended, view.complete) == (11, True, True)


def test_every_answer_can_be_sent(house, office):
    (web01,) = office.enrol("web01")
    task = house.submit([web01])
    for answer in (
        office.board.get_status(ALICE, JustAuth(AUTH)),
        office.board.get_agents(ALICE, ListAgents(AUTH)),
        office.board.get_groups(ALICE, GetGroups(AUTH, task.id)),
        office.board.get_grid(ALICE, GetGrid(AUTH, task.id)),
        office.board.get_runs_of_agent(ALICE, ListRunsOfAgent(AUTH, web01)),
    ):
        packed = msgspec.msgpack.encode(answer)
        assert msgspec.msgpack.decode(packed, type=type(answer)) is not None


# ---- secrets


def submit(office, key=None, **fields):
    submission = Submission(script="echo hello\n", targets="@*", **fields)
    return office.desk.add_task(ALICE, AddTask(AUTH, submission, key), by())


def test_it_shows_the_names_of_secrets_alone(office):
    office.enrol("web01")
    added = submit(office, secrets={"TOKEN": "correct-horse"}, secret_files={"KEY": "battery"})
    view = office.desk.get_task(ALICE, ById(AUTH, added.id))
    assert view.settings["secrets"] == ["TOKEN"]
    assert view.settings["secret_files"] == ["KEY"]
    assert b"correct-horse" not in msgspec.json.encode(view)


def test_it_knows_a_repeat_by_its_secrets_without_a_hash_that_can_be_guessed(office):
    office.enrol("web01")
    first = submit(office, key="k", secrets={"TOKEN": "correct-horse"})
    assert submit(office, key="k", secrets={"TOKEN": "correct-horse"}).id == first.id
    with pytest.raises(Conflict):
        submit(office, key="k", secrets={"TOKEN": "another-horse"})
    body = Submission(script="echo hello\n", targets="@*", secrets={"TOKEN": "correct-horse"})
    plain = hashlib.sha256(msgspec.msgpack.encode(body)).hexdigest()
    assert (plain,) not in office.house.sql("SELECT body_hash FROM idempotency_keys")
