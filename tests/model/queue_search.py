"""Does a promise about a queue's item break in any order of what may happen to it?

Messages are lost, come twice and overtake each other, hosts fall silent and restart, scripts
succeed and fail. The first trace found is a shortest.
"""

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from tests.model.queue_world import (
    COUNTED,
    MAX_ATTEMPTS,
    AttemptRow,
    Entry,
    Host,
    Message,
    RunRow,
    Store,
    has_ended,
    lapse,
    poll,
    result,
)
from wire.states import ENDED_TASK, RunState, Stage

HOSTS = (0, 1)
ROUNDS_TO_REST = 12


class Faults(NamedTuple):
    """How many of each may still happen."""

    lapses: int = 0
    losses: int = 0
    repeats: int = 0
    boots: int = 0


class World(NamedTuple):
    """`lapsed`: attempts that the master has declared so; all others have a valid lease."""

    store: Store = Store()
    hosts: tuple[Host, Host] = (Host(), Host())
    net: frozenset[Message] = frozenset()
    lapsed: frozenset[int] = frozenset()
    faults: Faults = Faults()


class Violated(Exception):
    """A promise is broken; the message says which."""


class Outcome(NamedTuple):
    worlds: int
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def told(self) -> str:
        steps = "".join(f"\n  {number:3} {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.violation or 'no violation'} ({self.worlds} worlds){steps}"


def search(faults: Faults) -> Outcome:
    """Look at every world within the faults, and whether each can come to rest."""
    return _Search().outcome(World(faults=faults))


class _Search:
    def __init__(self) -> None:
        self._poll = lru_cache(None)(poll)
        self._result = lru_cache(None)(result)

    def outcome(self, first: World) -> Outcome:
        came_from: dict[World, tuple[World, str] | None] = {first: None}
        todo = deque([first])
        calm: set[World] = set()
        while todo:
            world = todo.popleft()
            try:
                check(world)
                self._come_to_rest(world, calm)
                steps = list(self._steps(world))
                for _, after in steps:
                    check_verdict(world, after)
            except Violated as violation:
                return Outcome(len(came_from), str(violation), _trace(came_from, world))
            for name, after in steps:
                if after not in came_from:
                    came_from[after] = (world, name)
                    todo.append(after)
        return Outcome(len(came_from))

    # ---- what may happen

    def _steps(self, world: World) -> Iterator[tuple[str, World]]:
        for host in HOSTS:
            yield from self._of_host(world, host)
        for message in world.net:
            yield from self._of_message(world, message)
        yield from _lapsed(world)

    def _of_host(self, world: World, host: int) -> Iterator[tuple[str, World]]:
        if not any(one.host == host and one.kind in ("poll", "answer") for one in world.net):
            yield f"host {host} polls", _sent(world, _poll_of(world, host))
        for entry in world.hosts[host].entries:
            if entry.end is not None:
                yield f"host {host} tells of attempt {entry.attempt}", _told(world, host, entry)
                continue
            for end in (RunState.SUCCEED, RunState.FAILED):
                yield f"attempt {entry.attempt} is {end}", _ended(world, host, entry, end)
        if world.faults.boots:
            yield f"host {host} restarts", _booted(world, host)

    def _of_message(self, world: World, message: Message) -> Iterator[tuple[str, World]]:
        faults, name = world.faults, f"{message.kind} of host {message.host}"
        gone = world._replace(net=world.net - {message})
        yield f"{name} arrives", self._arrived(gone, message)
        if faults.repeats:
            after = self._arrived(world, message)
            yield f"{name} arrives twice", _spent(after, repeats=faults.repeats - 1)
        if faults.losses:
            yield f"{name} is lost", _spent(gone, losses=faults.losses - 1)
        if faults.losses and message.kind == "result":
            after = _spent(self._recorded(gone, message), losses=faults.losses - 1)
            yield f"{name} arrives, its acknowledgement is lost", after

    def _arrived(self, world: World, message: Message) -> World:
        match message.kind:
            case "poll":
                if message.boot != world.hosts[message.host].boot:
                    return world  # of a session that is no more
                store, answer = self._poll(world.store, message)
                return _sent(world._replace(store=store), answer._replace(boot=message.boot))
            case "answer":
                return _answered(world, message)
            case "result":
                return _acknowledged(self._recorded(world, message), message)
        raise AssertionError(f"no message is a {message.kind}")

    def _recorded(self, world: World, message: Message) -> World:
        return world._replace(store=self._result(world.store, message))

    # ---- rest

    def _come_to_rest(self, world: World, calm: set[World]) -> None:
        """Without further faults everything ends, and nothing stays outstanding."""
        path = []
        for _ in range(ROUNDS_TO_REST):
            if world in calm:
                break
            path.append(world)
            after = self._round(world)
            if after == world:
                check_at_rest(world)
                break
            world = after
        else:
            raise Violated("it never comes to rest")
        calm.update(path)

    def _round(self, world: World) -> World:
        world = self._delivered(world)
        for host in HOSTS:
            world = self._delivered(_sent(world, _poll_of(world, host)))
            for entry in world.hosts[host].entries:
                if entry.end is None:
                    world = _ended(world, host, entry, RunState.SUCCEED)
            for entry in world.hosts[host].entries:
                world = self._delivered(_told(world, host, entry))
        return world

    def _delivered(self, world: World) -> World:
        while world.net:
            message = min(world.net, key=repr)
            world = self._arrived(world._replace(net=world.net - {message}), message)
            check(world)
        return world


# ---- promises


def check(world: World) -> None:
    live = [
        (host, entry.attempt)
        for host in HOSTS
        for entry in world.hosts[host].entries
        if entry.end is None and entry.attempt not in world.lapsed
    ]
    if len(live) > 1:
        raise Violated("two attempts hold a valid lease")
    if live and has_ended(world.store):
        raise Violated("an item that has ended is worked on under a valid lease")
    counts = world.store.counts
    if sum(counts) != 1 or min(counts) < 0:
        raise Violated("the counters do not tell of exactly one item")
    run = world.store.run
    is_counted = run is not None and counts[COUNTED.index(run.state)] == 1
    if run is not None and world.store.task not in ENDED_TASK and not is_counted:
        raise Violated(f"the run is {run.state}, and the counters say another thing")
    if run is not None and run.attempt > MAX_ATTEMPTS:
        raise Violated("the item has had more attempts than it may have")


def check_verdict(before: World, after: World) -> None:
    """An item ends once; only what was UNKNOWN may be told better."""
    if not has_ended(before.store):
        return
    assert before.store.run is not None and after.store.run is not None
    was, now = before.store.run.state, after.store.run.state
    if was is not now and was is not RunState.UNKNOWN:
        raise Violated(f"an item that was {was} became {now}")


def check_at_rest(world: World) -> None:
    if not has_ended(world.store):
        raise Violated("the item was lost: nobody works on it and it has not ended")
    for host in HOSTS:
        if world.hosts[host].entries:
            raise Violated("a host keeps an attempt for ever")
        if _outstanding(world, host):
            raise Violated("a hand-out stays outstanding for ever")


def _outstanding(world: World, number: int) -> bool:
    """Is there one that the host could still accept? What was for an earlier boot is never sent."""
    host, run = world.hosts[number], world.store.run
    given: list[AttemptRow | RunRow] = [*world.store.attempts, *([] if run is None else [run])]
    return any(
        one.agent == number and (one.grant or 0) > host.hw and one.instance == f"i{host.boot}"
        for one in given
    )


# ---- one step


def _sent(world: World, message: Message) -> World:
    return world._replace(net=world.net | {message})


def _spent(world: World, **left: int) -> World:
    return world._replace(faults=world.faults._replace(**left))


def _with_host(world: World, number: int, host: Host) -> World:
    first, second = world.hosts
    return world._replace(hosts=(host, second) if number == 0 else (first, host))


def _poll_of(world: World, number: int) -> Message:
    host = world.hosts[number]
    held = tuple(
        (entry.attempt, Stage.LIVE if entry.end is None else Stage.ENDED) for entry in host.entries
    )
    return Message("poll", number, hw=host.hw, boot=host.boot, held=held)


def _answered(world: World, answer: Message) -> World:
    host = world.hosts[answer.host]
    if answer.boot != host.boot:
        return world
    entries, hw = list(host.entries), host.hw
    for attempt, number, instance, is_void in answer.grants:
        if number <= hw:
            continue
        hw = number
        here = instance == f"i{host.boot}"
        end = RunState.SKIPPED if is_void else None if here else RunState.UNKNOWN
        entries.append(Entry(attempt, number, end))
    for place, entry in enumerate(entries):
        if entry.end is None and entry.attempt in answer.stops:
            entries[place] = entry._replace(end=RunState.CANCELLED)
    return _with_host(world, answer.host, host._replace(hw=hw, entries=tuple(entries)))


def _ended(world: World, number: int, entry: Entry, end: RunState) -> World:
    host = world.hosts[number]
    entries = tuple(entry._replace(end=end) if one == entry else one for one in host.entries)
    return _with_host(world, number, host._replace(entries=entries))


def _told(world: World, number: int, entry: Entry) -> World:
    return _sent(world, Message("result", number, entry=entry))


def _acknowledged(world: World, told: Message) -> World:
    host = world.hosts[told.host]
    entries = tuple(one for one in host.entries if one != told.entry)
    return _with_host(world, told.host, host._replace(entries=entries))


def _booted(world: World, number: int) -> World:
    """What ran died with the host; how it ended nobody knows."""
    host = world.hosts[number]
    entries = tuple(
        one._replace(end=RunState.UNKNOWN) if one.end is None else one for one in host.entries
    )
    host = host._replace(entries=entries, boot=host.boot + 1)
    return _spent(_with_host(world, number, host), boots=world.faults.boots - 1)


def _lapsed(world: World) -> Iterator[tuple[str, World]]:
    if not world.faults.lapses or world.store.run is None:
        return
    store = lapse(world.store)
    if store is not None:
        attempt = world.store.run.attempt
        after = world._replace(store=store, lapsed=world.lapsed | {attempt})
        yield f"attempt {attempt} lapses", _spent(after, lapses=world.faults.lapses - 1)


def _trace(came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    steps: list[str] = []
    before = came_from[world]
    while before is not None:
        steps.append(before[1])
        before = came_from[before[0]]
    return tuple(reversed(steps))
