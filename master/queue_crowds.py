"""Which agents may take from which queues? Agents that may take from the same ones are a crowd.

However many agents and queues there are, they make few crowds, so that a queue that opens, ends or
has something to give is told to some crowds and not to each agent, and an agent finds all that
concerns it in its crowd.
"""

from collections.abc import Collection, Iterable
from itertools import count

from master.queue_line import Line

Names = tuple[str, ...]  # the queues that an agent serves, in its order; (): all


class Waiting:
    """An agent whose poll waits for work. `vain`: queues that gave it nothing though they had
    something: whatever the reason, it is asked for others meanwhile."""

    def __init__(self, free: int, number: int):
        self.free = free
        self.number = number  # who has waited longest has the lowest
        self.vain: set[str] = set()


class Crowd:
    """`lines`: from which its agents may take; `ready`: those that have something to give.
    `idle`: its agents that wait for work, the longest first."""

    def __init__(self, names: Names, members: Iterable[str], lines: Collection[Line]):
        self.names = names
        self.members = set(members)
        self.lines = {line.id: line for line in lines}
        self.ready = {line.id: line for line in lines if line.is_ready}
        self.idle: dict[str, Waiting] = {}

    @property
    def key(self) -> tuple[Names, frozenset[str]]:
        return self.names, frozenset(self.lines)

    def serves(self, line: Line) -> bool:
        return not self.names or line.state.name in self.names

    def levels(self) -> list[list[Line]]:
        """What is ready, by the agents' own order of names, then by priority."""
        ranks = {name: rank for rank, name in enumerate(self.names)}
        levels: dict[tuple[int, int], list[Line]] = {}
        for line in self.ready.values():
            place = ranks.get(line.state.name, 0), -line.task.priority
            levels.setdefault(place, []).append(line)
        return [levels[place] for place in sorted(levels)]


class Crowds:
    """All agents that know of queues, parted by what they may take."""

    def __init__(self) -> None:
        self._names: dict[str, Names] = {}
        self._of: dict[str, Crowd] = {}
        self._of_line: dict[str, set[Crowd]] = {}
        self._by_key: dict[tuple[Names, frozenset[str]], Crowd] = {}
        self._parked = count()

    def of(self, agent: str) -> Crowd | None:
        return self._of.get(agent)

    def agents(self) -> list[str]:
        return list(self._names)

    def names_of(self, agent: str) -> Names | None:
        """None: it knows of no queues, or is not known."""
        return self._names.get(agent)

    # ---- agents

    def came(self, agent: str, names: Names, lines: Iterable[Line]) -> None:
        """An agent, or one that serves other names now."""
        self.went(agent)
        self._names[agent] = names
        self._join(agent, lines)

    def went(self, agent: str) -> None:
        self._names.pop(agent, None)
        crowd = self._of.pop(agent, None)
        if crowd is not None:
            crowd.members.discard(agent)
            crowd.idle.pop(agent, None)
            self._drop_if_empty(crowd)

    def parks(self, agent: str, free: int) -> None:
        """Its poll waits for work; free 0: it could not take any."""
        crowd = self._of.get(agent)
        if crowd is not None:
            crowd.idle.pop(agent, None)
            if free > 0:
                crowd.idle[agent] = Waiting(free, next(self._parked))

    def leaves(self, agent: str) -> Waiting | None:
        """It does not wait any more."""
        crowd = self._of.get(agent)
        return None if crowd is None else crowd.idle.pop(agent, None)

    def waits_again(self, agent: str, waiting: Waiting) -> None:
        """It was asked for nothing. It has had its turn to be asked all the same."""
        crowd = self._of.get(agent)
        if crowd is not None and agent not in crowd.idle:
            waiting.number = next(self._parked)
            crowd.idle[agent] = waiting

    def idle_for(self, line: Line) -> str | None:
        """The agent to be asked for the line: of those that may, who has waited longest."""
        first: tuple[int, str] | None = None
        for crowd in self._of_line.get(line.id, ()):
            found = _first(crowd, line)
            if found is not None and (first is None or found < first):
                first = found
        return None if first is None else first[1]

    # ---- lines

    def add(self, line: Line) -> None:
        """All that may take from it are told. It is in no crowd yet."""
        self._of_line[line.id] = set()
        for crowd in list(self._by_key.values()):
            inside = crowd.members & line.may_take if crowd.serves(line) else None
            if inside:
                self._include(self._part(crowd, inside), line)

    def remove(self, line: Line) -> None:
        for crowd in self._of_line.pop(line.id, ()):
            self._unkey(crowd)
            del crowd.lines[line.id]
            crowd.ready.pop(line.id, None)
            self._rekey(crowd)

    def rivals(self, line: Line) -> set[Line]:
        """Others that have something to give, to some of the same agents."""
        crowds = self._of_line.get(line.id, ())
        return {other for crowd in crowds for other in crowd.ready.values() if other is not line}

    def note_ready(self, line: Line) -> None:
        """The line has something to give, or no more."""
        for crowd in self._of_line.get(line.id, ()):
            if line.is_ready:
                crowd.ready[line.id] = line
            else:
                crowd.ready.pop(line.id, None)

    # ---- below

    def _join(self, agent: str, lines: Iterable[Line]) -> None:
        names = self._names[agent]
        open_to = [line for line in lines if may_take(agent, names, line)]
        key = names, frozenset(line.id for line in open_to)
        crowd = self._by_key.get(key)
        if crowd is None:
            crowd = self._by_key[key] = Crowd(names, (), open_to)
            for line in open_to:
                self._of_line[line.id].add(crowd)
        crowd.members.add(agent)
        self._of[agent] = crowd

    def _part(self, crowd: Crowd, inside: set[str]) -> Crowd:
        """Those of the crowd as one of their own; it is in no place of the index yet."""
        if len(inside) == len(crowd.members):
            self._unkey(crowd)
            return crowd
        part = Crowd(crowd.names, inside, crowd.lines.values())
        part.idle = {agent: one for agent, one in crowd.idle.items() if agent in inside}
        crowd.idle = {agent: one for agent, one in crowd.idle.items() if agent not in inside}
        crowd.members -= inside
        for id in part.lines:
            self._of_line[id].add(part)
        for agent in inside:
            self._of[agent] = part
        return part

    def _include(self, crowd: Crowd, line: Line) -> None:
        crowd.lines[line.id] = line
        self._of_line[line.id].add(crowd)
        if line.is_ready:
            crowd.ready[line.id] = line
        self._rekey(crowd)

    def _unkey(self, crowd: Crowd) -> None:
        if self._by_key.get(crowd.key) is crowd:
            del self._by_key[crowd.key]

    def _rekey(self, crowd: Crowd) -> None:
        """Put it into the index; if another is like it now, they become one."""
        other = self._by_key.setdefault(crowd.key, crowd)
        if other is crowd:
            return
        small, large = sorted((crowd, other), key=lambda one: len(one.members))
        large.members |= small.members
        large.idle = dict(
            sorted((large.idle | small.idle).items(), key=lambda entry: entry[1].number)
        )
        for agent in small.members:
            self._of[agent] = large
        self._forget(small)
        self._by_key[large.key] = large

    def _drop_if_empty(self, crowd: Crowd) -> None:
        if not crowd.members:
            self._unkey(crowd)
            self._forget(crowd)

    def _forget(self, crowd: Crowd) -> None:
        for id in crowd.lines:
            self._of_line[id].discard(crowd)


def may_take(agent: str, names: Names, line: Line) -> bool:
    return agent in line.may_take and (not names or line.state.name in names)


def _first(crowd: Crowd, line: Line) -> tuple[int, str] | None:
    for agent, waiting in crowd.idle.items():
        if line.id not in waiting.vain and line.has_room_on(agent):
            return waiting.number, agent
    return None
