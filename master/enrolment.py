"""Who may speak to the master? Agents, web servers, tokens of people, and the words that let in.

Functions over one transaction; the secrets themselves are never stored.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from master import audit, joining
from master.audit import Act
from master.changes import Enrolled, Seen
from master.ledger import bury_agent
from master.records import Agent
from master.rows import AgentRow, to_json
from master.state import STANDING_MOVES
from master.transaction import Tx
from wire.errors import Conflict, NotFound, Pending, Refusal, Refused
from wire.keys import fingerprint
from wire.messages import Register
from wire.states import Standing

MOST_PENDING = 1_000  # hosts that wait to be accepted


# ---- agents


def enrol(tx: Tx, key: str, register: Register, act: Act) -> Enrolled:
    """A known key says what it is now; an unknown one needs a join token of role agent."""
    known = tx.row("agent_by_key", key=key)
    if known is None:
        return _admit(tx, key, register, act)
    agent = _agent(tx, known[0])
    if agent.id != register.id:
        raise Conflict(f"this key belongs to agent {agent.id}, not to {register.id}")
    if agent.standing not in (Standing.ENROLLED, Standing.PENDING):
        raise refusal_of(agent)
    if register.machine != agent.machine:
        return _two_machines(tx, agent)
    updated = _as_said(agent, register)
    if updated != agent:
        tx.put(updated)
    return Enrolled(updated, created=False)


def refusal_of(agent: Agent) -> Refusal:
    """Why an agent is not served, and what to do about it."""
    match agent.standing:
        case Standing.PENDING:
            return Pending(
                f"agent {agent.id} waits until an admin accepts it; the fingerprint of its key is "
                f"{fingerprint(agent.key)}"
            )
        case Standing.DELETED:
            advice = "to join anew, run mschedule-agent --new-identity"
        case _:
            advice = "an admin can re-enrol it"
    reason = f" ({agent.reason})" if agent.reason else ""
    return Refused(f"agent {agent.id} is {agent.standing}{reason}; {advice}")


def _as_said(agent: Agent, register: Register) -> Agent:
    """What the host says of itself. A hostname other than the accepted one is only a claim."""
    pending = agent.standing is Standing.PENDING
    hostname = register.hostname if pending else agent.hostname
    return replace(
        agent,
        hostname=hostname,
        claimed_hostname=None if register.hostname == hostname else register.hostname,
        ip=register.ip,
        facts=register.facts,
        version=register.version,
        slots=register.slots,
        machine=register.machine,
    )


def _two_machines(tx: Tx, agent: Agent) -> Enrolled:
    """The identity was copied, or the host became another one: either way it needs a new id."""
    if agent.standing is Standing.PENDING:
        raise Refused(
            f"agent {agent.id} waits to be accepted, and two machines use its key: run "
            "mschedule-agent --new-identity on one of them"
        )
    reason = "another machine registered with this agent's key"
    act = audit.of_system("agent.quarantine")
    changed = bury_agent(tx, agent.id, Standing.QUARANTINED, reason, act)
    return Enrolled(_agent(tx, agent.id), created=False, changed=changed)


def _admit(tx: Tx, key: str, register: Register, act: Act) -> Enrolled:
    """By a join token: as a new agent, or with a new key for the one that the token names."""
    given = joining.use(tx, register.token, "agent")
    if tx.row("peer", key=key) is not None:
        raise Conflict("this key belongs to a web server")
    if given.agent is not None:
        rekeyed = _rekey(tx, key, register, given)
        act = replace(act, action="agent.rekey")
        audit.append(tx, act, f"agent:{rekeyed.id}", host=rekeyed.hostname, join_token=given.name)
        return Enrolled(rekeyed, created=False, rekeyed=True)
    if tx.agent(register.id) is not None:
        raise Conflict(
            f"agent {register.id} is enrolled with another key: this host was copied from it, or "
            "its key was replaced; run mschedule-agent --new-identity to join as a new one"
        )
    added = _add_agent(tx, key, register, given)
    audit.append(
        tx,
        act,
        f"agent:{added.id}",
        host=added.hostname,
        labels=added.labels,
        standing=added.standing,
        join_token=given.name,
    )
    return Enrolled(added, created=True)


def _add_agent(tx: Tx, key: str, register: Register, given: joining.Pass) -> Agent:
    standing = Standing.PENDING if given.by_hand else Standing.ENROLLED
    if given.by_hand:
        _check_room(tx)
    tx.execute(
        "insert_agent",
        id=register.id,
        key=key,
        hostname=register.hostname,
        ip=to_json(register.ip),
        labels=given.labels,
        facts=to_json(register.facts),
        version=register.version,
        machine=register.machine,
        instance=register.instance,
        slots=register.slots,
        standing=standing,
        joined_by=given.name,
        now=tx.now,
    )
    tx.reread()
    return _agent(tx, register.id)


def _check_room(tx: Tx) -> None:
    row = tx.row("count_pending_agents")
    if row is not None and row[0] >= MOST_PENDING:
        raise Conflict(f"{MOST_PENDING} hosts wait to be accepted already; an admin must decide")


def _rekey(tx: Tx, key: str, register: Register, given: joining.Pass) -> Agent:
    """The key that the agent had is nobody's from now on, whoever has a copy of it."""
    if given.agent != register.id:
        raise Conflict(
            f"this join string gives a new key to agent {given.agent}, and this is {register.id}"
        )
    agent = tx.agent(register.id)
    if agent is None or not may_have_new_key(agent.standing):
        raise Conflict(f"agent {register.id} can have no new key: it was deleted, or waits")
    tx.execute("rekey_agent", id=agent.id, key=key)
    tx.reread()
    rekeyed = replace(
        _as_said(_agent(tx, agent.id), register),
        standing=Standing.ENROLLED,
        reason="",
        # It had been replaced by its copy, and is not a past one any more.
        past_instances=[one for one in agent.past_instances if one != register.instance],
    )
    tx.put(rekeyed)
    return rekeyed


def may_have_new_key(standing: Standing) -> bool:
    return standing is Standing.ENROLLED or (
        standing is not Standing.PENDING and (standing, Standing.ENROLLED) in STANDING_MOVES
    )


def accept(tx: Tx, id: str, act: Act) -> Agent:
    """A host that waits is one of the fleet; repeating it changes nothing. Raises Conflict."""
    agent = _known(tx, id)
    if agent.standing is Standing.ENROLLED:
        return agent
    if agent.standing is not Standing.PENDING:
        raise Conflict(f"agent {id} is {agent.standing}: only a host that waits can be accepted")
    tx.put(replace(agent, standing=Standing.ENROLLED))
    audit.append(tx, act, f"agent:{id}", host=agent.hostname, key=fingerprint(agent.key))
    return _agent(tx, id)


def accept_hostname(tx: Tx, id: str, hostname: str, act: Act) -> Agent:
    """It is the host's name from now on. What it calls itself now, the hub knows better."""
    agent = _known(tx, id)
    tx.put(replace(agent, hostname=hostname, claimed_hostname=None))
    audit.append(tx, act, f"agent:{id}", host=hostname, before=agent.hostname)
    return _agent(tx, id)


def _known(tx: Tx, id: str) -> AgentRow:
    agent = tx.agent(id)
    if agent is None or agent.standing is Standing.DELETED:
        raise NotFound(f"no agent has the id {id}")
    return agent


def _agent(tx: Tx, id: str) -> AgentRow:
    agent = tx.agent(id)
    assert agent is not None
    return agent


def touch(tx: Tx, seen: Mapping[str, Seen]) -> None:
    rows = [(id, one.at, one.claimed, to_json(one.ip)) for id, one in seen.items()]
    tx.execute("touch_agents", rows=to_json(rows))
    tx.reread()


def set_labels(tx: Tx, labels: Mapping[str, Mapping[str, str | None]], act: Act) -> list[str]:
    """The ids of the agents that were changed; all of them or none."""
    agents = {id: tx.agent(id) for id in labels}
    unknown = [id for id, one in agents.items() if one is None or one.standing is Standing.DELETED]
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
            audit.append(
                tx, act, f"agent:{id}", host=agent.hostname, labels=kept, before=agent.labels
            )
    return changed
