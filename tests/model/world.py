"""One master, one agent, and everything that can go wrong between them, in a form that can be searched.

What decides is the real code: master/handout.py and agent/decide.py. What is modelled is what
they decide about: what is on which disk, what is only in memory, what is under way.

The parts of a World, and what survives what:

    store     the master's database                  all but `restore`, which brings a backup back
    master    session, parked poll                   nothing; a master's memory
    disk      the agent's journal and done list      all but `wipe`
              run directories: the mark is not       agent and supervisor deaths; a reboot may
              synced, the exit is                    lose marks, never exits
    processes start requests, supervisors, scripts   the agent's death, not a reboot
    agent     session, what it is about to do,       nothing; an agent process's memory
              which results are acknowledged
    net       messages under way                     the master's death; the agent's death if
                                                     they are for the master

What a step is in reality (a name in capitals is a fault, and is paid from the budget):

    deliver …     a message arrives. Any message under way may be next, so they overtake each other
    LOSE …        a message is lost, or the call that it answers was given up
    REPEAT …      a message arrives, and will arrive again
    register, poll, result   the agent sends (again) what is not answered yet
    IMPATIENT     a second poll, while the first is parked or its answer under way
    act           the agent does the next thing it has decided: forks a supervisor, makes a mark
                  void, journals a cause, asks for a kill
    prune         done record in, entry out, in one sync; then the directory goes
    mark          a supervisor gets to the mark: makes it and execs the script, or quits
    end, die      the script ends by itself, or of the kill
    wake          the parked poll is judged again, since something was committed
    release       an operator lets hand-outs go on after a restore
    KILL AGENT, KILL MASTER      SIGKILL, or a crash; `start …` follows
    KILL SUPERVISOR              at any point, the script lives on
    REBOOT        power loss: every process gone, each unsynced mark lost or not
    WIPE          a reboot into an empty state directory
    FORGET        the done list is compacted to nothing
    RECONNECT     the agent opens a new connection, and so a new session
    CANCEL        of the task, by a person
    SILENCE       the master hears nothing for lost_after, whatever the agent is doing
    LATE          start_by passes, first for the master and later for the agent
    BACKUP, RESTORE              of the store
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from agent import decide
from agent.executor import ExitRecord
from agent.records import Entry, Mark, RunDirectory
from master import handout
from master.records import Agent, Run, Task
from wire import messages
from wire.states import (
    ENDED_RUN,
    ENDED_TASK,
    Cause,
    RunState,
    Standing,
    Stop,
    TaskState,
    Want,
    WordKind,
)

START_BY = 100.0
SPEC = messages.TaskSpec(id="t", script="")
STATES = tuple(RunState)


# ---- durable, at the master


class StoreRun(NamedTuple):
    state: RunState = RunState.WAITING
    want: Want | None = None
    grant: int | None = None
    instance: str | None = None
    settled: bool = False


class Store(NamedTuple):
    runs: tuple[StoreRun, ...]
    counts: tuple[int, ...]  # of the task, in the order of STATES
    task: TaskState = TaskState.WAITING
    stop: Stop | None = None
    granted: int = 0
    acked: int = 0
    instance: str = "i0.0"
    past: tuple[str, ...] = ()
    hold: bool = False
    cancelled: bool = False  # not in the store: whether a person's cancel was committed …
    restored: bool = False  # … and whether this store was brought back from a backup


class Setting(NamedTuple):
    """What stays the same through a search."""

    parallel: int = 0
    slots: int = 1
    fail_count: int | None = None
    on_limit: str = "finish"
    one_by_one: bool = False  # runs are submitted in turn; after a restore all are there


# ---- the host


class JournalEntry(NamedTuple):
    grant: int
    instance: str
    void: bool
    cause: Cause | None


class Place(NamedTuple):
    """A run's directory and processes, and what really happened to it."""

    mark: Mark | None = None
    exit: Cause | None = None  # EXIT, or what it was killed for
    requests: int = 0  # supervisors asked for or forked that are not at the mark yet …
    late_requests: int = 0  # … by an agent process that was born after the cancel
    supervisor: bool = False
    script: bool = False
    killing: Cause | None = None
    starts: int = 0
    ended: Cause | None = None  # how the script really ended
    broke_cancel: bool = False  # started by an agent process born after the cancel


class Done(NamedTuple):
    grant: int
    state: RunState


class Disk(NamedTuple):
    entries: tuple[JournalEntry | None, ...]
    done: tuple[Done | None, ...]
    hw: int = 0
    floor: int = 0
    boot: int = 0
    journal: int = 0


class Todo(NamedTuple):
    """The next thing to do about a run: start, stop, note (why it was made void) or kill."""

    verb: str
    cause: Cause | None = None


class Process(NamedTuple):
    """The memory of the agent process."""

    todo: tuple[Todo | None, ...]
    acked: tuple[bool, ...]
    asked: tuple[bool, ...]  # this process has asked for a supervisor
    void: tuple[bool, ...]  # this process has been told by decide that it never started
    session: int | None = None
    late: bool = False  # born after the cancel


# ---- messages. No named tuples: those of one shape would be equal


class Register(Struct, frozen=True):
    instance: str


class Poll(Struct, frozen=True):
    session: int
    instance: str
    hw: int
    free: int
    held: tuple[tuple[int, str], ...]


class Result(Struct, frozen=True):
    run: int
    grant: int
    state: RunState
    cause: Cause


class DoneList(Struct, frozen=True):
    session: int
    hw: int
    floor: int
    records: tuple[tuple[int, Done], ...]
    asked: int | None


class Registered(Struct, frozen=True):
    session: int


class Again(Struct, frozen=True):
    """Register again: the session is not known."""

    session: int


class Ack(Struct, frozen=True):
    run: int


class Work(Struct, frozen=True):
    session: int
    grants: tuple[tuple[int, int, str, Cause | None], ...]  # run, number, instance, void cause
    words: tuple[tuple[WordKind, int | None, Cause | None, int], ...]


TO_MASTER = (Register, Poll, Result, DoneList)


class Memory(NamedTuple):
    """The memory of the master process."""

    session: int | None = None
    parked: Poll | None = None


class Budget(NamedTuple):
    """How many faults of each kind are still to come."""

    lose: int = 0
    repeat: int = 0
    impatient: int = 0
    kill_agent: int = 0
    kill_master: int = 0
    kill_supervisor: int = 0
    reboot: int = 0
    wipe: int = 0
    forget: int = 0
    reconnect: int = 0
    cancel: int = 0
    silence: int = 0
    late: int = 0
    restore: int = 0


class World(NamedTuple):
    budget: Budget
    store: Store
    master: Memory | None
    disk: Disk
    places: tuple[Place, ...]
    agent: Process | None
    net: frozenset[Any]
    backup: Store | None = None
    late: int = 0  # 1: start_by has passed for the master, 2: for the agent as well


What = str | tuple[str, Any]  # in words, the message apart: most names are never read
Step = tuple[What, World]


def begin(budget: Budget, runs: int) -> World:
    nothing = (None,) * runs
    return World(
        budget=budget,
        store=Store(
            runs=(StoreRun(),) * runs,
            counts=tuple(runs if state is RunState.WAITING else 0 for state in STATES),
        ),
        master=Memory(),
        disk=Disk(entries=nothing, done=nothing),
        places=(Place(),) * runs,
        agent=Process(
            todo=nothing, acked=(False,) * runs, asked=(False,) * runs, void=(False,) * runs
        ),
        net=frozenset(),
    )


# ---- the master's verbs, as the store runs them: fetch, decide, put


class Verbs:
    """Real records around the real decisions, remembered by their input."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.poll = lru_cache(None)(self._poll)
        self.finish = lru_cache(None)(self._finish)
        self.settle = lru_cache(None)(self._settle)
        self.cancel = lru_cache(None)(self._cancel)
        self.silence = lru_cache(None)(self._silence)
        self.expire = lru_cache(None)(self._expire)

    # -- records

    def task(self, store: Store) -> Task:
        named = {state.lower(): n for state, n in zip(STATES, store.counts, strict=True)}
        return Task(
            id="t",
            seq=1,
            name="",
            state=store.task,
            reason="",
            stop=store.stop,
            created_by="alice",
            created_at=0.0,
            started_at=None,
            ended_at=None,
            parallel=self.setting.parallel,
            fail_count=self.setting.fail_count,
            fail_rate=None,
            on_limit=self.setting.on_limit,
            priority=0,
            offline="wait",
            expires_at=START_BY,
            lost_after=1.0,
            total=len(store.runs),
            **named,
        )

    def runs(self, store: Store) -> list[Run]:
        return [_run(index, run) for index, run in enumerate(store.runs)]

    def put(self, store: Store, change: handout.Change) -> Store:
        runs = {run.id: run for run in self.runs(store)} | {run.id: run for run in change.runs}
        for sweep in change.sweeps:
            runs = {id: handout.swept(run, sweep) for id, run in runs.items()}
        store = store._replace(runs=tuple(_stored(runs[id]) for id in sorted(runs)))
        for task in change.tasks:
            store = _with_task(store, task)
        return store if change.agent is None else _with_agent(store, change.agent)

    # -- verbs

    def _poll(self, store: Store, poll: Poll, now: float) -> tuple[Store, Work] | str:
        """A poll's transaction: judge, then claim. A string: the agent was quarantined."""
        asked = messages.Poll(
            session=str(poll.session),
            instance=poll.instance,
            hw=poll.hw,
            free=poll.free,
            held=[_held_one(run, stage) for run, stage in poll.held],
        )
        named = {str(run) for run, _ in poll.held}
        runs = [run for run in self.runs(store) if handout.is_open(run) or run.id in named]
        judged = handout.judge_poll(
            _agent(store), runs, {"t": self.task(store)}, asked, now, held_back=store.hold
        )
        if judged.quarantine is not None:
            return judged.quarantine
        store = self.put(store, judged.change)
        if judged.hold is not None:
            store = store._replace(hold=True)
        store, claimed = self._claim(store, poll.instance, judged.places, now)
        grants = [handout.grant_of(sent, SPEC, now) for sent in (*judged.sent, *claimed)]
        return store, Work(
            session=poll.session,
            grants=tuple((int(g.run), g.grant, g.instance, g.cause) for g in grants),
            words=tuple(
                (w.kind, None if w.run is None else int(w.run), w.cause, w.since)
                for w in judged.words
            ),
        )

    def _claim(
        self, store: Store, instance: str, places: int, now: float
    ) -> tuple[Store, list[handout.Sent]]:
        """In the order of submission, and the other way round after a restore: nothing may rest
        on a new history handing out in the order of the old one."""
        claimed: list[handout.Sent] = []
        if self.setting.one_by_one and not store.restored:
            places = min(places, 1)
        order = reversed(range(len(store.runs))) if store.restored else range(len(store.runs))
        for index in order:
            run = _run(index, store.runs[index])
            if len(claimed) == places:
                break
            taken = handout.claim(self.task(store), _agent(store), run, instance, now)
            if taken is not None:
                task, agent, run = taken
                change = handout.Change(agent=agent, tasks=(task,), runs=(run,))
                store = self.put(store, change)
                claimed.append(handout.Sent(run=run))
        return store, claimed

    def _finish(self, store: Store, result: Result, now: float) -> Store:
        said = messages.Result(
            session="",
            hw=0,
            free=0,
            run=str(result.run),
            attempt=1,
            grant=result.grant,
            state=result.state,
            cause=result.cause,
            code=0 if result.state is RunState.SUCCEED else None,
        )
        run = _run(result.run, store.runs[result.run])
        change = handout.finish(self.task(store), run, said, now)
        return store if change is None else self.put(store, change)

    def _settle(self, store: Store, done: DoneList, now: float) -> Store:
        said = messages.Done(
            session=str(done.session),
            hw=done.hw,
            floor=done.floor,
            records=[
                messages.DoneRecord(
                    run=str(run), attempt=1, grant=record.grant, state=record.state, code=None
                )
                for run, record in done.records
            ],
            asked=None if done.asked is None else [str(done.asked)],
        )
        runs = self.runs(store)
        change = handout.settle_done(_agent(store), runs, {"t": self.task(store)}, said, now)
        return self.put(store, change)

    def _cancel(self, store: Store, now: float) -> Store:
        change = handout.cancel_task(self.task(store), now)
        store = store if change is None else self.put(store, change)
        return store._replace(cancelled=True)

    def _silence(self, store: Store, now: float) -> Store:
        for run in self.runs(store):
            change = handout.lose_run(self.task(store), _agent(store), run, now - 10.0, now)
            if change is not None:
                store = self.put(store, change)
        return store

    def _expire(self, store: Store, now: float) -> Store:
        for run in self.runs(store):
            current = _run(int(run.id), store.runs[int(run.id)])
            change = handout.expire_run(self.task(store), _agent(store), current, now)
            if change is not None:
                store = self.put(store, change)
        return store


def _run(index: int, run: StoreRun) -> Run:
    return Run(
        id=str(index),
        task="t",
        seq=index,
        agent="a",
        hostname="web01",
        attempt=1,
        state=run.state,
        reason="",
        want=run.want,
        grant=run.grant,
        instance=run.instance,
        start_by=START_BY,
        settled=run.settled,
        created_at=0.0,
        priority=0,
        task_seq=1,
    )


def _stored(run: Run) -> StoreRun:
    return StoreRun(run.state, run.want, run.grant, run.instance, run.settled)


def _agent(store: Store) -> Agent:
    return Agent(
        id="a",
        key="",
        hostname="web01",
        ip=[],
        labels={},
        facts={},
        version="",
        machine="",
        instance=store.instance,
        past_instances=list(store.past),
        slots=1,
        standing=Standing.ENROLLED,
        granted=store.granted,
        acked=store.acked,
    )


def _with_agent(store: Store, agent: Agent) -> Store:
    return store._replace(
        granted=agent.granted,
        acked=agent.acked,
        instance=agent.instance,
        past=tuple(agent.past_instances),
    )


def _with_task(store: Store, task: Task) -> Store:
    counts = tuple(getattr(task, state.lower()) for state in STATES)
    return store._replace(task=task.state, stop=task.stop, counts=counts)


def _held_one(run: int, stage: str) -> messages.Held:
    return messages.Held(run=str(run), attempt=1, stage=decide.Stage(stage))


# ---- the agent's records


def instance_of(disk: Disk) -> str:
    return f"i{disk.boot}.{disk.journal}"


def _entry(index: int, stored: JournalEntry) -> Entry:
    return Entry(
        run=str(index),
        attempt=1,
        grant=stored.grant,
        instance=stored.instance,
        start_by=START_BY,
        void=stored.void,
        cause=stored.cause,
    )


def _finding(world: World, index: int) -> decide.Finding:
    """What the agent thinks of a run that it holds: what is on disk, and what it did itself."""
    stored, place = world.disk.entries[index], world.places[index]
    assert stored is not None
    finding = find(stored, look(place), instance_of(world.disk))
    if world.agent is not None:
        if world.agent.void[index]:
            return decide.Finding.NEVER_STARTED
        if finding is decide.Finding.READY and world.agent.asked[index]:
            return decide.Finding.LIVE
    return finding


@lru_cache(None)
def look(place: Place) -> RunDirectory:
    return RunDirectory(
        mark=place.mark,
        locked=place.supervisor,
        alive=place.script,
        exited=place.exit is not None,
    )


def find(stored: JournalEntry, directory: RunDirectory, instance: str) -> decide.Finding:
    return decide.recover(_entry(0, stored), directory, instance)


def verdict_of(world: World, index: int) -> decide.Verdict | None:
    """What the agent would report of the run; None: it has not ended."""
    stored, place = world.disk.entries[index], world.places[index]
    assert stored is not None
    match _finding(world, index):
        case decide.Finding.ENDED:
            assert place.exit is not None
            killed = place.exit is not Cause.EXIT
            code = 143 if killed else 0
            exit = ExitRecord(cause=place.exit, code=code, killed=killed)
            return decide.result_of(_entry(index, stored), exit)
        case decide.Finding.NEVER_STARTED:
            return decide.never_started(stored.cause)
        case decide.Finding.UNKNOWN:
            return decide.unknown(look(place))
        case _:
            return None


# ---- steps


class Model:
    """All steps that a world can take next."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.verbs = Verbs(setting)

    def calm_steps(self, world: World) -> Iterator[Step]:
        """What happens by itself, the more pressing first."""
        yield from self._process_steps(world)
        yield from self._deliveries(world)
        yield from self._agent_steps(world)
        yield from self._master_steps(world)

    def faults(self, world: World) -> Iterator[Step]:
        for name, left in zip(Budget._fields, world.budget, strict=True):
            if left:
                paid = world._replace(budget=world.budget._replace(**{name: left - 1}))
                fault: Callable[[World], Iterator[Step]] = getattr(self, f"_{name}")
                yield from fault(paid)

    # -- deliveries

    def _deliveries(self, world: World) -> Iterator[Step]:
        for message in world.net:
            rest = world._replace(net=world.net - {message})
            yield from self._delivery(("deliver", message), rest, message)

    def _delivery(self, name: What, world: World, message: Any) -> Iterator[Step]:
        if isinstance(message, TO_MASTER):
            if world.master is not None:
                yield name, self._at_master(world, message)
        elif world.agent is not None and not any(world.agent.todo):
            yield name, self._at_agent(world, world.agent, message)

    def _at_master(self, world: World, message: Any) -> World:
        memory = world.master
        assert memory is not None
        match message:
            case Register():
                session = _new_session(world)
                world = world._replace(master=Memory(session=session))
                return _send(world, Registered(session))
            case Result():
                store = self.verbs.finish(world.store, message, _now(world))
                return _send(world._replace(store=store), Ack(message.run))
        current = None if memory.session is None else str(memory.session)
        if not handout.session_is_current(str(message.session), current):
            return _send(world, Again(message.session))
        if isinstance(message, DoneList):
            store = self.verbs.settle(world.store, message, _now(world))
            return world._replace(store=store)
        return self._judge(world._replace(master=memory._replace(parked=message)))

    def _judge(self, world: World) -> World:
        """Judge the parked poll; it stays parked if there is nothing to say."""
        assert world.master is not None and world.master.parked is not None
        judged = self.verbs.poll(world.store, world.master.parked, _now(world))
        if isinstance(judged, str):
            raise Violated(f"quarantined: {judged}")
        store, work = judged
        world = world._replace(store=store)
        if not work.grants and not work.words:
            return world
        world = world._replace(master=world.master._replace(parked=None))
        return _send(world, work)

    def _at_agent(self, world: World, agent: Process, message: Any) -> World:
        match message:
            case Registered(session):
                return world._replace(agent=agent._replace(session=session))
            case Again(session):
                if session != agent.session:
                    return world
                return world._replace(agent=agent._replace(session=None))
            case Ack(run):
                return world._replace(agent=agent._replace(acked=_set(agent.acked, run, True)))
        return self._follow(world, agent, message)

    def _follow(self, world: World, agent: Process, work: Work) -> World:
        """The agent's way with an answer: journal, then note what is to be done."""
        accepted = decide.accept(
            messages.Work(session=str(work.session), grants=_grants(work), words=_words(work)),
            session=str(agent.session),
            hw=world.disk.hw,
            held={(str(i), 1) for i, entry in enumerate(world.disk.entries) if entry},
            instance=instance_of(world.disk),
            boot_now=_boot_now(world),
        )
        if accepted.hw is not None:
            world = world._replace(disk=_journal(world.disk, accepted))
        todo = list(agent.todo)
        for entry in accepted.void:
            todo[int(entry.run)] = Todo("stop", entry.cause or Cause.SKIP)
        for entry in accepted.start:
            todo[int(entry.run)] = Todo("start")
        for word in accepted.words:
            if word.kind is WordKind.RECALL:
                if agent.session is not None:
                    world = _send(world, _done_list(world.disk, agent.session, word))
            elif word.run is not None:
                todo[int(word.run)] = self._obey(world, word, todo[int(word.run)])
        return world._replace(agent=agent._replace(todo=tuple(todo)))

    def _obey(self, world: World, word: messages.Word, todo: Todo | None) -> Todo | None:
        stored = world.disk.entries[int(word.run or 0)]
        if stored is None:
            return todo
        if word.kind is WordKind.STOP:
            return Todo("stop", word.cause)
        if _finding(world, int(word.run or 0)) is not decide.Finding.READY:
            return todo
        return self._leave(world, int(word.run or 0), stored, decide.Leave.GO)

    def _leave(
        self, world: World, index: int, stored: JournalEntry, leave: decide.Leave
    ) -> Todo | None:
        entry = _entry(index, stored)
        if decide.may_start(entry, instance_of(world.disk), _boot_now(world), leave):
            return Todo("start")
        return None if leave is decide.Leave.FOUND else Todo("stop", Cause.SKIP)

    # -- the agent

    def _agent_steps(self, world: World) -> Iterator[Step]:
        agent = world.agent
        if agent is None:
            yield "start agent", self._born(world)
            return
        for index, todo in enumerate(agent.todo):
            if todo is not None:
                yield f"{todo.verb} {index}", self._act(world, agent, index, todo)
            elif _start_failed(world, agent, index):
                again = _set(agent.todo, index, Todo("stop", Cause.SKIP))
                yield f"give up {index}", world._replace(agent=agent._replace(todo=again))
        if agent.session is None:
            if not _under_way(world, Register, Registered):
                yield "register", _send(world, Register(instance_of(world.disk)))
            return
        yield from self._results(world, agent)
        if not any(agent.todo):
            yield from self._prunes(world, agent)
            if not _awaits_answer(world, agent.session):
                yield from self._poll_step("poll", world, agent.session)

    def _poll_step(self, name: str, world: World, session: int) -> Iterator[Step]:
        held, free = self._held(world)
        poll = Poll(session, instance_of(world.disk), world.disk.hw, free, held)
        parked = None if world.master is None else world.master.parked
        if poll != parked and poll not in world.net:
            yield name, _send(world, poll)

    def _held(self, world: World) -> tuple[tuple[tuple[int, str], ...], int]:
        """What the poll lists, and how many slots are free."""
        entries, findings = {}, {}
        for index, stored in enumerate(world.disk.entries):
            if stored is not None:
                key = (str(index), 1)
                entries[key] = _entry(index, stored)
                findings[key] = _finding(world, index)
        listed = decide.held(entries, findings)
        free = decide.free_slots(self.setting.slots, listed, has_room=True)
        return tuple((int(held.run), held.stage.value) for held in listed), free

    def _born(self, world: World) -> World:
        """A new agent process takes over what it finds; what is being killed is killed on."""
        todo: list[Todo | None] = []
        for index, stored in enumerate(world.disk.entries):
            finding = None if stored is None else _finding(world, index)
            if stored is None or finding is None:
                todo.append(None)
            elif finding is decide.Finding.TO_VOID:
                todo.append(Todo("stop", stored.cause))
            elif finding is decide.Finding.READY:
                todo.append(self._leave(world, index, stored, decide.Leave.FOUND))
            elif finding is decide.Finding.LIVE and stored.cause is not None:
                todo.append(Todo("kill", stored.cause))
            else:
                todo.append(None)
        none = (False,) * len(todo)
        agent = Process(
            todo=tuple(todo), acked=none, asked=none, void=none, late=world.store.cancelled
        )
        return world._replace(agent=agent)

    def _act(self, world: World, agent: Process, index: int, todo: Todo) -> World:
        place = world.places[index]
        rest = world._replace(agent=agent._replace(todo=_set(agent.todo, index, None)))
        if todo.verb == "start":
            field = "late_requests" if agent.late else "requests"
            more = place._replace(**{field: getattr(place, field) + 1})
            asked = agent._replace(
                todo=_set(agent.todo, index, None), asked=_set(agent.asked, index, True)
            )
            return _placed(rest._replace(agent=asked), index, more)
        if todo.verb == "note":
            stored = world.disk.entries[index]
            assert stored is not None
            return _entered(rest, index, stored._replace(cause=stored.cause or todo.cause))
        if todo.verb == "kill":
            return _placed(rest, index, place._replace(killing=todo.cause))
        return self._stop(world, rest, agent, index, todo.cause or Cause.SKIP)

    def _stop(self, world: World, rest: World, agent: Process, index: int, cause: Cause) -> World:
        place, stored = world.places[index], world.disk.entries[index]
        if stored is None:
            return rest
        made_void = place.mark is None and place.exit is None
        if made_void:
            rest = _placed(rest, index, place._replace(mark=Mark.VOID))
        match decide.on_stop(cause, made_void=made_void, mark=place.mark):
            case decide.Stopping.KILL:
                journalled = stored._replace(cause=stored.cause or cause)
                todo = _set(agent.todo, index, Todo("kill", journalled.cause))
                rest = rest._replace(agent=agent._replace(todo=todo))
                return _entered(rest, index, journalled)
            case decide.Stopping.NEVER_STARTED:
                # From here on the agent believes it, whatever the mark says.
                note = _set(agent.todo, index, Todo("note", cause))
                void = _set(agent.void, index, True)
                return rest._replace(agent=agent._replace(todo=note, void=void))
            case _:
                return rest

    def _results(self, world: World, agent: Process) -> Iterator[Step]:
        for index, stored in enumerate(world.disk.entries):
            if stored is None or agent.acked[index] or agent.todo[index] is not None:
                continue
            verdict = verdict_of(world, index)
            if verdict is None or _under_way(world, Result, Ack):
                continue
            result = Result(index, stored.grant, verdict.state, verdict.cause)
            yield f"result {index}", _send(world, result)

    def _prunes(self, world: World, agent: Process) -> Iterator[Step]:
        for index, stored in enumerate(world.disk.entries):
            if stored is None:
                continue
            place = world.places[index]
            free = decide.may_prune(
                acknowledged=agent.acked[index],
                output_done=True,
                locked=place.supervisor,
                swept=not place.script,
            )
            verdict = verdict_of(world, index)
            if free and verdict is not None:
                disk = world.disk._replace(
                    done=_set(world.disk.done, index, Done(stored.grant, verdict.state))
                )
                pruned = _entered(world._replace(disk=disk), index, None)
                gone = place._replace(mark=None, exit=None, killing=None)
                pruned = pruned._replace(agent=_forgotten(agent, index))
                yield f"prune {index}", _placed(pruned, index, gone)

    # -- supervisors and scripts

    def _process_steps(self, world: World) -> Iterator[Step]:
        for index, place in enumerate(world.places):
            for field in ("requests", "late_requests"):
                if getattr(place, field):
                    yield f"mark {index}", _placed(world, index, _at_mark(world, index, field))
            if place.script and place.supervisor:
                yield f"end {index}", _placed(world, index, _ended(place, Cause.EXIT))
                if place.killing is not None:
                    yield f"die {index}", _placed(world, index, _ended(place, place.killing))
            elif place.script:
                ended = place._replace(script=False, ended=Cause.EXIT)
                yield f"end {index}, unseen", _placed(world, index, ended)

    # -- the master

    def _master_steps(self, world: World) -> Iterator[Step]:
        if world.master is None:
            yield "start master", world._replace(master=Memory())
            return
        if world.master.parked is not None:
            woken = self._judge(world)
            if woken != world:
                yield "wake", woken
        if world.late:
            store = self.verbs.expire(world.store, _now(world))
            if store != world.store:
                yield "expire", world._replace(store=store)
        if world.late == 1:
            yield "late for the agent", world._replace(late=2)
        if world.store.hold and world.store.granted >= world.disk.hw:
            yield "release", world._replace(store=world.store._replace(hold=False))

    # -- faults; the budget is paid already

    def _lose(self, world: World) -> Iterator[Step]:
        for message in world.net:
            yield ("LOSE", message), world._replace(net=world.net - {message})

    def _repeat(self, world: World) -> Iterator[Step]:
        for message in world.net:
            yield from self._delivery(("REPEAT", message), world, message)

    def _impatient(self, world: World) -> Iterator[Step]:
        agent = world.agent
        if agent is not None and agent.session is not None and not any(agent.todo):
            yield from self._poll_step("IMPATIENT poll", world, agent.session)

    def _kill_agent(self, world: World) -> Iterator[Step]:
        if world.agent is not None:
            yield "KILL AGENT", _without_agent(world)

    def _kill_master(self, world: World) -> Iterator[Step]:
        if world.master is not None:
            yield "KILL MASTER", world._replace(master=None)

    def _kill_supervisor(self, world: World) -> Iterator[Step]:
        for index, place in enumerate(world.places):
            if place.supervisor:
                dead = place._replace(supervisor=False, killing=None)
                yield f"KILL SUPERVISOR {index}", _placed(world, index, dead)
            if place.requests:
                dead = place._replace(requests=place.requests - 1)
                yield f"KILL SUPERVISOR {index} early", _placed(world, index, dead)

    def _reboot(self, world: World) -> Iterator[Step]:
        world = _without_agent(world)
        disk = world.disk._replace(boot=world.disk.boot + 1)
        down = tuple(_powered_off(place) for place in world.places)
        yield "REBOOT", world._replace(disk=disk, places=down)
        bare = tuple(place._replace(mark=None) for place in down)
        if bare != down:
            yield "REBOOT, marks lost", world._replace(disk=disk, places=bare)

    def _wipe(self, world: World) -> Iterator[Step]:
        world = _without_agent(world)
        nothing = (None,) * len(world.places)
        boot, journal = world.disk.boot + 1, world.disk.journal + 1
        disk = Disk(entries=nothing, done=nothing, boot=boot, journal=journal)
        down = (_powered_off(place) for place in world.places)
        places = tuple(place._replace(mark=None, exit=None) for place in down)
        yield "WIPE", world._replace(disk=disk, places=places)

    def _forget(self, world: World) -> Iterator[Step]:
        gone = [done.grant for done in world.disk.done if done is not None]
        if gone:
            disk = world.disk._replace(
                done=(None,) * len(world.places), floor=max(world.disk.floor, *gone)
            )
            yield "FORGET", world._replace(disk=disk)

    def _reconnect(self, world: World) -> Iterator[Step]:
        if world.agent is not None and world.agent.session is not None:
            agent = world.agent._replace(session=None)
            yield "RECONNECT", world._replace(agent=agent)

    def _cancel(self, world: World) -> Iterator[Step]:
        if world.master is not None and world.store.task not in ENDED_TASK:
            store = self.verbs.cancel(world.store, _now(world))
            yield "CANCEL", world._replace(store=store)

    def _silence(self, world: World) -> Iterator[Step]:
        if world.master is not None:
            store = self.verbs.silence(world.store, _now(world))
            if store != world.store:
                yield "SILENCE", world._replace(store=store)

    def _late(self, world: World) -> Iterator[Step]:
        if world.late == 0:
            yield "LATE", world._replace(late=1)

    def _restore(self, world: World) -> Iterator[Step]:
        """A backup is free, and only one is kept; bringing it back is the fault."""
        if world.backup is None:
            unpaid = world.budget._replace(restore=world.budget.restore + 1)
            yield "BACKUP", world._replace(backup=world.store, budget=unpaid)
        elif world.store != world.backup:
            store = world.backup._replace(restored=True)
            yield "RESTORE", world._replace(store=store, backup=None, master=None)


# ---- small changes of a world


T = TypeVar("T")


def _set(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _send(world: World, message: Any) -> World:
    return world._replace(net=world.net | {message})


def _under_way(world: World, *kinds: type) -> bool:
    return any(isinstance(message, kinds) for message in world.net)


def _start_failed(world: World, agent: Process, index: int) -> bool:
    """The supervisor that was asked for is gone, and there is no mark; the agent sees both."""
    place = world.places[index]
    gone = not place.requests and not place.late_requests
    return (
        agent.asked[index]
        and gone
        and place.mark is None
        and place.exit is None
        and (world.disk.entries[index] is not None)
    )


def _awaits_answer(world: World, session: int) -> bool:
    """Is a poll of this session under way, or the answer to it?"""
    return any(
        isinstance(message, (Poll, Work, Again)) and message.session == session
        for message in world.net
    )


def _placed(world: World, index: int, place: Place) -> World:
    return world._replace(places=_set(world.places, index, place))


def _entered(world: World, index: int, stored: JournalEntry | None) -> World:
    entries = _set(world.disk.entries, index, stored)
    return world._replace(disk=world.disk._replace(entries=entries))


def _without_agent(world: World) -> World:
    """An agent's death closes its sockets: what was on its way to it is gone."""
    kept = frozenset(message for message in world.net if isinstance(message, TO_MASTER))
    return world._replace(agent=None, net=kept)


def _powered_off(place: Place) -> Place:
    ended = Cause.LOST if place.script else place.ended
    return place._replace(
        requests=0, late_requests=0, supervisor=False, script=False, killing=None, ended=ended
    )


def _at_mark(world: World, index: int, field: str) -> Place:
    """A supervisor takes the lock, then tries the mark; without a directory or the mark it quits."""
    place = world.places[index]
    place = place._replace(**{field: getattr(place, field) - 1})
    if place.mark is not None or place.exit is not None or world.disk.entries[index] is None:
        return place
    return place._replace(
        mark=Mark.STARTED,
        supervisor=True,
        script=True,
        starts=place.starts + 1,
        broke_cancel=place.broke_cancel or field == "late_requests",
    )


def _forgotten(agent: Process, index: int) -> Process:
    return agent._replace(
        acked=_set(agent.acked, index, False),
        asked=_set(agent.asked, index, False),
        void=_set(agent.void, index, False),
    )


def _ended(place: Place, how: Cause) -> Place:
    """The script ends, its supervisor writes the exit and lets go."""
    return place._replace(script=False, supervisor=False, killing=None, exit=how, ended=how)


def _journal(disk: Disk, accepted: decide.Accepted) -> Disk:
    entries = list(disk.entries)
    for entry in accepted.entries:
        entries[int(entry.run)] = JournalEntry(entry.grant, entry.instance, entry.void, entry.cause)
    assert accepted.hw is not None
    first = min((entry.grant for entry in accepted.entries), default=accepted.hw)
    # A journal whose first number is not 1 knows that there was one before it.
    floor = max(disk.floor, first - 1) if disk.hw == 0 else disk.floor
    return disk._replace(entries=tuple(entries), hw=accepted.hw, floor=floor)


def _done_list(disk: Disk, session: int, word: messages.Word) -> DoneList:
    asked = None if word.run is None else int(word.run)
    records = tuple(
        (index, done)
        for index, done in enumerate(disk.done)
        if done is not None and (index == asked or (asked is None and done.grant > word.since))
    )
    return DoneList(session, disk.hw, disk.floor, records, asked)


def _grants(work: Work) -> list[messages.Grant]:
    return [
        messages.Grant(
            run=str(run),
            attempt=1,
            grant=number,
            instance=instance,
            start_in=START_BY,
            void=cause is not None,
            cause=cause,
        )
        for run, number, instance, cause in work.grants
    ]


def _words(work: Work) -> list[messages.Word]:
    return [
        messages.Word(
            kind=kind, run=None if run is None else str(run), attempt=1, cause=cause, since=since
        )
        for kind, run, cause, since in work.words
    ]


def _new_session(world: World) -> int:
    """The least number that nobody has in mind; sessions are only compared."""
    used = {getattr(message, "session", None) for message in world.net}
    if world.agent is not None:
        used.add(world.agent.session)
    if world.master is not None:
        used.add(world.master.session)
    return next(number for number in range(len(used) + 1) if number not in used)


def _now(world: World) -> float:
    return 200.0 if world.late else 10.0


def _boot_now(world: World) -> float:
    return 300.0 if world.late == 2 else 0.0


# ---- what must hold


class Violated(Exception):
    """A promise that is broken in a world that can be reached."""


def check(world: World, setting: Setting) -> None:
    """Raise Violated if the world breaks a promise."""
    for index, place in enumerate(world.places):
        _check_run(world, index, place)
    _check_counters(world.store)
    alive = sum(
        place.script and run.state is not RunState.UNKNOWN
        for place, run in zip(world.places, world.store.runs, strict=True)
    )
    if setting.parallel and alive > setting.parallel:
        raise Violated(f"{alive} runs are alive, {setting.parallel} may be")


def _check_run(world: World, index: int, place: Place) -> None:
    run = world.store.runs[index]
    if place.starts > 1:
        raise Violated(f"run {index} was started twice")
    if place.broke_cancel and world.store.cancelled:
        raise Violated(f"run {index} was started by an agent process born after its cancel")
    if run.state is RunState.SUCCEED and place.ended is not Cause.EXIT:
        raise Violated(f"run {index} is SUCCEED and has not ended well")
    if world.store.restored:
        return  # what was lost with the store may be contradicted by a later cancel or expiry
    if run.state is RunState.SKIPPED and place.starts:
        raise Violated(f"run {index} is SKIPPED, and it was started")
    if run.state is RunState.CANCELLED and place.starts and place.ended in (None, Cause.EXIT):
        raise Violated(f"run {index} is CANCELLED, and it lives or ended by itself")


def _check_counters(store: Store) -> None:
    if sum(store.counts) != len(store.runs) or min(store.counts) < 0:
        raise Violated(f"the counters {store.counts} do not sum up to {len(store.runs)}")
    if store.task in ENDED_TASK:
        return  # its counters stay as they were when it ended
    for state, number in zip(STATES, store.counts, strict=True):
        if number != sum(run.state is state for run in store.runs):
            raise Violated(f"{number} runs are counted as {state}")


def at_rest(world: World) -> bool:
    """Everything has ended and is known to have, also to the agent."""
    return (
        world.store.task in ENDED_TASK
        and all(run.state in ENDED_RUN for run in world.store.runs)
        and not any(world.disk.entries)
        and not world.net
    )


def check_at_rest(world: World) -> None:
    """Raise Violated if something is called unknown that the agent could have told."""
    for index, (run, done) in enumerate(zip(world.store.runs, world.disk.done, strict=True)):
        if run.state is RunState.UNKNOWN and done and done.state is not RunState.UNKNOWN:
            raise Violated(f"run {index} stays UNKNOWN, and its agent knows it was {done.state}")
