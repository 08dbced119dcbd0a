"""Which hosts are let in, and which are sent away? What admins do about hosts and join tokens.

Every method runs in a greenlet of its own, for a person that the gate has admitted. What the
store has decided is applied here, on the hub, before the answer: a revoked key is worth
nothing at the next call, also of an open connection.
"""

from collections.abc import Callable, Mapping
from typing import Any

from master.audit import Act
from master.desk import check_label
from master.dispatch import Dispatcher
from master.enrolment import may_have_new_key, refusal_of
from master.joining import JoinToken
from master.live import Live
from master.records import Agent
from master.rights import Person
from master.roster import Roster
from master.storage import Storage
from utils import getLogger, iso
from wire.errors import Conflict, InvalidValue, NotFound
from wire.joining import (
    AT_ONCE,
    BY_HAND,
    AcceptHostname,
    AddJoinToken,
    JoinTokensView,
    JoinTokenView,
    NewJoin,
    RevokeAgent,
)
from wire.requests import ById, JustAuth
from wire.states import Standing
from wire.views import AgentView

log = getLogger(__name__)

MAX_NAME = 100
MAX_REASON = 200
MAX_USES = 1_000_000
MAX_EXPIRES_S = 366 * 86400.0
MAX_LABELS = 64
REENROL_S = 86400.0  # how long a host has to come for its new key


class Admission:
    """Answers the web's calls on the standing of hosts, and on the words that let them in.

    `join(secret, agent)` makes the join string of a token.
    """

    def __init__(
        self,
        storage: Storage,
        roster: Roster,
        dispatcher: Dispatcher,
        live: Live,
        join: Callable[[str, str | None], str],
    ):
        self._storage = storage
        self._roster = roster
        self._dispatcher = dispatcher
        self._live = live
        self._join = join

    # ---- hosts

    def accept_agent(self, person: Person, asked: ById, act: Act) -> AgentView:
        """A host that waits is one of the fleet, as soon as it asks again."""
        agent = self._storage.accept_agent(asked.id, act).wait()
        present = self._roster.get(agent.id)
        if present is None or present.standing is not Standing.ENROLLED:
            self._roster.update(agent)
        log.info(f"agent {agent.id} ({agent.hostname}) accepted by {person.name}")
        return self._view(asked.id)

    def refuse_agent(self, person: Person, asked: ById, act: Act) -> AgentView:
        """A host that waits goes: its key is worth nothing."""
        agent = self._known(asked.id)
        if agent.standing is not Standing.PENDING:
            raise Conflict(f"agent {agent.id} is {agent.standing}: only one that waits is refused")
        return self._send_away(asked.id, Standing.DELETED, f"refused by {person.name}", act)

    def revoke_agent(self, person: Person, asked: RevokeAgent, act: Act) -> AgentView:
        """Its key is worth nothing from the next call on; what it runs becomes UNKNOWN."""
        given = _checked_text("reason", asked.reason, MAX_REASON)
        reason = f"revoked by {person.name}" + (f": {given}" if given else "")
        self._known(asked.id)
        return self._send_away(asked.id, Standing.REVOKED, reason, act)

    def delete_agent(self, person: Person, asked: ById, act: Act) -> AgentView:
        """It is in no list any more, and its name is free; what ran there still names it."""
        self._known(asked.id)
        return self._send_away(asked.id, Standing.DELETED, f"deleted by {person.name}", act)

    def reenrol_agent(self, person: Person, asked: ById, act: Act) -> NewJoin:
        """A join string with which the host gets a new key for the same id.

        Until then everything stays as it is; from then on whoever has the old key is nobody.
        """
        agent = self._known(asked.id)
        if not may_have_new_key(agent.standing):
            raise Conflict(f"agent {agent.id} is {agent.standing}: accept or refuse it first")
        name = f"new key of {agent.hostname}"[:MAX_NAME]
        made = self._storage.make_join_token(
            "agent", name, uses=1, expires_in=REENROL_S, agent=agent.id, act=act
        ).wait()
        log.info(f"a new key for agent {agent.id} ({agent.hostname}) allowed by {person.name}")
        return self._new_join(made.id, made.secret, agent.id)

    def accept_hostname(self, person: Person, asked: AcceptHostname, act: Act) -> AgentView:
        """What a host calls itself becomes its name."""
        agent = self._known(asked.id)
        presence = self._roster.get(asked.id)
        claims = (presence.claims if presence else None) or agent.hostname
        if asked.hostname != claims:
            raise Conflict(
                f"the host calls itself {claims} by now, not {asked.hostname}", field="hostname"
            )
        self._storage.accept_hostname(asked.id, asked.hostname, act).wait()
        self._roster.accept_hostname(asked.id, asked.hostname)
        log.info(f"agent {asked.id} is {asked.hostname} now, accepted by {person.name}")
        return self._view(asked.id)

    def _send_away(self, id: str, standing: Standing, reason: str, act: Act) -> AgentView:
        """The store first: it may say no. Then the key, the parked poll, and everybody else."""
        changed = self._storage.bury_agent(id, standing, reason, act).wait()
        if standing is Standing.DELETED:
            self._roster.forget(id)
        else:
            self._roster.set_standing(id, standing, reason)
        self._dispatcher.refuse(id, refusal_of(self._storage.agent_record(id).wait()))
        self._dispatcher.apply(changed)
        log.warning(f"agent {id} is {standing}: {reason}")
        return self._view(id)

    def _known(self, id: str) -> Agent:
        agent = self._storage.agent_record(id).wait()
        if agent.standing is Standing.DELETED:
            raise NotFound(f"agent {id} was deleted")
        return agent

    def _view(self, id: str) -> AgentView:
        return self._live.agent(self._storage.agent(id).wait())

    # ---- join tokens

    def get_join_tokens(self, person: Person, asked: JustAuth) -> JoinTokensView:
        now = self._live.now()
        return JoinTokensView([_view(token, now) for token in self._storage.join_tokens().wait()])

    def add_join_token(self, person: Person, asked: AddJoinToken, act: Act) -> NewJoin:
        """The join string is seen this once: the store has only the hash of its token."""
        name = _checked_text("name", asked.name, MAX_NAME)
        if not name:
            raise InvalidValue("name is empty; say what the token is for", field="name")
        _check_token(asked)
        made = self._storage.make_join_token(
            "agent",
            name,
            labels=asked.labels,
            uses=asked.uses,
            expires_in=asked.expires_in,
            by_hand=asked.accept == BY_HAND,
            act=act,
        ).wait()
        log.info(f"join token {made.id} ({name}) made by {person.name}")
        return self._new_join(made.id, made.secret, None)

    def remove_join_token(self, person: Person, asked: ById, act: Act) -> dict[str, Any]:
        """Nobody joins by it any more; hosts that have stay."""
        self._storage.remove_join_token(asked.id, act).wait()
        log.info(f"join token {asked.id} deleted by {person.name}")
        return {}

    def _new_join(self, id: str, secret: str, agent: str | None) -> NewJoin:
        now = self._live.now()
        found = [token for token in self._storage.join_tokens().wait() if token.id == id]
        if not found:
            raise Conflict("the join token was deleted as soon as it was made")
        return NewJoin(_view(found[0], now), self._join(secret, agent))


def _view(token: JoinToken, now: float) -> JoinTokenView:
    return JoinTokenView(
        id=token.id,
        name=token.name,
        role=token.role,
        state=_state(token, now),
        labels=token.labels,
        accept=BY_HAND if token.by_hand else AT_ONCE,
        agent=token.agent,
        used=token.used,
        uses_left=token.uses_left,
        created_at=iso(token.created_at) or "",
        created_by=token.created_by,
        expires_at=iso(token.expires_at),
    )


def _state(token: JoinToken, now: float) -> str:
    if token.uses_left is not None and token.uses_left <= 0:
        return "used up"
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    return "good"


def _check_token(asked: AddJoinToken) -> None:
    if asked.uses is not None and not 1 <= asked.uses <= MAX_USES:
        raise InvalidValue(
            f"uses is {asked.uses}; it takes 1 to {MAX_USES}, or none for any number", field="uses"
        )
    if not 1 <= asked.expires_in <= MAX_EXPIRES_S:
        raise InvalidValue(
            f"expires_in is {asked.expires_in:g}; it takes 1 to {MAX_EXPIRES_S:.0f} seconds",
            field="expires_in",
        )
    if asked.accept not in (AT_ONCE, BY_HAND):
        raise InvalidValue(
            f"accept is {asked.accept!r}; it takes {AT_ONCE!r} or {BY_HAND!r}", field="accept"
        )
    _check_labels(asked.labels)


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise InvalidValue(f"labels: at most {MAX_LABELS} of a host", field="labels")
    for name, value in labels.items():
        check_label(name)
        check_label(value)


def _checked_text(field: str, text: str, most: int) -> str:
    stripped = text.strip()
    if len(stripped) > most or not stripped.isprintable():
        raise InvalidValue(
            f"{field} is not printable, or longer than {most} characters", field=field
        )
    return stripped
