"""The master's part of a World: fetch the records, let the real decisions decide, put the answer.

As the store does it, without a database: one call is one transaction.
"""

from functools import lru_cache
from typing import Any

from master import handout, outcome
from master.books import Change, is_open, swept
from master.records import Agent, Run, Task
from tests.model.world import (
    START_BY,
    STATES,
    DoneList,
    Poll,
    Result,
    Setting,
    Store,
    StoreRun,
    Work,
)
from wire import messages
from wire.states import RunState, Stage, Standing

SPEC = messages.TaskSpec(id="t", script="")


class Verbs:
    """Real records around the real decisions, remembered by their input."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.poll = lru_cache(None)(self._poll)
        self.finish = lru_cache(None)(self._finish)
        self.settle = lru_cache(None)(self._settle)
        self.cancel = lru_cache(None)(self._cancel)
        self.silence = lru_cache(None)(self._silence)
        self.expire = lru_cache(None)(self._expire)

    def _task(self, store: Store) -> Task:
        names = [state.lower() for state in STATES]
        counted: dict[str, Any] = dict(zip(names, store.counts, strict=True))
        return Task(
            id="t",
            seq=1,
            name="",
            state=store.task,
            reason="",
            stop=store.stop,
            created_by="alice",
            created_at=0.0,
            started_at=None,
            ended_at=None,
            parallel=self.setting.parallel,
            fail_count=self.setting.fail_count,
            fail_rate=None,
            on_limit=self.setting.on_limit,
            priority=0,
            offline="wait",
            expires_at=START_BY,
            lost_after=1.0,
            total=len(store.runs),
            **counted,
        )

    def _poll(self, store: Store, poll: Poll, now: float) -> tuple[Store, Work] | str:
        """A poll's transaction: judge, then claim. A string: the agent was quarantined."""
        asked = messages.Poll(
            session=str(poll.session),
            instance=poll.instance,
            hw=poll.hw,
            free=poll.free,
            held=[_held_one(run, stage) for run, stage in poll.held],
        )
        named = {str(run) for run, _ in poll.held}
        runs = [run for run in _runs(store) if is_open(run) or run.id in named]
        judged = handout.judge_poll(
            _agent(store), runs, {"t": self._task(store)}, asked, now, held_back=store.hold
        )
        if judged.quarantine is not None:
            return judged.quarantine
        store = _put(store, judged.change)
        if judged.hold is not None:
            store = store._replace(hold=True)
        store, claimed = self._claim(store, poll.instance, judged.places, now)
        grants = [handout.grant_of(sent, SPEC, now) for sent in (*judged.sent, *claimed)]
        return store, Work(
            session=poll.session,
            grants=tuple((int(g.run), g.grant, g.instance, g.cause) for g in grants),
            words=tuple(
                (w.kind, None if w.run is None else int(w.run), w.cause, w.since)
                for w in judged.words
            ),
        )

    def _claim(
        self, store: Store, instance: str, places: int, now: float
    ) -> tuple[Store, list[handout.Sent]]:
        """In the order of submission, and the other way round after a restore: nothing may rest
        on a new history handing out in the order of the old one."""
        claimed: list[handout.Sent] = []
        if self.setting.one_by_one and not store.restored:
            places = min(places, 1)
        order = reversed(range(len(store.runs))) if store.restored else range(len(store.runs))
        for index in order:
            run = _run(index, store.runs[index])
            if len(claimed) == places:
                break
            taken = handout.claim(self._task(store), _agent(store), run, instance, now)
            if taken is not None:
                task, agent, run = taken
                change = Change(agent=agent, tasks=(task,), runs=(run,))
                store = _put(store, change)
                claimed.append(handout.Sent(run=run))
        return store, claimed

    def _finish(self, store: Store, result: Result, now: float) -> Store:
        said = messages.Result(
            session="",
            hw=result.hw,
            free=0,
            run=str(result.run),
            attempt=1,
            grant=result.grant,
            state=result.state,
            cause=result.cause,
            code=0 if result.state is RunState.SUCCEED else None,
        )
        store = _with_agent(store, outcome.confirmed(_agent(store), result.hw))
        run = _run(result.run, store.runs[result.run])
        change = outcome.finish(self._task(store), run, said, now)
        return store if change is None else _put(store, change)

    def _settle(self, store: Store, done: DoneList, now: float) -> Store:
        said = messages.Done(
            session=str(done.session),
            hw=done.hw,
            floor=done.floor,
            records=[
                messages.DoneRecord(
                    run=str(run), attempt=1, grant=record.grant, state=record.state, code=None
                )
                for run, record in done.records
            ],
            asked=None if done.asked is None else [str(done.asked)],
        )
        runs = _runs(store)
        change = outcome.settle_done(_agent(store), runs, {"t": self._task(store)}, said, now)
        return _put(store, change)

    def _cancel(self, store: Store, now: float) -> Store:
        change = outcome.cancel_task(self._task(store), now)
        store = store if change is None else _put(store, change)
        return store._replace(cancelled=True)

    def _silence(self, store: Store, now: float) -> Store:
        for run in _runs(store):
            change = outcome.lose_run(self._task(store), _agent(store), run, now - 10.0, now)
            if change is not None:
                store = _put(store, change)
        return store

    def _expire(self, store: Store, now: float) -> Store:
        for run in _runs(store):
            current = _run(int(run.id), store.runs[int(run.id)])
            change = outcome.expire_run(self._task(store), _agent(store), current, now)
            if change is not None:
                store = _put(store, change)
        return store


def _runs(store: Store) -> list[Run]:
    return [_run(index, run) for index, run in enumerate(store.runs)]


def _put(store: Store, change: Change) -> Store:
    runs = {run.id: run for run in _runs(store)} | {run.id: run for run in change.runs}
    for sweep in change.sweeps:
        runs = {id: swept(run, sweep) for id, run in runs.items()}
    store = store._replace(runs=tuple(_stored(runs[id]) for id in sorted(runs)))
    for task in change.tasks:
        store = _with_task(store, task)
    return store if change.agent is None else _with_agent(store, change.agent)


def _run(index: int, run: StoreRun) -> Run:
    return Run(
        id=str(index),
        task="t",
        seq=index,
        agent="a",
        hostname="web01",
        attempt=1,
        state=run.state,
        reason="",
        want=run.want,
        grant=run.grant,
        instance=run.instance,
        start_by=START_BY,
        settled=run.settled,
        created_at=0.0,
        priority=0,
        task_seq=1,
    )


def _stored(run: Run) -> StoreRun:
    return StoreRun(run.state, run.want, run.grant, run.instance, run.settled)


def _agent(store: Store) -> Agent:
    return Agent(
        id="a",
        key="",
        hostname="web01",
        ip=[],
        labels={},
        facts={},
        version="",
        machine="",
        instance=store.instance,
        past_instances=list(store.past),
        slots=1,
        standing=Standing.ENROLLED,
        granted=store.granted,
        acked=store.acked,
    )


def _with_agent(store: Store, agent: Agent) -> Store:
    return store._replace(
        granted=agent.granted,
        acked=agent.acked,
        instance=agent.instance,
        past=tuple(agent.past_instances),
    )


def _with_task(store: Store, task: Task) -> Store:
    counts = tuple(getattr(task, state.lower()) for state in STATES)
    return store._replace(task=task.state, stop=task.stop, counts=counts)


def _held_one(run: int, stage: str) -> messages.Held:
    return messages.Held(run=str(run), attempt=1, stage=Stage(stage))
