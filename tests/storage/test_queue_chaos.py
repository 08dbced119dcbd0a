"""Whatever is lost, comes twice or late, and whenever the master is killed: each item ends once."""

import random
from typing import Any

import gevent
import pytest

from master.storage import Storage
from tests.storage.queues import Agent, attempts, counts, enrol, submit
from wire.messages import Grant, Held
from wire.states import ENDED_TASK, RunState, Stage, TaskState, WordKind

ENDS = (RunState.SUCCEED, RunState.FAILED, RunState.TIMEOUT, RunState.UNKNOWN)
STEPS = 150
ITEMS = 8


class Host:
    """One agent as its protocol has it: what it holds, and every result that it ever sent."""

    def __init__(self, agent: Agent):
        self.agent = agent
        self.live: dict[tuple[str, int], Grant] = {}
        self.sent: list[tuple[Grant, RunState]] = []

    def poll(self, task: Any, *, is_lost: bool = False) -> None:
        held = [Held(run, attempt, Stage.LIVE) for run, attempt in self.live]
        look = self.agent.lose if is_lost else self.agent.poll
        answer = look(task, free=max(0, 2 - len(held)), held=held)
        assert answer.strays == ()
        if is_lost:
            return
        for grant in answer.grants:
            if not grant.void:
                assert grant.item is not None
                self.live[grant.run, grant.attempt] = grant
        for word in answer.words:
            held_one = self.live.get((word.run or "", word.attempt))
            if word.kind is WordKind.STOP and held_one is not None:
                self.tell(held_one, RunState.CANCELLED)

    def tell(self, grant: Grant, state: RunState) -> None:
        self.live.pop((grant.run, grant.attempt), None)
        self.sent.append((grant, state))
        assert not self.agent.finish(grant, state, data=b"out", output_bytes=3).answer.stray

    def repeat(self, chance: random.Random) -> None:
        if self.sent:
            grant, state = chance.choice(self.sent)
            self.agent.finish(grant, state, data=b"out", output_bytes=3)


@pytest.mark.parametrize("seed", range(12))
def test_each_item_ends_once_whatever_happens_to_messages_and_master(house, seed):
    chance = random.Random(seed)
    hosts = [Host(agent) for agent in enrol(house, "web01", "web02", "db1")]
    task = submit(house, *(f"item {n}" for n in range(ITEMS)), retry_pause=1.0, parallel=3)
    ended: dict[str, str] = {}
    for _ in range(STEPS):
        _step(house, chance, hosts, task)
        house.clock.now += chance.choice([0, 0, 1, 5])
        _check(house, task, ended)
    _drain(house, hosts, task)
    _check(house, task, ended)
    assert house.task(task.id).state in ENDED_TASK
    assert sum(counts(house, task).values()) == ITEMS
    assert {row[0] for row in house.sql("SELECT seq FROM runs")} == set(range(ITEMS))
    for (run,) in house.sql("SELECT id FROM runs"):
        numbers = [number for number, _ in attempts(house, run)]
        assert len(numbers) == len(set(numbers)) <= 2


def _step(house: Any, chance: random.Random, hosts: list[Host], task: Any) -> None:
    host = chance.choice(hosts)
    match chance.choice(["poll", "poll", "poll", "lost", "end", "end", "end", "repeat", "lapse"]):
        case "poll":
            host.poll(task)
        case "lost":
            host.poll(task, is_lost=True)
        case "end" if host.live:
            host.tell(chance.choice(list(host.live.values())), chance.choice(ENDS))
        case "repeat":
            host.repeat(chance)
        case "lapse" if chance.random() < 0.3:
            heard = {one.agent.id: house.clock.now for one in hosts if one is not host}
            house.clock.now += 60
            house.store.silence(0.0, 0.0, lambda id: heard.get(id, 0.0) + 60).wait()
        case _ if chance.random() < 0.2:  # the master is killed: what was committed is there
            house.store.close()
            house.store = Storage(house.path, clock=house.clock)


def _drain(house: Any, hosts: list[Host], task: Any) -> None:
    for _ in range(20 * ITEMS):
        if house.task(task.id).state in ENDED_TASK and not any(host.live for host in hosts):
            return
        for host in hosts:
            host.poll(task)
            for grant in list(host.live.values()):
                host.tell(grant, RunState.SUCCEED)
        house.clock.now += 5


def _check(house: Any, task: Any, ended: dict[str, str]) -> None:
    """The counters tell of each item once, and what has ended stays as it is."""
    record = house.task(task.id)
    assert sum(counts(house, task).values()) == ITEMS
    found = dict(house.sql("SELECT id, state FROM runs"))
    assert sum(state == "RUNNING" for state in found.values()) == record.running <= 3
    for run, state in ended.items():
        assert found[run] == state or state == "UNKNOWN"
    ended.update({run: state for run, state in found.items() if state in _ENDED})


_ENDED = {"SUCCEED", "FAILED", "TIMEOUT", "UNKNOWN", "CANCELLED", "SKIPPED"}


def test_many_hosts_that_share_their_commits_take_each_item_once(house):
    """Claims, results, lapses and other attempts of one queue, many of them in one transaction."""
    agents = enrol(house, *(f"web{n:02}" for n in range(12)))
    task = submit(house, *(f"item {n}" for n in range(120)), retry_pause=0.0, max_attempts=9)
    taken: list[tuple[str, int]] = []

    def work(agent: Agent, chance: random.Random) -> None:
        while True:
            grants = agent.poll(task, free=chance.choice([1, 2, 5])).grants
            if not grants:
                return
            for grant in grants:
                taken.append((grant.run, grant.attempt))
                is_last = grant.attempt == 3
                state = RunState.SUCCEED if is_last else chance.choice(ENDS)
                agent.finish(grant, state, data=b"out", output_bytes=3)

    house.store.silence(0.0, 0.0, lambda id: house.clock.now).wait()
    workers = [gevent.spawn(work, agent, random.Random(n)) for n, agent in enumerate(agents)]
    gevent.joinall(workers, raise_error=True)
    assert len(taken) == len(set(taken))
    assert len({run for run, _ in taken}) == 120
    ended = house.task(task.id)
    if ended.waiting:  # the last that looked found what then failed
        work(agents[0], random.Random(99))
    assert counts(house, task) == {"SUCCEED": 120}
    assert house.task(task.id).state is TaskState.SUCCEED


def test_a_lapse_and_the_next_claim_may_share_a_commit(house):
    """The next host then has the item under a number that the one before had used for itself."""
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", "b")
    db_first = db.take(task)
    web_first = web.take(task)
    assert db_first.grant == web_first.grant
    house.clock.now += 60
    lapsing = house.store.silence(0.0, 0.0, lambda id: house.clock.now if id == db.id else 0.0)
    lapsing.then(lambda changed: None)
    second = db.take(task)
    assert (second.run, second.attempt, second.item) == (web_first.run, 2, "b")
