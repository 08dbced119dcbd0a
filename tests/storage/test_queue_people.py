"""What people do with queues, and what agents that poll get of it, over a real store."""

import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult
from msgspec.structs import replace

from master import queue_again, queue_hub
from master.board import Board
from master.composer import sound
from master.desk import Desk
from master.dispatch import Dispatcher
from master.events import Ring
from master.live import Live
from master.queue_desk import QueueDesk
from master.reader import Reader
from master.records import Task
from master.rights import Person
from master.roster import Roster
from master.secrets import Vault
from master.waiters import Waiters
from tests.storage.cast import House, by, make_poll, make_result
from wire.errors import Busy, Conflict, Forbidden, InvalidValue
from wire.messages import Grant, Work
from wire.queues import AddItems, GetResults, PutBack
from wire.requests import (
    AddTask,
    Auth,
    ById,
    ChangeTask,
    ItemsFrom,
    ListTasks,
    RetryTask,
    Submission,
    TaskChanges,
)
from wire.states import RunState

AUTH = Auth()
ALICE = Person("alice", "operator")
OTTO = Person("otto", "operator", "@env:staging")


class Answer:
    """Where the answer to a poll arrives."""

    def __init__(self) -> None:
        self.work: AsyncResult[Work] = AsyncResult()

    def ok(self, work: Work) -> None:
        self.work.set(work)

    def fail(self, error: BaseException) -> None:
        self.work.set_exception(error)


class Site:
    """web01 and web02 of staging, db1 of production; their agents serve all queues."""

    def __init__(self, house: House):
        self.house = house
        self.roster = Roster(5.0)
        self.live = Live(self.roster, house.clock)
        ring, waiters = Ring(self.live.event), Waiters()
        self.dispatcher = Dispatcher(house.store, self.roster, ring, waiters, self.live)
        self.desk = Desk(
            house.store, self.roster, self.dispatcher, ring, waiters, self.live, Vault(bytes(32))
        )
        self.queues = QueueDesk(
            house.store, self.dispatcher, self.desk.check_reach_of_task, self.desk.show
        )
        self.board = Board(house.store, self.roster, ring, self.live, self.dispatcher.queues)
        self.hw: dict[str, int] = {}
        self.web01, self.web02, self.db1 = house.enrol("web01", "web02", "db1")
        for record in house.store.all_agents().wait():
            self.roster.registered(record, house.clock.now, queues=[])
            self.dispatcher.queues.came(record.id)
        for id, env in ((self.web01, "staging"), (self.web02, "staging"), (self.db1, "prod")):
            self.label(id, env)

    def label(self, id: str, env: str) -> None:
        self.house.store.set_labels({id: {"env": env}}, by()).wait()
        self.roster.set_labels({id: {"env": env}})

    def submit(self, person: Person = ALICE, key: str | None = None, **fields: Any) -> str:
        given = {"script": "true", "mode": "queue", "targets": "@*", **fields}
        return self.desk.add_task(person, AddTask(AUTH, Submission(**given), key), by()).id

    def poll(self, agent: str, free: int = 1) -> Answer:
        answer = Answer()
        poll = make_poll(hw=self.hw.get(agent, 0), free=free)
        self.dispatcher.park(agent, answer, poll)  # type: ignore[arg-type]
        return answer

    def granted(self, answer: Answer, agent: str) -> list[Grant]:
        """What the poll was answered with, now or soon."""
        grants = answer.work.get(timeout=60).grants
        self.hw[agent] = max((grant.grant for grant in grants), default=self.hw.get(agent, 0))
        return list(grants)

    def finish(self, grant: Grant, agent: str, state: RunState = RunState.SUCCEED) -> None:
        run = self.house.run(grant.run)
        result = make_result(run, state=state, code=int(state is not RunState.SUCCEED))
        self.dispatcher.apply(self.house.store.finish(agent, result).wait().changed)

    def settle(self) -> None:
        """Whatever was looked for has been answered: a chore comes behind all claims."""
        for _ in range(3):
            self.house.store.note().wait()


@pytest.fixture
def site(house: House) -> Iterator[Site]:
    site = Site(house)
    loop = gevent.spawn(site.dispatcher.queues.run)
    yield site
    loop.kill()


def test_an_agent_that_polls_is_given_an_item(site):
    task = site.submit(items=["10.0.0.1", {"port": 80}])
    first = site.granted(site.poll(site.web01), site.web01)
    second = site.granted(site.poll(site.db1), site.db1)
    assert [one.item for one in (*first, *second)] == ["10.0.0.1", '{"port":80}']
    for grant, agent in ((first[0], site.web01), (second[0], site.db1)):
        site.finish(grant, agent)
    view = site.desk.show(task)
    assert (view.state, view.mode, view.counts["SUCCEED"]) == ("SUCCEED", "queue", 2)


def test_what_was_promised_while_the_store_took_no_more_is_given_to_the_next(site, monkeypatch):
    site.submit(items=["a"])
    with monkeypatch.context() as patched, pytest.raises(Busy):
        patched.setattr("master.database.MAX_QUEUED", 0)
        site.poll(site.web01)
    (grant,) = site.granted(site.poll(site.web02), site.web02)
    assert grant.item == "a"


def test_what_was_promised_is_free_again_when_what_follows_a_look_failed(site):
    def fail(task: Task) -> None:
        raise ZeroDivisionError

    task = site.submit(items=["a"], open=True)
    site.dispatcher.listeners.append(fail)
    site.granted(site.poll(site.web01), site.web01)
    site.dispatcher.listeners.remove(fail)
    site.queues.add_items(ALICE, AddItems(AUTH, task, "u", 0, ["b"]), by())
    (grant,) = site.granted(site.poll(site.web02), site.web02)
    assert grant.item == "b"


def test_who_submits_is_answered_though_what_follows_the_commit_failed(site):
    def fail(task: Task) -> None:
        raise ZeroDivisionError

    site.dispatcher.listeners.append(fail)
    assert gevent.spawn(site.submit, items=["a"]).get(timeout=60)


def test_items_that_come_later_wake_who_waits(site):
    task = site.submit(open=True)
    answers = {agent: site.poll(agent) for agent in (site.web01, site.web02)}
    site.settle()
    added = site.queues.add_items(ALICE, AddItems(AUTH, task, "u", 0, ["a", "b"]), by())
    assert (added.accepted, added.items) == (2, 2)
    taken = [site.granted(answer, agent)[0].item for agent, answer in answers.items()]
    assert sorted(taken) == ["a", "b"]


def test_it_says_what_a_queue_waits_for(site):
    task = site.submit(open=True)
    assert "more items" in site.desk.show(task).queue.waits_for
    site.queues.add_items(ALICE, AddItems(AUTH, task, "u", 0, ["a"]), by())
    assert site.desk.show(task).queue.waits_for == ""
    site.desk.pause_task(ALICE, ById(AUTH, task), by())
    assert site.desk.show(task).queue.waits_for == "paused"
    site.desk.resume_task(ALICE, ById(AUTH, task), by())
    other = site.submit(targets="@env:nowhere", items=["a"])
    assert "none is meant" in site.desk.show(other).queue.waits_for
    named = site.submit(targets="web01", items=["a"])
    site.roster.get(site.web01).heard_at -= 3600.0
    assert "online" in site.desk.show(named).queue.waits_for


def test_it_says_who_may_take(site):
    task = site.submit(targets="@env:staging", items=["a"])
    assert site.desk.show(task).queue.agents == 2


def test_a_pause_holds_items_back_and_resuming_wakes(site):
    task = site.submit(items=["a"])
    site.desk.pause_task(ALICE, ById(AUTH, task), by())
    answer = site.poll(site.web01)
    site.settle()
    assert not answer.work.ready()
    site.desk.resume_task(ALICE, ById(AUTH, task), by())
    assert [one.item for one in site.granted(answer, site.web01)] == ["a"]


def test_a_rate_that_is_lifted_wakes_who_waits(site):
    task = site.submit(items=["a", "b"], rate=0.001)
    site.granted(site.poll(site.web01), site.web01)
    answer = site.poll(site.web02)
    site.settle()
    assert not answer.work.ready()
    assert "its rate" in site.desk.show(task).queue.waits_for
    changed = site.desk.change_task(ALICE, ChangeTask(AUTH, task, TaskChanges(rate=None)), by())
    assert changed.queue is not None
    assert changed.queue.rate is None
    assert [one.item for one in site.granted(answer, site.web02)] == ["b"]


def test_a_new_rate_begins_with_what_the_bucket_holds(site):
    task = site.submit(items=["a"] * 100, rate=0.001)
    view = site.desk.change_task(
        ALICE,
        ChangeTask(AUTH, task, TaskChanges(rate=50.0, per_agent=2, agents_max=3, max_attempts=7)),
        by(),
    )
    queue = view.queue
    assert queue is not None
    assert (queue.rate, queue.burst, queue.per_agent) == (50.0, 13, 2)
    assert (queue.agents_max, queue.max_attempts) == (3, 7)
    assert (view.settings["rate"], view.settings["per_agent"]) == (50.0, 2)
    grants = site.granted(site.poll(site.web01, free=50), site.web01)
    assert len(grants) == 1  # one token was there; a new one comes in 20 ms of the clock


def test_a_list_of_tasks_says_how_queues_stand_by_one_more_query(site, monkeypatch):
    queues = [site.submit(items=["a", "b"], rate=50.0, open=True) for _ in range(3)]
    alone = site.desk.add_task(
        ALICE, AddTask(AUTH, Submission(script="true", targets="web01")), by()
    ).id
    queries = []
    asked = Reader.row

    def counted(reader, name, **values):
        queries.append(name)
        return asked(reader, name, **values)

    monkeypatch.setattr(Reader, "row", counted)
    page = site.board.get_tasks(ALICE, ListTasks(AUTH))
    assert [view.id for view in page.items] == [alone, *reversed(queues)]
    assert page.items[0].queue is None
    for view in page.items[1:]:
        one = site.desk.show(view.id).queue
        assert view.queue == replace(one, agents=None, waits_for="", slowest=[])
        assert (view.queue.items, view.queue.rate, view.queue.open) == (2, 50.0, True)
    assert queries[:3] == ["scan_tasks", "tasks_by_seq", "queues_by_id"]
    assert queries.count("scan_tasks") == 1


def test_a_list_says_how_long_a_queue_will_take(site):
    task = site.submit(items=["a", "b", "c"])
    for _ in range(2):
        (grant,) = site.granted(site.poll(site.web01), site.web01)
        site.house.clock.now += 1.0
        site.finish(grant, site.web01)
    (view,) = site.board.get_tasks(ALICE, ListTasks(AUTH)).items
    assert view.id == task
    assert (view.queue.per_second, view.queue.left_s) == (1.0, 1.0)


def test_dead_items_are_put_back_and_given_out_again(site):
    task = site.submit(items=["a", "b"], max_attempts=1, open=True)
    for agent in (site.web01, site.web02):
        (grant,) = site.granted(site.poll(agent), agent)
        site.finish(grant, agent, RunState.FAILED)
    assert site.desk.show(task).queue.dead == 2
    answer = site.poll(site.db1)
    done = site.queues.put_back(ALICE, PutBack(AUTH, task), by())
    assert (done.count, done.left) == (2, False)
    (grant,) = site.granted(answer, site.db1)
    assert grant.attempt == 2
    attempts = site.queues.get_attempts(ALICE, ById(AUTH, grant.run)).items
    assert [one.state for one in attempts] == ["FAILED"]


def test_closing_ends_it_with_its_last_item(site):
    task = site.submit(items=["a"], open=True)
    (grant,) = site.granted(site.poll(site.web01), site.web01)
    site.finish(grant, site.web01)
    assert site.desk.show(task).state == "RUNNING"
    assert site.queues.close_queue(ALICE, ById(AUTH, task), by()).state == "SUCCEED"
    with pytest.raises(Conflict):
        site.queues.add_items(ALICE, AddItems(AUTH, task, "u", 0, ["b"]), by())


def test_runs_are_shown_with_the_beginnings_of_their_items(site):
    task = site.submit(items=["x" * 1000])
    (grant,) = site.granted(site.poll(site.web01), site.web01)
    assert site.desk.get_run(ALICE, ById(AUTH, grant.run)).item == "x" * 200
    (result,) = site.queues.get_results(ALICE, GetResults(AUTH, task)).items
    assert (result.items, result.run) == (["x" * 1000], grant.run)


# ---- who may


def test_hosts_that_come_to_be_meant_take_from_then_on(site):
    site.submit(targets="@env:lab", items=["a"])
    answer = site.poll(site.web01)
    site.settle()
    assert not answer.work.ready()
    site.label(site.web01, "lab")
    assert [one.item for one in site.granted(answer, site.web01)] == ["a"]


def test_hosts_by_their_ids_are_those_and_no_others(site):
    site.submit(targets=[site.db1], items=["a"])
    other = site.poll(site.web01)
    assert [one.item for one in site.granted(site.poll(site.db1), site.db1)] == ["a"]
    assert not other.work.ready()


def test_a_limited_operator_submits_to_hosts_within_the_limit_alone(site):
    with pytest.raises(Forbidden, match="db1"):
        site.submit(OTTO, items=["a"])
    task = site.submit(OTTO, targets="@env:staging", items=["a"])
    assert site.desk.show(task).settings["within"] == "@env:staging"


def test_items_of_a_limited_operator_never_go_beyond_the_limit(site):
    site.submit(OTTO, targets="web01,web02", items=["a", "b"])
    site.label(site.web01, "prod")
    outside = site.poll(site.web01)
    assert [one.item for one in site.granted(site.poll(site.web02), site.web02)] == ["a"]
    site.settle()
    assert not outside.work.ready()


def test_a_change_while_expressions_are_looked_up_is_no_way_beyond_the_limit(site, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    look_up = queue_hub.all_named

    def slow(fleet, settings):
        found = look_up(fleet, settings)
        began.set()
        assert go_on.wait(60)
        return found

    site.submit(OTTO, targets="web01,web02", items=["a", "b"])
    monkeypatch.setattr(queue_hub, "all_named", slow)
    site.label(site.db1, "other")
    assert gevent.get_hub().threadpool.apply(began.wait, (20,))
    site.label(site.web01, "prod")
    outside, within = site.poll(site.web01), site.poll(site.web02, free=2)
    go_on.set()
    assert [one.item for one in site.granted(within, site.web02)] == ["a", "b"]
    assert not outside.work.ready()


def test_a_limited_operator_steers_queues_of_hosts_within_the_limit_alone(site):
    across = site.submit(targets="@*", items=["a"], open=True)
    inside = site.submit(targets="@env:staging", items=["a"], open=True)
    more = AddItems(AUTH, across, "u", 0, ["b"])
    for act in (
        lambda: site.queues.add_items(OTTO, more, by()),
        lambda: site.queues.close_queue(OTTO, ById(AUTH, across), by()),
        lambda: site.queues.put_back(OTTO, PutBack(AUTH, across), by()),
        lambda: site.desk.pause_task(OTTO, ById(AUTH, across), by()),
        lambda: site.desk.cancel_task(OTTO, ById(AUTH, across), by()),
    ):
        with pytest.raises(Forbidden, match="db1"):
            act()
    assert site.queues.close_queue(OTTO, ById(AUTH, inside), by()).mode == "queue"
    assert site.desk.cancel_task(OTTO, ById(AUTH, inside), by()).state == "CANCELLED"


def retry(site: Site, person: Person, task: str, key: str | None = None) -> str:
    return site.desk.retry_task(person, RetryTask(AUTH, task, ["FAILED"], key), by()).id


def failed(site: Site, **fields: Any) -> str:
    """A queue that web01 has failed."""
    task = site.submit(items=["a"], max_attempts=1, **fields)
    (grant,) = site.granted(site.poll(site.web01), site.web01)
    site.finish(grant, site.web01, RunState.FAILED)
    return task


def test_a_limited_operator_retries_queues_that_mean_hosts_within_the_limit_now(site):
    across, inside = failed(site), failed(site, targets="@env:staging")
    with pytest.raises(Forbidden, match="other hosts than db1"):
        retry(site, OTTO, across)
    again = retry(site, OTTO, inside)
    assert site.desk.show(again).settings["within"] == "@env:staging"
    site.label(site.db1, "staging")
    assert retry(site, OTTO, across)


def test_a_queue_says_just_what_is_not_refused(site):
    across, inside = site.submit(items=["a"]), site.submit(targets="@env:staging", items=["a"])

    def told(task):
        may = site.desk.get_task(OTTO, ById(AUTH, task)).may
        return may.steer, "FAILED" in may.retry

    assert (told(across), told(inside)) == ((False, False), (True, True))
    site.label(site.db1, "staging")
    assert told(across) == (True, True)
    site.label(site.web01, "prod")
    assert (told(across), told(inside)) == ((False, False), (True, True))


def test_what_a_limited_operator_retries_stays_within_the_limit(site):
    again = retry(site, OTTO, failed(site, targets="web01,web02"))
    site.label(site.web01, "prod")
    outside = site.poll(site.web01)
    (grant,) = site.granted(site.poll(site.web02), site.web02)
    assert site.house.run(grant.run).task == again
    site.settle()
    assert not outside.work.ready()


def test_a_retry_says_that_it_is_not_full_and_wakes_who_waits_once_it_is(site, monkeypatch):
    monkeypatch.setattr(queue_again, "FIRST_RUNS", 1)
    task = site.submit(items=["a", "b", "c"])
    site.desk.cancel_task(ALICE, ById(AUTH, task), by())
    again = site.desk.retry_task(ALICE, RetryTask(AUTH, task, ["CANCELLED"], None), by()).id
    answer = site.poll(site.web01, free=3)
    site.settle()
    assert not answer.work.ready()
    assert "items that it repeats" in site.desk.show(again).queue.waits_for
    site.dispatcher.filler.round()
    assert [one.item for one in site.granted(answer, site.web01)] == ["a", "b", "c"]


def test_a_retry_is_filled_without_anybody_asking(site, monkeypatch):
    monkeypatch.setattr(queue_again, "FIRST_RUNS", 1)
    filling = gevent.spawn(site.dispatcher.filler.run)
    try:
        task = site.submit(items=["a", "b", "c"])
        site.desk.cancel_task(ALICE, ById(AUTH, task), by())
        answer = site.poll(site.web01, free=3)
        site.desk.retry_task(ALICE, RetryTask(AUTH, task, ["CANCELLED"], None), by())
        assert [one.item for one in site.granted(answer, site.web01)] == ["a", "b", "c"]
    finally:
        filling.kill()


def test_a_retry_that_is_sent_again_is_the_same_task_though_hosts_are_others_now(site):
    task = failed(site, targets="web01,web02")
    again = retry(site, OTTO, task, key="k")
    site.label(site.web01, "prod")
    assert retry(site, OTTO, task, key="k") == again
    with pytest.raises(Forbidden, match="web01"):
        retry(site, OTTO, task)


# ---- written down for later


@pytest.mark.parametrize(
    "fields", [{"open": True}, {"items": [], "items_from": ItemsFrom("t" * 32)}]
)
def test_what_runs_later_has_its_items_with_it(fields):
    given: dict[str, Any] = {"script": "true", "mode": "queue", "items": ["a"], **fields}
    with pytest.raises(InvalidValue, match="submitted to run now"):
        sound(Submission(**given))
    sound(Submission(script="true", mode="queue", items=["a"]))
