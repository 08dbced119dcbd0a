"""A small world for schedules: simulated weeks, in which people edit, processes die, clocks jump.

The real scheduler, desk and store, two of each over one file, on a clock that the world turns.
What the world did is written down as facts; the checker lays the rows of the store against them.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from master.audit import Act
from master.changes import Changed, QueueState
from master.composer import Composer
from master.dispatch import Dispatcher
from master.live import Live
from master.plan import Plan
from master.plan_judge import PlanJudge
from master.planner import Planner
from master.records import Task
from master.rights import Person
from master.roster import Roster
from master.schedule_aims import ScheduleAims
from master.schedule_desk import ScheduleDesk
from master.scheduler import Scheduler
from master.secrets import Vault
from master.storage import Storage
from master.timing import parse
from master.when import next_after
from tests.storage.cast import Clock, House, by
from wire.plans import PlanSpec, PlanStep
from wire.requests import Auth, ById, Submission
from wire.schedules import (
    AddSchedule,
    ChangeSchedule,
    SchedulePatch,
    ScheduleSpec,
    Timing,
)

AUTH = Auth()
ACT = Act("alice", "session", "schedule.change")
DAY_S = 86_400.0
VAULT = Vault(b"k" * 32)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "UTC"]


class Span(Struct):
    """The schedule was due by this timing, for instants in (since, until].

    `shown`: the latest that the clock showed meanwhile. It differs from `until` where a splay was
    not up when the clock was set back: what was put off then may have been due, or not.
    """

    timing: Timing
    since: float
    until: float
    shown: float


class Facts(Struct):
    """`outages`: (since, until) when no process was there. `edits`: when people edited or paused a
    schedule, and so took away what waited or was put off."""

    spans: dict[str, list[Span]] = field(default_factory=dict)
    outages: list[tuple[float, float]] = field(default_factory=list)
    edits: dict[str, list[float]] = field(default_factory=dict)


class Silent(Dispatcher):
    """Wakes nobody. `told`: the states of plans that readers of events would hear of."""

    def __init__(self) -> None:
        self.listeners = []
        self.told: list[tuple[str, str]] = []

    def opened(self, task: Task, agents: list[str], queues: Sequence[QueueState] = ()) -> None:
        self._tell(task)

    def apply(self, changed: Changed) -> None:
        for task in changed.tasks:
            self._tell(task)

    def plan_changed(self, plan: Plan) -> None:
        self.told.append((plan.state, plan.steps[plan.step].name))

    def _tell(self, task: Task) -> None:
        for listener in self.listeners:
            listener(task)


class Process:
    """One process of a master: its own connection to the store, its own memory."""

    def __init__(self, path: Path, clock: Clock):
        self.storage = Storage(path, clock=clock, readers=1)
        roster = Roster(5.0)
        roster.load(self.storage.all_agents().wait(), [])
        self.dispatcher = Silent()
        storage, book, people = self.storage, self.storage.schedules, self.storage.people
        composer = Composer(Live(roster, clock), storage.scripts, VAULT)
        judge = PlanJudge(composer, roster, storage.callbacks)
        self.planner = Planner(storage.plans, roster, self.dispatcher, people, composer)
        aims = ScheduleAims(book, composer, judge, roster, people, storage.callbacks)
        self.scheduler = Scheduler(book, aims, self.dispatcher, self.planner)
        self.desk = ScheduleDesk(book, self.scheduler, aims, self.dispatcher, self.planner)

    def round(self) -> None:
        """Fire what is due, and take plans as far as they go, also those that another process has
        made or whose tasks it has ended."""
        self.scheduler.round()
        for id in self.storage.plans.held_up().wait():
            self.planner.wake(id)
        self.planner.round()
        self.scheduler.round()

    def next_at(self) -> float | None:
        return self.storage.schedules.next_firing().wait()

    def close(self) -> None:
        self.storage.close()


class World:
    def __init__(self, path: Path, seed: int, since: float):
        self.random = random.Random(seed)
        self.clock = Clock()
        self.clock.now = since
        self.path = path / "store.sqlite"
        self.facts = Facts()
        self.timings: dict[str, Timing] = {}  # of schedules that are neither paused nor removed
        self.paused: dict[str, Timing] = {}
        house = House(Storage(self.path, clock=self.clock), self.clock, self.path)
        house.enrol("web01", "db1")
        account = house.store.people.add("alice", "operator", None, "no password", by()).wait()
        self.alice = Person("alice", "operator", person=account.id)
        house.store.close()
        self.processes = [self._process(), self._process()]

    def _process(self) -> Process:
        return Process(self.path, self.clock)

    def close(self) -> None:
        for process in self.processes:
            process.close()

    # ---- time

    def advance(self, to: float) -> None:
        """All that comes up until then fires, each at its time, by either process or by both."""
        while (next_at := self.processes[0].next_at()) is not None and next_at <= to:
            self.turn(max(self.clock.now, next_at + self.random.random() / 10))
            for process in self.random.choice(
                [self.processes, self.processes[:1], self.processes[1:]]
            ):
                process.round()
        self.turn(max(self.clock.now, to))

    def turn(self, to: float) -> None:
        self.clock.now = to
        for id in self.timings:
            span = self.facts.spans[id][-1]
            span.until = span.shown = max(span.shown, to)

    def outage(self, length_s: float) -> None:
        """Both processes are killed, and come back later."""
        self.close()
        began = self.clock.now
        self.turn(began + length_s)
        self.facts.outages.append((began, self.clock.now))
        self.processes = [self._process(), self._process()]
        for process in self.processes:
            process.round()

    def set_back(self, by_s: float) -> None:
        self.clock.now -= by_s

    # ---- what happens

    def do_something(self) -> None:
        often = [self.edit, self.end_tasks]
        seldom = [self.pause, self.resume, self.remove, self.add, self.edit_when_due]
        does = self.random.choice([*often, *often, *seldom])
        does()

    def add(self) -> None:
        spec = self.make_spec()
        view = self._desk().add_schedule(self.alice, AddSchedule(AUTH, spec), ACT)
        self.timings[view.id] = spec.when
        self._due_from_now(view.id, spec.when)

    def edit(self) -> None:
        if not self.timings:
            return
        id = self.random.choice(list(self.timings))
        timing = self.random.choice([self.timings[id], self.make_timing()])
        work = self.make_work() if self.random.random() < 0.3 else {}
        patch = SchedulePatch(when=timing, overlap=self.make_overlap(), **work)
        self._desk().change_schedule(self.alice, ChangeSchedule(AUTH, id, patch), ACT)
        if timing != self.timings[id]:
            self._due_no_more(id)
            self.timings[id] = timing
            self._due_from_now(id, timing)

    def edit_when_due(self) -> None:
        """The clock has come to the second, and nobody has fired yet."""
        next_at = self.processes[0].next_at()
        if next_at is not None and next_at < self.clock.now + DAY_S / 24:
            self.turn(max(self.clock.now, next_at))
            self.edit()

    def pause(self) -> None:
        if not self.timings:
            return
        id = self.random.choice(list(self.timings))
        self._desk().pause_schedule(self.alice, ById(AUTH, id), ACT)
        self._due_no_more(id)
        self.paused[id] = self.timings.pop(id)

    def resume(self) -> None:
        if not self.paused:
            return
        id = self.random.choice(list(self.paused))
        self._desk().resume_schedule(self.alice, ById(AUTH, id), ACT)
        self.timings[id] = self.paused.pop(id)
        self._due_from_now(id, self.timings[id])

    def remove(self) -> None:
        if len(self.timings) < 5:
            return
        id = self.random.choice(list(self.timings))
        self._desk().remove_schedule(self.alice, ById(AUTH, id), ACT)
        self._due_no_more(id)
        del self.timings[id]

    def end_tasks(self) -> None:
        process = self.random.choice(self.processes)
        for task in process.storage.active_tasks().wait():
            if self.random.random() < 0.7:
                process.dispatcher.apply(process.storage.cancel_task(task.id, ACT).wait())
        process.round()

    def finish(self) -> None:
        """Everything ends, and what waits comes to its turn; what is put off is not waited for.

        Nobody may have looked when the clock showed its latest, before it was set back: it comes
        there once more.
        """
        self.advance(max(spans[-1].shown for spans in self.facts.spans.values()))
        for id, timing in self.timings.items():
            self.facts.spans[id][-1].until -= timing.splay
        process = self.processes[0]
        process.round()
        while process.storage.count_active_tasks().wait() or process.storage.plans.held_up().wait():
            for task in process.storage.active_tasks().wait():
                process.dispatcher.apply(process.storage.cancel_task(task.id, ACT).wait())
            process.round()

    # ---- what is made

    def make_spec(self) -> ScheduleSpec:
        pick = self.random
        return ScheduleSpec(
            name=f"schedule {pick.random()}",
            when=self.make_timing(),
            **self.make_work(),
            overlap=self.make_overlap(),
            misfire=pick.choice(["skip", "once", "each"]),
            misfire_most=pick.choice([1, 3, 20]),
            misfire_grace=pick.choice([60, 3600, 86_400, 10 * 86_400]),
        )

    def make_work(self) -> dict[str, Any]:
        task = Submission(script="true", targets=self.random.choice(["@*", "web*"]))
        if self.random.random() < 0.6:
            return {"task": task}
        return {"plan": PlanSpec(steps=[PlanStep("one", [task], "ended"), PlanStep("two", [task])])}

    def make_overlap(self) -> str:
        return self.random.choice(["allow", "skip", "wait", "replace"])

    def make_timing(self) -> Timing:
        """One that is due some time."""
        while next_after(parse(timing := self._any_timing()), self.clock.now) is None:
            pass
        return timing

    def _any_timing(self) -> Timing:
        pick, zone = self.random, self.random.choice(ZONES)
        kind = pick.choice(["cron"] * 5 + ["every"] * 3 + ["once"])
        bounds: dict[str, Any] = {}
        if pick.random() < 0.1 and kind != "once":
            bounds = {"start": self._iso(pick.uniform(0, 2)), "end": self._iso(pick.uniform(3, 6))}
        if kind == "once":
            return Timing("once", at=self._iso(pick.uniform(0.01, 5)), zone=zone)
        splay = pick.choice([0, 0, 0, 600])
        if kind == "every":
            seconds = pick.choice([3600, 5000, 7200, 40_000, 86_400, 100_001])
            return Timing("every", every=seconds, zone=zone, splay=splay, **bounds)
        minute = pick.choice(["0", "30", "15,45", "59", "5", "*/30", "0-30/15"])
        hour = pick.choice(["1", "2", "2", "3", "0", "1-3", "*/6", "*/2", "23", "2,14"])
        day = pick.choice(["*", "*", "*", "*/2", "1-15", "29", "25"])
        weekday = pick.choice(["*", "*", "0", "0,6", "1-5"])
        cron = f"{minute} {hour} {day} * {weekday}"
        return Timing("cron", cron=cron, zone=zone, splay=splay, **bounds)

    # ---- below

    def _desk(self) -> ScheduleDesk:
        return self.random.choice(self.processes).desk

    def _iso(self, days: float) -> str:
        at = int(self.clock.now + days * DAY_S)
        return datetime.fromtimestamp(at, UTC).isoformat()

    def _due_from_now(self, id: str, timing: Timing) -> None:
        now = self.clock.now
        self.facts.spans.setdefault(id, []).append(Span(timing, now, now, now))

    def _due_no_more(self, id: str) -> None:
        """By a clock that was set back it was due up to the latest that was shown before."""
        span = self.facts.spans[id][-1]
        if span.timing.splay:
            span.until = self.clock.now
        self.facts.edits.setdefault(id, []).append(self.clock.now)


@contextmanager
def world(path: Path, seed: int, since: float) -> Iterator[World]:
    made = World(path, seed, since)
    try:
        yield made
    finally:
        made.close()
