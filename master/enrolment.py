"""Who may speak to the master? Agents, web servers, tokens of people, and the words that let in.

Functions over one transaction; the secrets themselves are never stored.
"""

import hashlib
import secrets
from collections.abc import Mapping

from msgspec.structs import replace

from master.changes import Enrolled, NewSecret, Peer, Seen
from master.ids import new_id
from master.ledger import bury_agent
from master.records import Agent
from master.rows import to_json
from master.transaction import Tx
from wire.errors import Conflict, InvalidValue, NotEnrolled, NotFound, Refused
from wire.messages import Register
from wire.states import Standing

SECRET_BYTES = 32
API, JOIN = "api", "join"
ROLES = {API: ("viewer", "operator", "admin"), JOIN: ("agent", "web")}


# ---- agents


def enrol(tx: Tx, key: str, register: Register) -> Enrolled:
    """A known key says what it is now; an unknown one needs a join token of role agent."""
    known = tx.row("agent_by_key", key=key)
    if known is None:
        return Enrolled(_add_agent(tx, key, register), created=True)
    agent = tx.agent(known[0])
    assert agent is not None
    if agent.id != register.id:
        raise Conflict(f"this key belongs to agent {agent.id}, not to {register.id}")
    if agent.standing is not Standing.ENROLLED:
        raise Refused(f"agent {agent.id} is {agent.standing}")
    if register.machine != agent.machine:
        return _two_machines(tx, agent)
    updated = replace(
        agent,
        hostname=register.hostname,
        ip=register.ip,
        facts=register.facts,
        version=register.version,
        slots=register.slots,
    )
    tx.put(updated)
    return Enrolled(updated, created=False)


def _two_machines(tx: Tx, agent: Agent) -> Enrolled:
    """The identity was copied, or the host became another one: either way it needs a new id."""
    reason = "another machine registered with this agent's key"
    changed = bury_agent(tx, agent.id, Standing.QUARANTINED, reason)
    buried = tx.agent(agent.id)
    assert buried is not None
    return Enrolled(buried, created=False, changed=changed)


def _add_agent(tx: Tx, key: str, register: Register) -> Agent:
    labels = _use_join_token(tx, register.token, "agent")
    if tx.row("peer", key=key) is not None:
        raise Conflict("this key belongs to a web server")
    if tx.agent(register.id) is not None:
        raise Conflict(f"agent {register.id} is enrolled with another key: take a new id")
    tx.execute(
        "insert_agent",
        id=register.id,
        key=key,
        hostname=register.hostname,
        ip=to_json(register.ip),
        labels=labels,
        facts=to_json(register.facts),
        version=register.version,
        machine=register.machine,
        instance=register.instance,
        slots=register.slots,
        now=tx.now,
    )
    tx.forget()
    added = tx.agent(register.id)
    assert added is not None
    return added


def touch(tx: Tx, seen: Mapping[str, Seen]) -> None:
    rows = [(id, one.at, one.hostname, to_json(one.ip)) for id, one in seen.items()]
    tx.execute("touch_agents", rows=to_json(rows))
    tx.forget()


def set_labels(tx: Tx, labels: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """The ids of the agents that were changed; all of them or none."""
    unknown = [id for id in labels if tx.agent(id) is None]
    if unknown:
        shown = ", ".join(unknown[:20])
        raise NotFound(f"no agent has the id {shown}", field="id", details={"unknown": unknown})
    changed = []
    for id, changes in labels.items():
        agent = tx.agent(id)
        assert agent is not None
        merged = {**agent.labels, **changes}
        kept = {name: value for name, value in merged.items() if value is not None}
        if kept != agent.labels:
            tx.put(replace(agent, labels=kept))
            changed.append(id)
    return changed


# ---- secrets


def make_join_token(
    tx: Tx, role: str, label: str, labels: Mapping[str, str], uses: int | None
) -> NewSecret:
    return _make(tx, JOIN, role, label, labels, uses)


def _make(
    tx: Tx, kind: str, role: str, label: str, labels: Mapping[str, str], uses: int | None
) -> NewSecret:
    if role not in ROLES[kind]:
        raise InvalidValue(f"role is {role!r}; it is one of {', '.join(ROLES[kind])}", field="role")
    made = NewSecret(new_id(), secrets.token_urlsafe(SECRET_BYTES))
    tx.execute(
        "insert_token",
        id=made.id,
        kind=kind,
        secret_sha256=hash_of(made.secret),
        role=role,
        label=label,
        labels=to_json(labels),
        uses_left=uses,
        now=tx.now,
    )
    return made


def revoke_token(tx: Tx, id: str) -> None:
    if not tx.execute("revoke_token", id=id, now=tx.now):
        raise NotFound(f"no token has the id {id}")


def add_peer(tx: Tx, key: str, token: str) -> Peer:
    """A web server's key; repeating it with a key that is known uses no token up."""
    if tx.row("agent_by_key", key=key) is not None:
        raise Conflict("this key belongs to an agent")
    known = tx.row("peer", key=key)
    if known is None:
        _use_join_token(tx, token, "web")
        tx.execute("insert_peer", key=key, role="web", label="", now=tx.now)
    elif known[2] is not None:
        raise Refused("this key was revoked")
    return Peer(key, "web")


def _use_join_token(tx: Tx, token: str | None, role: str) -> str:
    """The labels that come with it, as JSON."""
    if token is None:
        raise NotEnrolled(f"this {role} is not enrolled, and no join token came with it")
    used = tx.row("use_token", secret_sha256=hash_of(token), role=role)
    if used is None:
        raise NotEnrolled(f"the join token is not one for a {role}, or was used up or revoked")
    labels: str = used[0]
    return labels


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
