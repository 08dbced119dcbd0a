"""A board over a store in memory, agents that poll, and a clock that is turned by hand.

The store here is the rules of claims in few lines: state, places, per_agent, tokens, items.
"""

import math
from collections import Counter
from typing import Any

from msgspec.structs import replace

from master.changes import QueueState
from master.queue_board import Offer, QueueBoard
from master.records import Run, Task
from tests.factories import make_run, make_task
from wire.defaults import burst_of
from wire.states import RunState, TaskState


class Shelf:
    """A queue in the store."""

    def __init__(self, task: Task, items: int, now: float):
        self.task = task
        self.left = items
        self.rate: float | None = task.settings.get("rate")
        self.burst = task.settings.get("burst") or burst_of(self.rate, 1)
        self.tokens, self.tokens_at = float(self.burst), now

    def fill(self, now: float) -> None:
        if self.rate is not None:
            more = (now - self.tokens_at) * self.rate
            self.tokens, self.tokens_at = min(self.burst, self.tokens + more), now

    def state(self, now: float) -> QueueState:
        self.fill(now)
        settings, task = self.task.settings, self.task
        open_to = task.state in (TaskState.WAITING, TaskState.RUNNING) and self.left > 0
        has_token = self.rate is None or self.tokens + 1e-6 >= 1
        has_place = task.parallel == 0 or task.running < task.parallel
        next_at = None
        if open_to and self.rate is not None and not has_token:
            next_at = now + (1 - self.tokens) / self.rate
        return QueueState(
            task=task.id,
            name=settings.get("queue", "default"),
            untaken=self.left,
            retrying=0,
            takable=open_to and has_token and has_place,
            next_at=next_at,
            room=None if self.rate is None else int(self.tokens + 1e-6),
            per_agent=settings.get("per_agent", 0),
            agents_max=settings.get("agents_max", 0),
        )


class Shop:
    """`agents`: {id: slots}. Looks wait in `looks` until `commit`."""

    def __init__(self, agents: dict[str, int], names: dict[str, list[str]] | None = None):
        self.now = 1000.0
        self.meant: dict[str, frozenset[str]] = {}  # by task; others: all agents
        self.offline: set[str] = set()
        self.shelves: dict[str, Shelf] = {}
        self.free = dict(agents)
        self.parked: set[str] = set()
        self.looks: list[tuple[str, Offer]] = []
        self.looking: set[str] = set()
        self.woken: Counter[str] = Counter()
        self.vain = 0
        self.taken: list[tuple[float, str, str]] = []  # (time, task, agent)
        self.live: dict[str, Run] = {}
        self.board = QueueBoard(
            self._wake,
            lambda task: self.meant.get(task.id, frozenset(self.free)),
            lambda agent: agent not in self.offline,
            lambda: self.now,
        )
        for agent in agents:
            self.board.came(agent, (names or {}).get(agent, []))

    # ---- people

    def submit(self, id: str, items: int, **fields: Any) -> None:
        settings = {"mode": "queue", **fields.pop("settings", {})}
        given: dict[str, Any] = {"id": id, "seq": len(self.shelves) + 1, "parallel": 0}
        given |= {"mode": "queue", "total": items, "waiting": items, "settings": settings}
        task = make_task(**(given | fields))
        self.shelves[id] = Shelf(task, items, self.now)
        self.board.saw_task(task)
        self._told(id)

    def change(self, id: str, **fields: Any) -> None:
        shelf = self.shelves[id]
        shelf.task = replace(shelf.task, **fields)
        self._told(id)

    # ---- agents

    def poll(self, agent: str) -> None:
        """A new poll, which looks at once if something is offered."""
        self.parked.add(agent)
        self.board.parks(agent, self.free[agent])
        if self.free[agent] and self.board.has_offer(agent):
            self._wake(agent)

    def vanish(self, agent: str) -> None:
        """Its poll is still parked, and nobody is there."""
        self.offline.add(agent)

    def finish(self, run: Run) -> None:
        shelf = self.shelves[run.task]
        del self.live[run.id]
        self.free[run.agent] += 1
        task = shelf.task
        shelf.task = replace(task, running=task.running - 1, succeed=task.succeed + 1)
        self.board.saw_run(replace(run, state=RunState.SUCCEED))
        self._told(run.task)
        self.poll(run.agent)

    def finish_all(self) -> None:
        for run in list(self.live.values()):
            self.finish(run)

    # ---- the store

    def commit(self) -> None:
        """One transaction: all looks that wait, in order; then their answers."""
        looks, self.looks = self.looks, []
        for agent, offer in looks:
            self._answer(agent, offer, self._claim(agent, offer))

    def settle(self) -> None:
        while self.looks:
            self.commit()

    def pass_time(self, seconds: float, step_s: float = 0.001) -> None:
        """Commit whatever comes up meanwhile; what was taken has ended by the next step."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.settle()
            self.finish_all()
            first = self.board.timers.first()
            ahead = math.inf if first is None else first
            self.now = min(until, self.now + step_s if self.looks else max(ahead, self.now))
            self.board.come_due()

    def _wake(self, agent: str) -> bool:
        if agent not in self.parked:
            return False
        if agent in self.offline:
            self.parked.discard(agent)
            self.board.leaves(agent)
            return False
        self.woken[agent] += 1
        self.looks.append((agent, self.board.offer(agent, self.free[agent])))
        return True

    def _claim(self, agent: str, offer: Offer) -> list[Run]:
        claimed: list[Run] = []
        for level in offer.levels:
            gives = True
            while gives and self.free[agent]:
                gives = False
                for id in level:
                    taken = self._claim_one(agent, id)
                    gives = gives or taken is not None
                    claimed += [taken] if taken is not None else []
        return claimed

    def _claim_one(self, agent: str, id: str) -> Run | None:
        """As the store does: whatever the board thinks."""
        shelf = self.shelves[id]
        state = shelf.state(self.now)
        alive = sum(run.task == id and run.agent == agent for run in self.live.values())
        if self.free[agent] == 0 or not state.takable:
            return None
        if state.per_agent and alive >= state.per_agent:
            return None
        return self._take(agent, shelf)

    def _take(self, agent: str, shelf: Shelf) -> Run:
        shelf.left -= 1
        if shelf.rate is not None:
            shelf.tokens -= 1
        task = shelf.task
        shelf.task = replace(
            task, state=TaskState.RUNNING, waiting=task.waiting - 1, running=task.running + 1
        )
        self.free[agent] -= 1
        run = make_run(id=f"r{len(self.taken)}", task=task.id, agent=agent, state=RunState.RUNNING)
        self.live[run.id] = run
        self.taken.append((self.now, task.id, agent))
        return run

    def _answer(self, agent: str, offer: Offer, claimed: list[Run]) -> None:
        if claimed:
            self.parked.discard(agent)
            self.board.leaves(agent)
        elif offer.lines:
            self.vain += 1
        for run in claimed:
            self.board.saw_run(run)
        for id in dict.fromkeys(run.task for run in claimed):
            self._told(id, go_on=False)
        self.board.looked(agent, offer, Counter(run.task for run in claimed))
        if claimed and self.free[agent]:
            self.poll(agent)

    def _told(self, id: str, *, go_on: bool = True) -> None:
        shelf = self.shelves[id]
        self.board.saw_task(shelf.task)
        self.board.saw_state(shelf.state(self.now))
        if go_on:
            self.board.go_on()
