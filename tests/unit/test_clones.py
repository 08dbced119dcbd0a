"""Is a copied identity always noticed, and nothing else ever taken for one? Every order is tried.

A world is small: what the master heard, processes that live, and packets under way. Processes of
one identity follow each other; a copy is a second line of them, beside the first.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from master.clones import REMEMBERED, Lives, registered, spoke

Session = tuple[int, str]  # a number that is never given twice, and whose nonce it was given to
Packet = tuple[str, str | Session]  # ("register", nonce) or ("speak", session)


MOST_REGISTERS = 4


class World(NamedTuple):
    """`lines`: for each host with the identity, the number of its process. `away`: none lives.

    `sessions`: what each living process holds. `net`, `answers`: on their way to and fro.
    """

    lives: Lives
    current: Session | None
    given: int
    lines: tuple[int, ...]
    away: tuple[bool, ...]
    sessions: tuple[Session | None, ...]
    net: frozenset[Packet]
    answers: frozenset[Session]
    faults: int


def begin(hosts: int, faults: int) -> World:
    """All processes live, and none has registered."""
    nobody = (None,) * hosts
    return World(
        Lives(), None, 0, (0,) * hosts, (False,) * hosts, nobody, frozenset(), frozenset(), faults
    )


def nonce_of(world: World, host: int) -> str:
    return f"{host}.{world.lines[host]}"


class Quarantined(Exception):
    """The master has found two processes."""


def put(values: tuple, place: int, value: object) -> tuple:
    return (*values[:place], value, *values[place + 1 :])


Deliver = Callable[[World, Packet], World]


def deliver(world: World, packet: Packet) -> World:
    """What the master makes of a packet."""
    what = packet[1]
    if isinstance(what, str):
        session = (world.given + 1, what)
        return world._replace(
            lives=registered(world.lives, what),
            current=session,
            given=session[0],
            answers=world.answers | {session},
        )
    if what != world.current:
        return world
    lives = spoke(world.lives)
    if lives is None:
        raise Quarantined
    return world._replace(lives=lives)


def hasty_at_register(world: World, packet: Packet) -> World:
    """A master that does not wait until somebody has the session of an outlived process."""
    if packet[0] == "register" and packet[1] in world.lives.done:
        raise Quarantined
    return deliver(world, packet)


def hasty_at_messages(world: World, packet: Packet) -> World:
    """A master that does not ask when the session of an outlived process was given."""
    if packet[0] == "speak" and packet[1][1] in world.lives.done:
        raise Quarantined
    return deliver(world, packet)


def steps(world: World, deliver: Deliver = deliver) -> Iterator[World]:
    for host in range(len(world.lines)):
        yield from steps_of(world, host)
    for packet in world.net:
        rest = world._replace(net=world.net - {packet})
        yield deliver(rest, packet)
        if world.faults:
            yield rest._replace(faults=world.faults - 1)  # it is lost
            yield deliver(world, packet)._replace(faults=world.faults - 1)  # it comes again
    for session in world.answers:
        rest = world._replace(answers=world.answers - {session})
        yield rest  # lost, or for a process that is dead
        for host in range(len(world.lines)):
            if not world.away[host] and nonce_of(world, host) == session[1]:
                yield rest._replace(sessions=put(world.sessions, host, session))
    if world.faults:  # a new master, which remembers nothing
        yield world._replace(lives=Lives(), current=None, faults=world.faults - 1)


def steps_of(world: World, host: int) -> Iterator[World]:
    """A process registers at any time (it reconnects), speaks under what it has, dies, is born."""
    if world.away[host]:
        born = put(world.lines, host, world.lines[host] + 1)
        yield world._replace(lines=born, away=put(world.away, host, False))
        return
    if world.given + len(world.net) < MOST_REGISTERS:
        yield world._replace(net=world.net | {("register", nonce_of(world, host))})
    if (session := world.sessions[host]) is not None:
        yield world._replace(net=world.net | {("speak", session)})
    if world.faults:
        yield world._replace(
            away=put(world.away, host, True),
            sessions=put(world.sessions, host, None),
            faults=world.faults - 1,
        )


def reachable(first: World, deliver: Deliver = deliver, most: int = 1_000_000) -> Iterator[World]:
    """All worlds, those that take the fewest steps first; at most so many."""
    seen, todo = {first}, deque([first])
    while todo:
        world = todo.popleft()
        yield world
        try:
            after = set(steps(world, deliver)) - seen
        except Quarantined:
            if len(world.lines) == 1:
                raise
            continue
        if len(seen) < most:
            seen |= after
            todo.extend(after)


def turn(world: World, host: int) -> World:
    """A living process goes on as agents do: it speaks, is told to register, and speaks anew."""
    session = world.sessions[host]
    if session is None or session != world.current:
        world = deliver(world, ("register", nonce_of(world, host)))
        session = world.current
        world = world._replace(sessions=put(world.sessions, host, session))
    assert session is not None
    return deliver(world, ("speak", session))


def test_one_identity_on_one_host_is_never_taken_for_two():
    """Restarts, late, lost and repeated packets, reconnects, a new master: in any order."""
    worlds = sum(1 for _ in reachable(begin(hosts=1, faults=2)))
    assert worlds > 10_000


@pytest.mark.parametrize("hasty", [hasty_at_register, hasty_at_messages])
def test_without_either_half_of_the_rule_a_late_packet_would_be_taken_for_a_copy(hasty):
    with pytest.raises(Quarantined):
        for _ in reachable(begin(hosts=1, faults=1), hasty):
            pass


def test_two_hosts_with_one_identity_are_found_out_wherever_they_begin():
    """At the latest in the third turn of one of them, whatever happened before."""
    found = 0
    for world in reachable(begin(hosts=2, faults=1), most=10_000):
        if not any(world.away):
            found += 1
            with pytest.raises(Quarantined):
                for host in (0, 1, 0, 1, 0):
                    world = turn(world, host)
    assert found > 1_000


def heard(*nonces: str) -> Lives:
    """Each registers and speaks."""
    lives = Lives()
    for nonce in nonces:
        spoken = spoke(registered(lives, nonce))
        assert spoken is not None
        lives = spoken
    return lives


def test_a_restart_is_no_clone():
    lives = heard(*(f"process {number}" for number in range(100)))
    assert len(lives.done) == REMEMBERED


def test_two_that_take_turns_are_found_at_the_third():
    assert spoke(registered(heard("one", "two"), "one")) is None


def test_an_agent_that_names_no_process_is_never_suspected():
    assert spoke(registered(heard("", "new"), "")) is not None


def test_many_that_register_and_say_nothing_take_no_more_room():
    lives = Lives()
    for number in range(1_000):
        lives = registered(lives, str(number))
    assert len(lives.others) <= REMEMBERED
