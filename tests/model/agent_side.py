"""The agent's part of a World: what it makes of an answer, of its disk, and of its own death.

As agent/runs.py does it, with the real decisions. What it has decided to do it does in steps, so
that it can be killed between any two of them.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from agent import decide
from agent.decide import Finding, Leave, Stopping
from agent.executor import ExitRecord
from agent.records import Entry, Mark, RunDirectory
from tests.model.world import (
    START_BY,
    Ack,
    Again,
    Disk,
    Done,
    DoneList,
    JournalEntry,
    Place,
    Poll,
    Process,
    Register,
    Registered,
    Result,
    Step,
    Todo,
    Work,
    World,
    boot_now_of,
    entered,
    placed,
    put,
    send,
    under_way,
)
from wire import messages
from wire.states import Cause, Stage, WordKind

Listed = tuple[tuple[int, str], ...]

# What a run is when there is still something to stop.
STOPPABLE = (Finding.READY, Finding.TO_VOID, Finding.LIVE, Finding.ORPHANED)


def agent_steps(world: World, slots: int) -> Iterator[Step]:
    """What the agent does next, the more pressing first."""
    agent = world.agent
    if agent is None:
        yield "start agent", _born(world)
        return
    for index, todo in enumerate(agent.todo):
        if todo is not None:
            yield f"{todo.verb} {index}", _act(world, agent, index, todo)
        elif _start_failed(world, agent, index):
            yield f"give up {index}", _planned(world, agent, index, Todo("stop", Cause.SKIP))
    if agent.session is None:
        if not under_way(world, Register, Registered):
            yield "register", send(world, Register(instance_of(world.disk)))
        return
    yield from _results(world, agent)
    if not any(agent.todo):
        yield from _prunes(world, agent)
        if not _awaits_answer(world, agent.session):
            yield from poll_step("poll", world, agent.session, slots)


def poll_step(name: str, world: World, session: int, slots: int) -> Iterator[Step]:
    """Poll, unless that would say nothing new."""
    listed, free = _held(world, slots)
    poll = Poll(session, instance_of(world.disk), world.disk.hw, free, listed)
    parked = None if world.master is None else world.master.parked
    if poll != parked and poll not in world.net:
        yield name, send(world, poll)


def receive(world: World, agent: Process, message: Any) -> World:
    """A message has reached the agent."""
    match message:
        case Registered(session):
            return world._replace(agent=agent._replace(session=session))
        case Again(session):
            if session != agent.session:
                return world
            return world._replace(agent=agent._replace(session=None))
        case Ack(run):
            return world._replace(agent=agent._replace(acked=put(agent.acked, run, True)))
    return _follow(world, agent, message)


def instance_of(disk: Disk) -> str:
    return f"i{disk.boot}.{disk.journal}"


# ---- an answer


def _follow(world: World, agent: Process, work: Work) -> World:
    """Journal what was granted, then note what is to be done."""
    accepted = decide.accept(
        _work(work),
        session=str(agent.session),
        hw=world.disk.hw,
        held={(str(index), 1) for index, stored in enumerate(world.disk.entries) if stored},
        instance=instance_of(world.disk),
        boot_now=boot_now_of(world),
    )
    if accepted.hw is not None:
        world = world._replace(disk=_journalled(world.disk, accepted, accepted.hw))
    todo = list(agent.todo)
    for entry in accepted.void:
        todo[int(entry.run)] = Todo("void", entry.cause)
    for entry in accepted.start:
        todo[int(entry.run)] = Todo("start")
    for word in accepted.words:
        if word.kind is WordKind.RECALL:
            if agent.session is not None:
                world = send(world, _done_list(world.disk, agent.session, word))
        elif word.run is not None:
            todo[int(word.run)] = _obey(world, word, int(word.run), todo[int(word.run)])
    return world._replace(agent=agent._replace(todo=tuple(todo)))


def _obey(world: World, word: messages.Word, index: int, todo: Todo | None) -> Todo | None:
    stored = world.disk.entries[index]
    if stored is None:
        return todo
    if word.kind is WordKind.STOP:
        return Todo("stop", word.cause)
    if finding_of(world, index) is not Finding.READY:
        return todo
    return _leave(world, index, stored, Leave.GO)


def _leave(world: World, index: int, stored: JournalEntry, leave: Leave) -> Todo | None:
    instance, boot_now = instance_of(world.disk), boot_now_of(world)
    if decide.may_start(_entry(index, stored), instance, boot_now, leave):
        return Todo("start")
    return None if leave is Leave.FOUND else Todo("stop", Cause.SKIP)


def _journalled(disk: Disk, accepted: decide.Accepted, hw: int) -> Disk:
    entries = list(disk.entries)
    for entry in accepted.entries:
        entries[int(entry.run)] = JournalEntry(entry.grant, entry.instance, entry.void, entry.cause)
    first = min([hw, *(entry.grant for entry in accepted.entries)])
    # A journal whose first number is not 1 knows that there was one before it.
    floor = max(disk.floor, first - 1) if disk.hw == 0 else disk.floor
    return disk._replace(entries=tuple(entries), hw=hw, floor=floor)


def _done_list(disk: Disk, session: int, word: messages.Word) -> DoneList:
    asked = None if word.run is None else int(word.run)
    records = tuple(
        (index, done)
        for index, done in enumerate(disk.done)
        if done is not None and (index == asked or (asked is None and done.grant > word.since))
    )
    return DoneList(session, disk.hw, disk.floor, records, asked)


# ---- doing it


def _act(world: World, agent: Process, index: int, todo: Todo) -> World:
    match todo.verb:
        case "start":
            return _start(world, agent, index)
        case "kill":
            return _kill(_planned(world, agent, index, None), index, todo.cause)
        case "note":
            return _noted(_planned(world, agent, index, None), index, todo.cause)
        case "stop" if not _stoppable(world, index):
            return _planned(world, agent, index, None)
        case _:
            return _stop(world, agent, index, todo.cause or Cause.SKIP)


def _start(world: World, agent: Process, index: int) -> World:
    place = world.places[index]
    field = "late_requests" if agent.late else "requests"
    more = place._replace(**{field: getattr(place, field) + 1})
    agent = agent._replace(asked=put(agent.asked, index, True))
    return placed(_planned(world, agent, index, None), index, more)


def _stop(world: World, agent: Process, index: int, cause: Cause) -> World:
    """Try for the mark, then do as decided."""
    place, rest = world.places[index], _planned(world, agent, index, None)
    made_void = place.mark is None
    if made_void:
        rest = placed(rest, index, place._replace(mark=Mark.VOID))
    match decide.on_stop(cause, made_void=made_void, mark=place.mark):
        case Stopping.KILL:
            noted = _noted(rest, index, cause)
            stored = noted.disk.entries[index]
            first_cause = cause if stored is None else stored.cause
            return _planned(noted, agent, index, Todo("kill", first_cause))
        case Stopping.NEVER_STARTED:
            # From here on the agent believes it, whatever the mark says.
            believing = agent._replace(void=put(agent.void, index, True))
            return _planned(rest, believing, index, Todo("note", cause))
        case _:
            return rest


def _stoppable(world: World, index: int) -> bool:
    """Does the agent think that there is something to stop? It may not have seen the end yet."""
    if world.disk.entries[index] is None:
        return False
    return world.places[index].mark is Mark.STARTED or finding_of(world, index) in STOPPABLE


def _kill(world: World, index: int, cause: Cause | None) -> World:
    place = world.places[index]
    return placed(world, index, place._replace(killing=cause)) if place.supervisor else world


def _noted(world: World, index: int, cause: Cause | None) -> World:
    """Journal why a run is stopped; the first cause stays."""
    stored = world.disk.entries[index]
    if stored is None:
        return world
    return entered(world, index, stored._replace(cause=stored.cause or cause))


def _planned(world: World, agent: Process, index: int, todo: Todo | None) -> World:
    return world._replace(agent=agent._replace(todo=put(agent.todo, index, todo)))


def _start_failed(world: World, agent: Process, index: int) -> bool:
    """The supervisor that was asked for is gone, and there is no mark; the agent sees both."""
    place = world.places[index]
    if world.disk.entries[index] is None or not agent.asked[index]:
        return False
    gone = not place.requests and not place.late_requests
    return gone and place.mark is None and place.exit is None


# ---- a new process


def _born(world: World) -> World:
    """It takes over what it finds; what is being killed is killed on."""
    todo = [_found(world, index) for index in range(len(world.places))]
    none = (False,) * len(todo)
    agent = Process(todo=tuple(todo), acked=none, asked=none, void=none, late=world.store.cancelled)
    return world._replace(agent=agent)


def _found(world: World, index: int) -> Todo | None:
    stored = world.disk.entries[index]
    if stored is None:
        return None
    match finding_of(world, index):
        case Finding.TO_VOID:
            return Todo("void", stored.cause)
        case Finding.READY:
            return _leave(world, index, stored, Leave.FOUND)
        case Finding.LIVE if stored.cause is not None:
            return Todo("kill", stored.cause)
        case _:
            return None


# ---- telling


def _awaits_answer(world: World, session: int) -> bool:
    """Is a poll of this session under way, or the answer to it?"""
    return any(
        isinstance(message, (Poll, Work, Again)) and message.session == session
        for message in world.net
    )


def _held(world: World, slots: int) -> tuple[Listed, int]:
    """What the poll lists, and how many slots are free."""
    entries, findings = {}, {}
    for index, stored in enumerate(world.disk.entries):
        if stored is not None:
            key = (str(index), 1)
            entries[key] = _entry(index, stored)
            findings[key] = finding_of(world, index)
    listed = decide.held(entries, findings)
    free = decide.free_slots(slots, listed, has_room=True)
    return tuple((int(held.run), Stage(held.stage).value) for held in listed), free


def _results(world: World, agent: Process) -> Iterator[Step]:
    if under_way(world, Result, Ack):
        return
    for index, stored in enumerate(world.disk.entries):
        if stored is None or agent.acked[index] or agent.todo[index] is not None:
            continue
        verdict = _verdict_of(world, index, stored)
        if verdict is not None:
            result = Result(index, stored.grant, world.disk.hw, verdict.state, verdict.cause)
            yield f"result {index}", send(world, result)


def _prunes(world: World, agent: Process) -> Iterator[Step]:
    """The done record goes in and the entry out in one sync; then the directory goes."""
    for index, stored in enumerate(world.disk.entries):
        if stored is None:
            continue
        place, verdict = world.places[index], _verdict_of(world, index, stored)
        free = decide.may_prune(
            acknowledged=agent.acked[index],
            output_done=True,
            locked=place.supervisor,
            swept=not place.script,
        )
        if free and verdict is not None:
            done = put(world.disk.done, index, Done(stored.grant, verdict.state))
            pruned = world._replace(disk=world.disk._replace(done=done))
            pruned = entered(pruned, index, None)._replace(agent=_forgotten(agent, index))
            gone = place._replace(mark=None, exit=None, killing=None)
            yield f"prune {index}", placed(pruned, index, gone)


def _forgotten(agent: Process, index: int) -> Process:
    return agent._replace(
        acked=put(agent.acked, index, False),
        asked=put(agent.asked, index, False),
        void=put(agent.void, index, False),
    )


# ---- its records


def finding_of(world: World, index: int) -> Finding:
    """What the agent thinks of a run that it holds: what is on disk, and what it did itself."""
    stored, agent = world.disk.entries[index], world.agent
    assert stored is not None
    if agent is not None and agent.void[index]:
        return Finding.NEVER_STARTED
    instance = instance_of(world.disk)
    finding = decide.recover(_entry(index, stored), _look(world.places[index]), instance)
    asked = agent is not None and agent.asked[index]
    return Finding.LIVE if asked and finding is Finding.READY else finding


def _verdict_of(world: World, index: int, stored: JournalEntry) -> decide.Verdict | None:
    """What the agent reports of a run; None: it has not ended."""
    place = world.places[index]
    match finding_of(world, index):
        case Finding.ENDED:
            return decide.result_of(_entry(index, stored), _exit_of(place))
        case Finding.NEVER_STARTED:
            return decide.never_started(stored.cause)
        case Finding.UNKNOWN:
            return decide.unknown(_look(place))
        case _:
            return None


@lru_cache(None)
def _look(place: Place) -> RunDirectory:
    return RunDirectory(
        mark=place.mark,
        locked=place.supervisor,
        alive=place.script,
        exited=place.exit is not None,
    )


def _exit_of(place: Place) -> ExitRecord:
    assert place.exit is not None
    killed = place.exit is not Cause.EXIT
    return ExitRecord(cause=place.exit, code=143 if killed else 0, killed=killed)


@lru_cache(None)
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


@lru_cache(None)
def _work(work: Work) -> messages.Work:
    grants = [
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
    words = [
        messages.Word(
            kind=kind, run=None if run is None else str(run), attempt=1, cause=cause, since=since
        )
        for kind, run, cause, since in work.words
    ]
    return messages.Work(session=str(work.session), grants=grants, words=words)
