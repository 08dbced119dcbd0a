"""How do decisions on runs come into the store? Fetch the records, decide, put what is returned.

The rules are in master/handout.py and master/outcome.py; here is only what they need to
be given and where their answers go. What an agent says is applied to its own runs
alone: any other run is, for it, one that the store does not know.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from master import audit, callbacks, handout, outcome, waves
from master.audit import Act
from master.books import Change, Sweep, swept
from master.changes import Appended, Changed, Finished, Hold, PollAnswer
from master.handout import Judgement, Sent
from master.output import end_of, fit
from master.records import Agent, Run, Task
from master.rolling import rolled
from master.rows import AgentRow, RunRow, TaskRow, to_json
from master.specs import Specs
from master.state import IllegalMove
from master.transaction import CANDIDATES, Tx
from wire.errors import Conflict, Malformed, NotFound
from wire.messages import MAX_CHUNK_BYTES, Done, Output, OutputAnswer, Poll, Result, ResultAnswer
from wire.states import ENDED_RUN, ENDED_TASK, RunState, Standing

HOLD = "hold"  # the name in meta; its value is empty when hand-outs go on
MAX_REASON_CHARACTERS = 2000
MAX_SURVIVORS = 100
CLOCK_SLACK_S = 86400.0  # an agent's clock may be wrong; times beyond this are not believed
SWEPT_AT_ONCE = 500  # runs or tasks that one verb of the sweep takes on; the rest is next


class Effects:
    """Applies changes to the transaction and remembers what the hub has to know of them."""

    def __init__(self, tx: Tx):
        self._tx = tx
        self._tasks: dict[str, Task] = {}
        self._runs: dict[str, Run] = {}
        self._wake: dict[str, None] = {}
        self._ended: dict[str, None] = {}
        self._freed: dict[str, None] = {}
        self._moved: dict[str, None] = {}

    def apply(self, change: Change | None) -> None:
        """First the single runs and tasks, then the sweeps, as the decision counted them."""
        if change is None:
            return
        if change.agent is not None:
            self.agent(change.agent)
        for run in change.runs:
            self.run(run)
        for task in change.tasks:
            self.task(task)
        for sweep in change.sweeps:
            self._sweep(sweep)
        for task in change.tasks:
            self.task(rolled(self._tx, task_of(self._tx, task.id)))

    def agent(self, agent: Agent) -> None:
        if agent != self._tx.agent(agent.id):
            self._tx.put(agent)

    def task(self, task: Task) -> None:
        before = self._tx.task(task.id)
        assert before is not None
        if task == before:
            return
        self._tx.put(task)
        self._tasks[task.id] = task
        callbacks.note_task(self._tx, before, task)
        if task.state in ENDED_TASK and before.state not in ENDED_TASK:
            self._ended[task.id] = None
        if task.running < before.running and task.waiting:
            self._freed[task.id] = None

    def run(self, run: Run) -> None:
        """A run of which something is wanted now wakes its agent."""
        before = self._tx.run(run.id)
        if run == before:
            return
        self._tx.put(run)
        self._runs[run.id] = run
        if before is not None and run.want != before.want:
            self._wake[run.agent] = None

    def changed(self) -> Changed:
        return Changed(
            tasks=tuple(self._tasks.values()),
            runs=tuple(self._runs.values()),
            wake=tuple(self._wake),
            ended=tuple(self._ended),
            freed=tuple(self._freed),
            moved=tuple(self._moved),
        )

    def _sweep(self, sweep: Sweep) -> None:
        task = task_of(self._tx, sweep.task)
        if sweep.want is not None:
            for run in self._tx.runs_of_task(task, RunState.RUNNING, RunState.UNKNOWN):
                self.run(swept(run, sweep))
        if sweep.to is not None:
            self._tx.sweep_waiting(sweep)
            self._moved[sweep.task] = None


# ---- what agents say


def poll(tx: Tx, agent_id: str, asked: Poll, specs: Specs) -> PollAnswer:
    """Lay the poll against what was handed out, then claim for its free places."""
    agent = _agent(tx, agent_id)
    if agent.standing is not Standing.ENROLLED:
        return PollAnswer([], [], agent.standing, reason=agent.reason)
    runs = _merged(tx.open_runs(agent_id), _own_runs(tx, agent_id, (h.run for h in asked.held)))
    judged = handout.judge_poll(
        agent, runs, _tasks(tx, runs), asked, tx.now, held_back=hold_of(tx) is not None
    )
    effects = Effects(tx)
    if judged.quarantine is not None:
        act = audit.of_system("agent.quarantine")
        _bury(tx, effects, agent, Standing.QUARANTINED, judged.quarantine, act)
        return PollAnswer([], [], Standing.QUARANTINED, effects.changed(), reason=judged.quarantine)
    effects.apply(judged.change)
    if judged.hold is not None:
        hold(tx, judged.hold)
    sent = [*judged.sent, *_claim(tx, effects, agent_id, asked, judged)]
    return PollAnswer(
        grants=[
            handout.grant_of(one, specs.of(tx, task_of(tx, one.run.task)), tx.now) for one in sent
        ],
        words=list(judged.words),
        standing=agent.standing,
        changed=effects.changed(),
        hold=judged.hold,
        strays=judged.strays,
        idle=not runs and _has_no_more(tx, agent_id, judged, sent),
    )


def _has_no_more(tx: Tx, agent_id: str, judged: Judgement, sent: Sequence[Sent]) -> bool:
    """It could take more than it was given, or as much, and nothing is left that it could take."""
    return judged.places > 0 and len(sent) < CANDIDATES and not tx.claimable(agent_id)


def _claim(tx: Tx, effects: Effects, agent_id: str, asked: Poll, judged: Judgement) -> list[Sent]:
    """By priority, then age; what may not start now is passed over."""
    if not judged.places:
        return []
    candidates = tx.claimable(agent_id)
    claimed = _claim_from(tx, effects, candidates, asked, judged.places)
    if len(claimed) < judged.places and len(candidates) == CANDIDATES:
        more = tx.claimable(agent_id, afresh=True)
        claimed += _claim_from(tx, effects, more, asked, judged.places - len(claimed))
    return claimed


def _claim_from(
    tx: Tx, effects: Effects, candidates: Iterable[RunRow], asked: Poll, places: int
) -> list[Sent]:
    sent: list[Sent] = []
    for run in candidates:
        if len(sent) == places:
            break
        claimed = handout.claim(
            task_of(tx, run.task), _agent(tx, run.agent), run, asked.instance, tx.now
        )
        if claimed is not None:
            task, agent, run_out = claimed
            effects.task(task)
            effects.agent(agent)
            effects.run(run_out)
            sent.append(Sent(run=run_out))
    return sent


def finish(tx: Tx, agent_id: str, result: Result) -> Finished:
    """The verdict and the last of the output, in one transaction."""
    if result.state not in ENDED_RUN:
        raise Malformed(f"state is {result.state}, which is no end of a run")
    run = _own_run(tx, agent_id, result.run)
    if run is None:
        return Finished(ResultAnswer(offset=0, stray=True))
    effects = Effects(tx)
    effects.agent(outcome.confirmed(_agent(tx, agent_id), result.hw))
    change = outcome.finish(task_of(tx, run.task), run, _believable(result, tx.now), tx.now)
    effects.apply(_keeping_gap(change, run))
    if result.attempt != run.attempt:
        return Finished(ResultAnswer(offset=0, refused=True))
    gap_from = _gap_before(result)
    answer, _ = _append(tx, effects, run.id, result.offset, result.data, gap_from)
    return Finished(ResultAnswer(offset=answer.offset, refused=answer.refused), effects.changed())


def _believable(result: Result, now: float) -> Result:
    """What an agent says is shown to people and sorted by: within bounds, or left out."""
    sha256 = result.output_sha256
    return replace(
        result,
        reason=result.reason.replace("\0", "�")[:MAX_REASON_CHARACTERS],
        started_at=_believable_time(result.started_at, now),
        ended_at=_believable_time(result.ended_at, now),
        survivors=result.survivors[:MAX_SURVIVORS],
        output_sha256=sha256 if sha256 is not None and len(sha256) == 64 else None,
        output_bytes=min(max(0, result.output_bytes), 1 << 62),
        left_running=min(max(0, result.left_running), 1 << 31),
    )


def _believable_time(at: float | None, now: float) -> float | None:
    if at is None or not math.isfinite(at) or not 0 < at < now + CLOCK_SLACK_S:
        return None
    return at


def _keeping_gap(change: Change | None, run: Run) -> Change | None:
    """The gap in the row is that of the bytes we have; the result tells of those to come."""
    if change is None:
        return None
    runs = tuple(
        replace(one, output_gap=run.output_gap) if one.id == run.id else one for one in change.runs
    )
    return replace(change, runs=runs)


def _gap_before(result: Result) -> int | None:
    """Where the gap begins, if the result's output is what comes after it."""
    gap = result.output_gap
    return gap[0] if gap is not None and gap[1] == result.offset else None


def append_output(tx: Tx, agent_id: str, output: Output) -> Appended:
    """Also after the verdict: the last of the output may be slower than it."""
    run = _own_run(tx, agent_id, output.run)
    if run is None or run.attempt != output.attempt:
        return Appended(OutputAnswer(offset=0, refused=True), None, grown=False)
    effects = Effects(tx)
    answer, grown = _append(tx, effects, run.id, output.offset, output.data, output.gap_from)
    return Appended(answer, tx.run(run.id), grown)


def _append(
    tx: Tx, effects: Effects, run_id: str, offset: int, content: bytes, gap_from: int | None
) -> tuple[OutputAnswer, bool]:
    before = run = tx.run(run_id)
    assert run is not None
    if offset < 0 or len(content) > MAX_CHUNK_BYTES:
        raise Malformed(f"offset {offset} with {len(content)} bytes is no chunk of output")
    place = fit(run, offset, len(content), gap_from)
    new = content[place.skip : place.until]
    if new or place.gap != run.output_gap:
        if new:
            tx.add_output(run, place.start, new)
        run = replace(run, output_stored=run.output_stored + len(new), output_gap=place.gap)
        run = replace(run, output_bytes=max(run.output_bytes, end_of(run)))
        effects.run(run)
    grown = run != before
    return OutputAnswer(offset=end_of(run), refused=place.refused), grown


def settle_done(tx: Tx, agent_id: str, done: Done) -> Changed:
    agent = _agent(tx, agent_id)
    named = [*(record.run for record in done.records), *(done.asked or ())]
    runs = _own_runs(tx, agent_id, named)
    if done.hw > agent.granted:
        runs = _merged(runs, tx.waiting_runs_of_agent(agent_id))
    effects = Effects(tx)
    effects.apply(outcome.settle_done(agent, runs, _tasks(tx, runs), done, tx.now))
    return effects.changed()


# ---- people


def cancel_task(tx: Tx, task_id: str, act: Act) -> Changed:
    effects = Effects(tx)
    effects.apply(outcome.cancel_task(task_of(tx, task_id), tx.now, act.who))
    changed = effects.changed()
    if changed != Changed():
        audit.append(tx, act, f"task:{task_id}")
    return changed


def cancel_run(tx: Tx, run_id: str, act: Act) -> Changed:
    run = tx.run(run_id)
    if run is None:
        raise NotFound(f"no run has the id {run_id}")
    effects = Effects(tx)
    change = outcome.cancel_run(task_of(tx, run.task), run, tx.now, act.who)
    effects.apply(change)
    if change is not None:
        audit.append(tx, act, f"run:{run_id}", task=run.task, host=run.hostname)
    return effects.changed()


def bury_agent(tx: Tx, agent_id: str, standing: Standing, reason: str, act: Act) -> Changed:
    """Repeating it changes nothing. Raises Conflict for what it can't become."""
    effects = Effects(tx)
    agent = _agent(tx, agent_id)
    if agent.standing is standing:
        return Changed()
    try:
        _bury(tx, effects, agent, standing, reason, act)
    except IllegalMove as error:
        raise Conflict(str(error)) from error
    return effects.changed()


def _bury(
    tx: Tx, effects: Effects, agent: Agent, standing: Standing, reason: str, act: Act
) -> None:
    running = [run for run in tx.open_runs(agent.id) if run.state is RunState.RUNNING]
    runs = [*running, *tx.waiting_runs_of_agent(agent.id)]
    effects.apply(outcome.bury_agent(agent, runs, _tasks(tx, runs), standing, reason, tx.now))
    audit.append(tx, act, f"agent:{agent.id}", host=agent.hostname, reason=reason)


def hold(tx: Tx, reason: str) -> Hold:
    """The first reason stays until an operator releases it."""
    held = hold_of(tx)
    if held is None:
        held = Hold(reason, tx.now)
        tx.put_meta(HOLD, to_json(held))
        audit.append(tx, audit.of_system("handouts.hold"), "", reason=reason)
    return held


def release(tx: Tx, act: Act) -> None:
    held = hold_of(tx)
    if held is not None:
        tx.put_meta(HOLD, "")
        audit.append(tx, act, "", reason=held.reason)


def hold_of(tx: Tx) -> Hold | None:
    value = tx.meta(HOLD)
    return msgspec.json.decode(value, type=Hold) if value else None


# ---- time


def expire(tx: Tx) -> Changed:
    """At most SWEPT_AT_ONCE of each kind; the next sweep goes on."""
    effects = Effects(tx)
    for (task_id,) in tx.rows("expired_tasks", now=tx.now, limit=SWEPT_AT_ONCE):
        effects.apply(_expire_task(tx, task_of(tx, task_id)))
    late = tx.rows("unacknowledged_late_runs", now=tx.now, limit=SWEPT_AT_ONCE)
    for run in tx.runs(id for (id,) in late):
        task, agent = task_of(tx, run.task), _agent(tx, run.agent)
        effects.apply(outcome.expire_run(task, agent, run, tx.now))
    return effects.changed()


def _expire_task(tx: Tx, task: Task) -> Change | None:
    if waves.is_whole(task):
        return outcome.expire_task(task, tx.now)
    assert task.released is not None
    late = tx.waiting_below(task, task.released, SWEPT_AT_ONCE)
    return outcome.expire_wave(task, late, tx.now)


def silence(
    tx: Tx, listening_since: float, last_stall: float, heard_at: Callable[[str], float]
) -> Changed:
    """Give up waiting for agents that were not heard of for as long as their tasks say."""
    effects = Effects(tx)
    counted_from = max(listening_since, last_stall)
    found = tx.rows("silent_runs", now=tx.now, counted_from=counted_from, limit=SWEPT_AT_ONCE)
    for run in tx.runs(id for (id,) in found):
        task, agent = task_of(tx, run.task), _agent(tx, run.agent)
        agent = replace(agent, last_seen=max(agent.last_seen, heard_at(agent.id)))
        since = outcome.silent_since(agent, listening_since, last_stall)
        effects.apply(outcome.lose_run(task, agent, run, since, tx.now))
    return effects.changed()


# ---- fetching


def _agent(tx: Tx, id: str) -> AgentRow:
    agent = tx.agent(id)
    if agent is None:
        raise NotFound(f"no agent has the id {id}")
    return agent


def task_of(tx: Tx, id: str) -> TaskRow:
    task = tx.task(id)
    if task is None:
        raise NotFound(f"no task has the id {id}")
    return task


def _tasks(tx: Tx, runs: Iterable[Run]) -> dict[str, Task]:
    return {run.task: task_of(tx, run.task) for run in runs}


def _own_run(tx: Tx, agent_id: str, run_id: str) -> RunRow | None:
    run = tx.run(run_id)
    return run if run is not None and run.agent == agent_id else None


def _own_runs(tx: Tx, agent_id: str, ids: Iterable[str]) -> list[RunRow]:
    return [run for run in tx.runs(dict.fromkeys(ids)) if run.agent == agent_id]


def _merged(first: Sequence[RunRow], more: Sequence[RunRow]) -> list[RunRow]:
    return list({run.id: run for run in (*first, *more)}.values())
