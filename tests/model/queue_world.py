"""One item of a queue and two hosts that may take it: what both sides know, and what is said.

The master's part goes through the real decisions. A host here does what its protocol says: it
takes grants with higher numbers in their order, runs them, and repeats a result until that is
acknowledged.
"""

from typing import NamedTuple

from master import handout, outcome, queue_claim
from master.books import Change, is_open
from master.handout import Earlier, Sent
from master.queue_retry import attempt_id
from master.records import Agent, Attempt, Item, Queue, Run, Task
from tests.factories import NOW, START_BY, make_agent, make_result, make_run, make_task
from wire.messages import Held, Poll
from wire.states import ENDED_RUN, RunState, Stage, TaskState

MAX_ATTEMPTS = 2
COUNTED = tuple(RunState)
ONE_WAITS = tuple(int(state is RunState.WAITING) for state in COUNTED)


class RunRow(NamedTuple):
    state: RunState
    attempt: int
    tries: int
    agent: int
    grant: int | None
    instance: str | None
    settled: bool
    due: bool


class AttemptRow(NamedTuple):
    attempt: int
    agent: int
    grant: int
    instance: str
    state: str
    told: bool


class AgentRow(NamedTuple):
    granted: int = 0
    acked: int = 0
    instance: str = "i0"
    past: tuple[str, ...] = ()


class Store(NamedTuple):
    run: RunRow | None = None
    attempts: tuple[AttemptRow, ...] = ()
    agents: tuple[AgentRow, AgentRow] = (AgentRow(), AgentRow())
    task: TaskState = TaskState.WAITING
    counts: tuple[int, ...] = ONE_WAITS
    taken: int = 0
    retry: bool = False


class Entry(NamedTuple):
    """What a journal has of an attempt. `end` None: it is live."""

    attempt: int
    grant: int
    end: RunState | None = None


class Host(NamedTuple):
    hw: int = 0
    entries: tuple[Entry, ...] = ()
    boot: int = 0


class Message(NamedTuple):
    """poll, answer or result, on its way between the master and one of the hosts."""

    kind: str
    host: int
    hw: int = 0  # of a poll
    boot: int = 0
    held: tuple[tuple[int, Stage], ...] = ()
    grants: tuple[tuple[int, int, str, bool], ...] = ()  # attempt, number, instance, void
    stops: tuple[int, ...] = ()
    entry: Entry | None = None  # of a result


# ---- the master's verbs


def poll(store: Store, said: Message) -> tuple[Store, Message]:
    """A look: judge, then claim for a host that has one slot."""
    host = said.host
    asked = Poll(
        session="",
        instance=f"i{said.boot}",
        hw=said.hw,
        free=int(not any(stage is Stage.LIVE for _, stage in said.held)),
        held=[Held("r", attempt, stage) for attempt, stage in said.held],
    )
    run, agent = _run(store), _agent(store, host)
    own = [] if run is None or run.agent != agent.id else [run]
    if not said.held:
        own = [one for one in own if is_open(one)]
    held = {attempt for attempt, _ in said.held}
    unknown = (one for one in store.attempts if one.agent == host)
    earlier = [
        Earlier(_attempt(one), run)
        for one in unknown
        if run is not None and (one.attempt in held or one.grant > max(said.hw, agent.acked))
    ]
    judged = handout.judge_poll(
        agent,
        own,
        {"t1": _task(store)},
        asked,
        NOW,
        queues={"t1": _queue(store)},
        earlier=earlier,
    )
    if judged.quarantine is not None:
        return store, Message("answer", host)
    store = _put(store, judged.change)
    store, claimed = _claim(store, host, asked, judged.places)
    grants = tuple(_granted(sent) for sent in (*judged.sent, *claimed))
    stops = tuple(word.attempt for word in judged.words if word.kind == "stop")
    return store, Message("answer", host, grants=grants, stops=stops)


def _claim(store: Store, host: int, asked: Poll, places: int) -> tuple[Store, list[Sent]]:
    task, queue, agent, run = _task(store), _queue(store), _agent(store, host), _run(store)
    alive = int(run is not None and run.agent == agent.id and run.state is RunState.RUNNING)
    may = queue_claim.may_take(task, queue, agent, asked.instance, alive, NOW)
    if not places or not may:
        return store, []
    if run is None:
        taken = queue_claim.take_item(task, queue, agent, Item(0, 1, "item"), "r", NOW)
    elif run.state is RunState.WAITING and not asked.held:
        taken = queue_claim.take_again(task, queue, agent, run, 1, NOW)
    else:
        return store, []
    assert taken is not None
    change = Change(
        agent=taken.agent, tasks=(taken.task,), runs=(taken.run,), queues=(taken.queue,)
    )
    return _put(store, change), [Sent(run=taken.run)]


def _granted(sent: Sent) -> tuple[int, int, str, bool]:
    assert sent.run.grant is not None and sent.run.instance is not None
    return sent.run.attempt, sent.run.grant, sent.run.instance, sent.cause is not None


def result(store: Store, said: Message) -> Store:
    run, entry = _run(store), said.entry
    assert run is not None and entry is not None and entry.end is not None
    task, queue, agent = _task(store), _queue(store), f"a{said.host}"
    told = make_result(entry.end, run="r", attempt=entry.attempt, grant=entry.grant)
    change: Change | None = None
    if outcome.is_of_present(run, agent, entry.attempt):
        change = outcome.finish(task, run, told, NOW, queue)
    else:
        for one in store.attempts:
            if (one.attempt, one.agent) == (entry.attempt, said.host):
                change = outcome.finish_earlier(task, queue, run, _attempt(one), told, NOW)
    return store if change is None else _put(store, change)


def lapse(store: Store) -> Store | None:
    """The host of the run is not heard of for as long as its task says; None: none has it."""
    run = _run(store)
    if run is None:
        return None
    agent = _agent(store, int(run.agent[1:]))
    change = outcome.lose_run(_task(store), agent, run, 0.0, NOW, _queue(store))
    return None if change is None else _put(store, change)


# ---- records and rows


def _task(store: Store) -> Task:
    counted = {state.lower(): count for state, count in zip(COUNTED, store.counts, strict=True)}
    fields = {"state": store.task, "mode": "queue", "lost_after": 1.0, "parallel": 1}
    return make_task(1, **(counted | fields))


def _queue(store: Store) -> Queue:
    return Queue(
        id="t1",
        task_seq=1,
        name="default",
        batch=1,
        rate=None,
        burst=1,
        tokens=1.0,
        tokens_at=NOW,
        per_agent=0,
        agents_max=0,
        max_attempts=MAX_ATTEMPTS,
        retry_pause=0.0,
        retry_codes=None,
        items=1,
        taken=store.taken,
        retry_at=NOW if store.retry else None,
    )


def _run(store: Store) -> Run | None:
    row = store.run
    if row is None:
        return None
    return make_run(
        "r",
        state=row.state,
        attempt=row.attempt,
        tries=row.tries,
        agent=f"a{row.agent}",
        grant=row.grant,
        instance=row.instance,
        settled=row.settled,
        due_at=NOW if row.due else None,
    )


def _agent(store: Store, host: int) -> Agent:
    row = store.agents[host]
    return make_agent(
        id=f"a{host}",
        granted=row.granted,
        acked=row.acked,
        instance=row.instance,
        past_instances=list(row.past),
    )


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        id=attempt_id("r", row.attempt),
        run="r",
        task="t1",
        attempt=row.attempt,
        agent=f"a{row.agent}",
        hostname="",
        grant=row.grant,
        instance=row.instance,
        start_by=START_BY,
        state=row.state,
        reason="",
        told=row.told,
    )


def _put(store: Store, change: Change) -> Store:
    assert not change.sweeps
    for run in change.runs:
        store = store._replace(run=_run_row(run))
    rows = {row.attempt: row for row in store.attempts}
    for one in change.attempts:
        rows[one.attempt] = AttemptRow(
            one.attempt, int(one.agent[1:]), one.grant, one.instance, one.state, one.told
        )
    store = store._replace(attempts=tuple(rows[key] for key in sorted(rows)))
    for task in change.tasks:
        counts = tuple(getattr(task, state.lower()) for state in COUNTED)
        store = store._replace(task=task.state, counts=counts)
    for queue in change.queues:
        store = store._replace(taken=queue.taken, retry=queue.retry_at is not None)
    return store if change.agent is None else _with_agent(store, change.agent)


def _run_row(run: Run) -> RunRow:
    return RunRow(
        run.state,
        run.attempt,
        run.tries,
        int(run.agent[1:]),
        run.grant,
        run.instance,
        run.settled,
        run.due_at is not None,
    )


def _with_agent(store: Store, agent: Agent) -> Store:
    row = AgentRow(agent.granted, agent.acked, agent.instance, tuple(agent.past_instances))
    first, second = store.agents
    return store._replace(agents=(row, second) if agent.id == "a0" else (first, row))


def has_ended(store: Store) -> bool:
    return store.run is not None and store.run.state in ENDED_RUN
