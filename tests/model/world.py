"""One master, one agent, and all that can go wrong between them, in a form that can be searched.

What decides is the real code: master/handout.py, master/outcome.py and agent/decide.py. What is
modelled is what they decide about: what is on which disk, what is only in memory, what is under
way. Here is what there is; tests/model/steps.py says what can happen to it, with the master's
part in master_side.py and the agent's in agent_side.py, and promises.py what must hold.

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

from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from agent.records import Mark
from wire.states import Cause, RunState, Stop, TaskState, Want, WordKind

START_BY = 100.0
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
    """The next thing to do about a run.

    start; stop: try for the mark; void: the same for what was just accepted; note: journal why it
    was made void; kill.
    """

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
    hw: int
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


# ---- small changes of a world


T = TypeVar("T")


def put(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])


def send(world: World, message: Any) -> World:
    return world._replace(net=world.net | {message})


def under_way(world: World, *kinds: type) -> bool:
    return any(isinstance(message, kinds) for message in world.net)


def placed(world: World, index: int, place: Place) -> World:
    return world._replace(places=put(world.places, index, place))


def entered(world: World, index: int, stored: JournalEntry | None) -> World:
    entries = put(world.disk.entries, index, stored)
    return world._replace(disk=world.disk._replace(entries=entries))


def without_agent(world: World) -> World:
    """An agent's death closes its sockets: what was on its way to it is gone."""
    kept = frozenset(message for message in world.net if isinstance(message, TO_MASTER))
    return world._replace(agent=None, net=kept)


def powered_off(place: Place) -> Place:
    ended = Cause.LOST if place.script else place.ended
    return place._replace(
        requests=0, late_requests=0, supervisor=False, script=False, killing=None, ended=ended
    )


def new_session(world: World) -> int:
    """The least number that nobody has in mind; sessions are only compared."""
    used = {getattr(message, "session", None) for message in world.net}
    if world.agent is not None:
        used.add(world.agent.session)
    if world.master is not None:
        used.add(world.master.session)
    return next(number for number in range(len(used) + 1) if number not in used)


def now_of(world: World) -> float:
    return 200.0 if world.late else 10.0


def boot_now_of(world: World) -> float:
    return 300.0 if world.late == 2 else 0.0
