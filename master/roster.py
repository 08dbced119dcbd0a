"""Who is there? What this master heard of each agent, and under which key it speaks.

Memory of one process: sessions, when an agent was last heard, how busy it is. What
must outlive the process is in the store.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from master import clones
from master.changes import Seen
from master.handout import session_is_current
from master.records import Agent
from master.targets import Fleet, Host
from wire.errors import RegisterAgain
from wire.messages import Heartbeat
from wire.states import AgentState, Standing

STALE_AFTER_BEATS = 2
OFFLINE_AFTER_BEATS = 4
MAX_HEARTBEAT_S = 60.0
BEATS_PER_SECOND = 200  # what all heartbeats together may cost; more agents beat more slowly

_NOBODY = clones.Lives()

AGENT, WEB, STRANGER, REFUSED = "agent", "web", "stranger", "refused"


class Cloned(Exception):
    """Two processes speak with one agent's key, see master/clones.py."""


class Presence(Struct, eq=False):
    """An agent that is not deleted. `heard_at`: the last message, on the master's clock.

    Lists of hosts are made from these beside the hub: a value is replaced, never changed in
    place, and a host that registers anew gets a new Presence.
    """

    id: str
    key: str
    hostname: str
    ip: list[str]
    labels: dict[str, str]
    standing: Standing
    slots: int
    version: str
    facts: bytes  # msgpack: a tenth of what they take as a dict
    heard_at: float
    beat_s: float
    session: str | None = None
    busy: int = 0
    skew_s: float | None = None
    unsaved: bool = False  # heard since the store was last told
    claims: str | None = None  # a hostname that is not accepted
    reason: str = ""  # of a standing other than ENROLLED
    joined_by: str = ""
    lives: clones.Lives = _NOBODY
    has_polled: bool = False  # since this master started, with whatever key or session
    queues: tuple[str, ...] | None = None  # those it serves, in its order; None: it knows of none


class Roster:
    """All agents and web servers by key and by id; `heartbeat_s` is the shortest interval."""

    def __init__(self, heartbeat_s: float):
        self._heartbeat_s = heartbeat_s
        self._agents: dict[str, Presence] = {}
        self._roles: dict[str, tuple[str, str]] = {}
        self._fleet: Fleet | None = None
        self._groups: Mapping[str, str] = {}
        self.names_version = 0  # grows when a host came, or its name changed
        self.listeners: list[Callable[[], None]] = []  # told when expressions may mean others

    # ---- keys

    def role_of(self, key: str) -> tuple[str, str]:
        """(role, id of the agent) for a public key; a key that is not known is a stranger's."""
        return self._roles.get(key, (STRANGER, ""))

    def add_web(self, key: str) -> None:
        self._roles[key] = (WEB, "")

    def is_web(self, key: str) -> bool:
        return self.role_of(key)[0] == WEB

    def forget_web(self, key: str) -> None:
        """From its next call on it is a stranger's."""
        if self.is_web(key):
            del self._roles[key]

    def load(self, agents: Iterable[Agent], web_keys: Iterable[str]) -> None:
        """What the store remembers, at the start."""
        for agent in agents:
            if agent.standing is not Standing.DELETED:
                self._agents[agent.id] = _presence(agent, self._heartbeat_s)
                self._set_role(agent.key, agent.id, agent.standing)
        for key in web_keys:
            self.add_web(key)
        self._changed()
        self.names_version += 1

    # ---- agents

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, id: str) -> bool:
        return id in self._agents

    def get(self, id: str) -> Presence | None:
        return self._agents.get(id)

    def all(self) -> list[Presence]:
        """Every agent of this moment, in no order."""
        return list(self._agents.values())

    def named(self, name: str) -> list[str]:
        """The ids of the agents with this id or hostname."""
        if name in self._agents:
            return [name]
        return [agent.id for agent in self._agents.values() if agent.hostname == name]

    def registered(
        self,
        agent: Agent,
        now: float,
        nonce: str = "",
        queues: Sequence[str] | None = None,
    ) -> str:
        """An agent registered: its new session, which ends the one before.

        `nonce`: of its process. `queues`: see Register. A standing other than ENROLLED has no
        session: "".
        """
        presence = self.update(agent)
        self._heard(presence, now)
        if agent.standing is not Standing.ENROLLED:
            return ""
        presence.lives = clones.registered(presence.lives, nonce)
        presence.session = secrets.token_hex(8)
        presence.queues = None if queues is None else tuple(queues)
        return presence.session

    def rekeyed(self, agent: Agent) -> None:
        """It has a new key: what spoke with the one before is nobody any more."""
        old = self._agents.pop(agent.id, None)
        if old is not None:
            self._roles.pop(old.key, None)
        self.update(agent)

    def update(self, agent: Agent) -> Presence:
        """The agent as the store has it now, without a session."""
        presence = _presence(agent, self.heartbeat_s)
        old = self._agents.get(agent.id)
        if old is not None:
            presence.busy, presence.skew_s, presence.lives = old.busy, old.skew_s, old.lives
            presence.has_polled = old.has_polled
        if old is None or old.hostname != agent.hostname:
            self.names_version += 1
        self._agents[agent.id] = presence
        self._set_role(agent.key, agent.id, agent.standing)
        if old is None or _is_named_otherwise(old, presence):
            self._changed()
        return presence

    def speaks(self, id: str, session: str, now: float) -> Presence:
        """The agent that sent a message under its present session.

        Raises RegisterAgain for another session, Cloned if two hosts use the key.
        """
        presence = self._agents.get(id)
        if presence is None or not session_is_current(session, presence.session):
            raise RegisterAgain
        lives = clones.spoke(presence.lives)
        if lives is None:
            raise Cloned
        presence.lives = lives
        self._heard(presence, now)
        return presence

    def heard_at(self, id: str, now: float) -> float:
        """Since when the agent's silence counts, on the master's clock; 0 if it never was heard.

        Not before it is offline: however short a task's lost_after is, an agent that keeps
        its heartbeats is not lost between two of them.
        """
        presence = self._agents.get(id)
        if presence is None:
            return 0.0
        return presence.heard_at if self.state(id, now) is AgentState.OFFLINE else now

    def polled(self, id: str) -> None:
        """What it says of its hand-outs was compared with the store."""
        presence = self._agents.get(id)
        if presence is not None:
            presence.has_polled = True

    def has_polled(self, id: str) -> bool:
        presence = self._agents.get(id)
        return presence is not None and presence.has_polled

    def free(self, id: str) -> int | None:
        """Slots that the agent said are free; None when it has not said."""
        presence = self._agents.get(id)
        if presence is None or presence.session is None:
            return None
        return max(0, presence.slots - presence.busy)

    def beat(self, heartbeat: Heartbeat, presence: Presence, wall: float) -> float:
        """What a heartbeat says; returns the clock skew, agent minus master, in seconds.

        A hostname other than the accepted one is a claim, until the agent registers otherwise.
        """
        if heartbeat.hostname != presence.hostname:
            if presence.claims is None:
                self._changed()
            presence.claims = heartbeat.hostname
        presence.ip, presence.busy = heartbeat.ip, heartbeat.busy
        presence.skew_s = round(heartbeat.clock - wall, 3)
        presence.beat_s = self.heartbeat_s
        return presence.skew_s

    @property
    def heartbeat_s(self) -> float:
        """The interval agents are told: longer as the fleet grows."""
        grown = len(self._agents) / BEATS_PER_SECOND
        return min(max(self._heartbeat_s, grown), MAX_HEARTBEAT_S)

    def set_labels(self, labels: Mapping[str, Mapping[str, str | None]]) -> None:
        for id, changes in labels.items():
            presence = self._agents[id]
            merged = {**presence.labels, **changes}
            presence.labels = {name: value for name, value in merged.items() if value is not None}
        self._changed()

    def set_standing(self, id: str, standing: Standing, reason: str = "") -> None:
        """Its key counts for that at once, and its session has ended."""
        presence = self._agents.get(id)
        if presence is None:
            return
        presence.standing, presence.reason = standing, reason
        presence.session = None
        self._set_role(presence.key, id, standing)
        self._changed()

    def accept_hostname(self, id: str, hostname: str) -> None:
        presence = self._agents.get(id)
        if presence is None:
            return
        if presence.claims == hostname:
            presence.claims = None
        presence.hostname = hostname
        self.names_version += 1
        self._changed()

    def forget(self, id: str) -> None:
        """It was deleted: no list has it, and its key may only ask to register, in vain."""
        presence = self._agents.pop(id, None)
        if presence is not None:
            del self._roles[presence.key]
            self.names_version += 1
            self._changed()

    def state(self, id: str, now: float) -> AgentState:
        presence = self._agents.get(id)
        return AgentState.OFFLINE if presence is None else state_of(presence, now)

    def seen_since_last(self) -> dict[str, Seen]:
        """Who was heard since the last call, for the store."""
        seen = {}
        for presence in self._agents.values():
            if presence.unsaved:
                presence.unsaved = False
                seen[presence.id] = Seen(presence.heard_at, presence.claims, presence.ip)
        return seen

    def set_groups(self, groups: Mapping[str, str]) -> None:
        """The saved groups, {name: expression}, that expressions may name from now on."""
        self._groups = groups
        self._changed()

    def fleet(self) -> Fleet:
        """The hosts that can be chosen, for resolving expressions."""
        if self._fleet is None:
            self._fleet = Fleet(
                (
                    Host(one.id, one.hostname, one.labels, one.claims)
                    for one in self._agents.values()
                    if one.standing is Standing.ENROLLED
                ),
                self._groups,
            )
        return self._fleet

    def _changed(self) -> None:
        """Expressions may mean other hosts from now on."""
        self._fleet = None
        for listener in self.listeners:
            listener()

    def _heard(self, presence: Presence, now: float) -> None:
        presence.heard_at = now
        presence.unsaved = True

    def _set_role(self, key: str, agent: str, standing: Standing) -> None:
        self._roles[key] = (AGENT if standing is Standing.ENROLLED else REFUSED, agent)


def state_of(presence: Presence, now: float) -> AgentState:
    """How recently the agent was heard of, in its own beats."""
    missed = (now - presence.heard_at) / presence.beat_s
    if presence.session is None or missed > OFFLINE_AFTER_BEATS:
        return AgentState.OFFLINE
    return AgentState.STALE if missed > STALE_AFTER_BEATS else AgentState.ONLINE


def _is_named_otherwise(old: Presence, new: Presence) -> bool:
    return any(
        getattr(old, name) != getattr(new, name)
        for name in ("hostname", "labels", "standing", "claims")
    )


def _presence(agent: Agent, beat_s: float) -> Presence:
    return Presence(
        id=agent.id,
        key=agent.key,
        hostname=agent.hostname,
        ip=agent.ip,
        labels=agent.labels,
        standing=agent.standing,
        slots=agent.slots,
        version=agent.version,
        facts=msgspec.msgpack.encode(agent.facts),
        heard_at=agent.last_seen,
        beat_s=beat_s,
        claims=agent.claimed_hostname,
        reason=agent.reason,
        joined_by=agent.joined_by,
    )
