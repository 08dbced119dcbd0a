"""How do decisions on runs come into the store? Fetch the records, decide, put what is returned.

The rules are in master/handout.py and master/outcome.py; here is only what they need to
be given and where their answers go. What an agent says is applied to its own runs
alone: any other run is, for it, one that the store does not know.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from master import audit, handout, outcome, waves
from master.audit import Act
from master.books import Change
from master.changes import Appended, Changed, Finished, Hold, PollAnswer
from master.effects import Effects, agent_of, queue_of, queues_of, task_of
from master.handout import Earlier, Judgement, Sent
from master.output import end_of, fit
from master.queue_ledger import Turns, with_item
from master.queue_retry import as_run, attempt_id, with_output_of
from master.records import Agent, Run, Task
from master.rows import AttemptRow, RunRow, to_json
from master.specs import Specs
from master.state import IllegalMove
from master.task import QUEUE
from master.transaction import CANDIDATES, Tx
from wire.errors import Conflict, Malformed, NotFound
from wire.messages import MAX_CHUNK_BYTES, Done, Output, OutputAnswer, Poll, Result, ResultAnswer
from wire.states import ENDED_RUN, RunState, Standing

HOLD = "hold"  # the name in meta; its value is empty when hand-outs go on
MAX_REASON_CHARACTERS = 2000
MAX_SURVIVORS = 100
CLOCK_SLACK_S = 86400.0  # an agent's clock may be wrong; times beyond this are not believed
Level = Sequence[str]  # queue tasks of one priority, in the order of their turns
SWEPT_AT_ONCE = 500  # runs or tasks that one verb of the sweep takes on; the rest is next


# ---- what agents say


def poll(
    tx: Tx,
    agent_id: str,
    asked: Poll,
    specs: Specs,
    serves: Sequence[Level] = (),
    *,
    may_hold: bool = True,
) -> PollAnswer:
    """Lay the poll against what was handed out, then claim for its free places.

    `serves`: the queues that the agent may take from, see `_claim`. `may_hold` False: should the
    agent know of later hand-outs than the store, it alone gets none.
    """
    agent = agent_of(tx, agent_id)
    if agent.standing is not Standing.ENROLLED:
        return PollAnswer([], [], agent.standing, reason=agent.reason)
    runs = _merged(tx.open_runs(agent_id), _own_runs(tx, agent_id, (h.run for h in asked.held)))
    earlier = _earlier(tx, agent, asked)
    tasks = _tasks(tx, runs)
    judged = handout.judge_poll(
        agent,
        runs,
        tasks,
        asked,
        tx.now,
        held_back=hold_of(tx) is not None,
        queues=queues_of(tx, tasks.values()),
        earlier=earlier,
    )
    effects = Effects(tx)
    if judged.quarantine is not None:
        act = audit.of_system("agent.quarantine")
        _bury(tx, effects, agent, Standing.QUARANTINED, judged.quarantine, act)
        return PollAnswer([], [], Standing.QUARANTINED, effects.changed(), reason=judged.quarantine)
    effects.apply(judged.change)
    found_older = judged.hold if may_hold else None
    if found_older is not None:
        hold(tx, found_older)
    turns = Turns(tx, effects, agent_id, asked, specs) if serves else None
    again = [with_item(tx, sent) for sent in judged.sent]
    sent = [*again, *_claim(tx, effects, agent_id, asked, judged, serves, turns)]
    offered = [task for level in serves for task in level]
    return PollAnswer(
        grants=[
            handout.grant_of(one, specs.of(tx, task_of(tx, one.run.task)), tx.now) for one in sent
        ],
        words=list(judged.words),
        standing=agent.standing,
        changed=effects.changed(),
        hold=found_older,
        strays=judged.strays,
        idle=not runs
        and _has_no_more(tx, agent_id, judged, sent)
        and (turns is None or not turns.could_take(offered)),
    )


def _earlier(tx: Tx, agent: Agent, asked: Poll) -> list[Earlier]:
    """Attempts of the agent that were followed by another: those that it holds, and those whose
    hand-out it has not confirmed."""
    held = [
        attempt_id(one.run, one.attempt)
        for one in asked.held
        if (run := tx.run(one.run)) is not None and _is_over(tx, run, agent.id, one.attempt)
    ]
    found = tx.attempts(held) if held else []
    if asked.hw < agent.granted:
        found = [*found, *tx.unconfirmed_attempts(agent.id, max(asked.hw, agent.acked))]
    own = {one.id: one for one in found if one.agent == agent.id}
    runs = {one.id: tx.run(one.run) for one in own.values()}
    return [Earlier(one, run) for id, one in own.items() if (run := runs[id]) is not None]


def _is_over(tx: Tx, run: Run, agent_id: str, attempt: int) -> bool:
    """Is it, of a run of a queue, another attempt than the one that is the run's now?"""
    if run.agent == agent_id and run.attempt == attempt:
        return False
    return task_of(tx, run.task).mode == QUEUE


def _has_no_more(tx: Tx, agent_id: str, judged: Judgement, sent: Sequence[Sent]) -> bool:
    """It could take more than it was given, or as much, and nothing is left that it could take."""
    return judged.places > 0 and len(sent) < CANDIDATES and not tx.claimable(agent_id)


def _claim(
    tx: Tx,
    effects: Effects,
    agent_id: str,
    asked: Poll,
    judged: Judgement,
    serves: Sequence[Level] = (),
    turns: Turns | None = None,
) -> list[Sent]:
    """By priority, then age; what may not start now is passed over.

    The queues of a level have one priority, and are taken from in turns; what is for this host
    alone and has the same priority or a higher one comes before them. The agent has an order of
    its own among queues, so a level may have a higher priority than the one before.
    """
    if not judged.places:
        return []
    claimed: list[Sent] = []
    for level in serves:
        assert turns is not None
        tasks = [task for id in level if (task := tx.task(id)) is not None]
        if not tasks:
            continue
        least = max(task.priority for task in tasks)
        claimed += _claim_own(tx, effects, agent_id, asked, judged.places - len(claimed), least)
        claimed += turns.take([task.id for task in tasks], judged.places - len(claimed))
    claimed += _claim_own(tx, effects, agent_id, asked, judged.places - len(claimed))
    return claimed


def _claim_own(
    tx: Tx,
    effects: Effects,
    agent_id: str,
    asked: Poll,
    places: int,
    least: int | None = None,
) -> list[Sent]:
    """Of the runs that are for this agent alone, those of this priority or a higher one."""
    if not places:
        return []
    candidates = tx.claimable(agent_id)
    claimed = _claim_from(tx, effects, candidates, asked, places, least)
    if len(claimed) < places and len(candidates) == CANDIDATES:
        more = tx.claimable(agent_id, afresh=True)
        claimed += _claim_from(tx, effects, more, asked, places - len(claimed), least)
    return claimed


def _claim_from(
    tx: Tx,
    effects: Effects,
    candidates: Iterable[RunRow],
    asked: Poll,
    places: int,
    least: int | None,
) -> list[Sent]:
    sent: list[Sent] = []
    for run in candidates:
        if len(sent) == places or (least is not None and run.priority < least):
            break
        claimed = handout.claim(
            task_of(tx, run.task), agent_of(tx, run.agent), run, asked.instance, tx.now
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
    found = _said_of(tx, agent_id, result.run, result.attempt)
    if found is None:
        return Finished(ResultAnswer(offset=0, stray=True))
    effects = Effects(tx)
    effects.agent(outcome.confirmed(agent_of(tx, agent_id), result.hw))
    if found.is_refused:
        return Finished(ResultAnswer(offset=0, refused=True), effects.changed())
    answer, _ = _append(
        tx, effects, found, result.offset, result.data, gap_from=_gap_before(result)
    )
    found = _said_of(tx, agent_id, result.run, result.attempt) or found
    change = _finish(tx, found, _believable(result, tx.now))
    effects.apply(_keeping_gap(change, found.run))
    return Finished(ResultAnswer(offset=answer.offset, refused=answer.refused), effects.changed())


class _Said(NamedTuple):
    """The attempt that an agent speaks of: the run as it is or was in that attempt."""

    run: RunRow
    attempt: AttemptRow | None = None  # None: the run's present one
    is_refused: bool = False  # nothing is known of that attempt


def _said_of(tx: Tx, agent_id: str, run_id: str, attempt: int) -> _Said | None:
    """None: for this agent there is no such run."""
    run = tx.run(run_id)
    if run is None:
        return None
    if outcome.is_of_present(run, agent_id, attempt):
        return _Said(run)
    earlier = None
    if task_of(tx, run.task).mode == QUEUE:
        earlier = tx.attempt(attempt_id(run_id, attempt))
    if earlier is not None and earlier.agent == agent_id:
        return _Said(as_run(run, earlier), earlier)
    return _Said(run, is_refused=True) if run.agent == agent_id else None


def _finish(tx: Tx, found: _Said, result: Result) -> Change | None:
    task = task_of(tx, found.run.task)
    queue = queue_of(tx, task)
    if found.attempt is None:
        return outcome.finish(task, found.run, result, tx.now, queue)
    run = tx.run(found.run.id)
    assert run is not None and queue is not None
    return outcome.finish_earlier(task, queue, run, found.attempt, result, tx.now)


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
        replace(one, output_gap=run.output_gap)
        if (one.id, one.attempt) == (run.id, run.attempt)
        else one
        for one in change.runs
    )
    return replace(change, runs=runs)


def _gap_before(result: Result) -> int | None:
    """Where the gap begins, if the result's output is what comes after it."""
    gap = result.output_gap
    return gap[0] if gap is not None and gap[1] == result.offset else None


def append_output(tx: Tx, agent_id: str, output: Output) -> Appended:
    """Also after the verdict: the last of the output may be slower than it."""
    found = _said_of(tx, agent_id, output.run, output.attempt)
    if found is None or found.is_refused:
        return Appended(OutputAnswer(offset=0, refused=True), None, grown=False)
    effects = Effects(tx)
    answer, grown = _append(
        tx, effects, found, output.offset, output.data, gap_from=output.gap_from
    )
    return Appended(answer, tx.run(output.run), grown)


def _append(
    tx: Tx, effects: Effects, found: _Said, offset: int, content: bytes, *, gap_from: int | None
) -> tuple[OutputAnswer, bool]:
    before = run = found.run
    if offset < 0 or len(content) > MAX_CHUNK_BYTES:
        raise Malformed(f"offset {offset} with {len(content)} bytes is no chunk of output")
    place = fit(run, offset, len(content), gap_from)
    new = content[place.skip : place.until]
    if new or place.gap != run.output_gap:
        if new:
            tx.add_output(run, place.start, new)
        run = replace(run, output_stored=run.output_stored + len(new), output_gap=place.gap)
        run = replace(run, output_bytes=max(run.output_bytes, end_of(run)))
        if found.attempt is None:
            effects.run(run)
        else:
            effects.attempt(with_output_of(found.attempt, run))
    grown = run != before
    return OutputAnswer(offset=end_of(run), refused=place.refused), grown


def settle_done(tx: Tx, agent_id: str, done: Done) -> Changed:
    agent = agent_of(tx, agent_id)
    named = [*(record.run for record in done.records), *(done.asked or ())]
    runs = _own_runs(tx, agent_id, named)
    if done.hw > agent.granted:
        runs = _merged(runs, tx.waiting_runs_of_agent(agent_id))
    effects = Effects(tx)
    tasks = _tasks(tx, runs)
    queues = queues_of(tx, tasks.values())
    effects.apply(outcome.settle_done(agent, runs, tasks, done, tx.now, queues))
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
    agent = agent_of(tx, agent_id)
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
    tasks = _tasks(tx, runs)
    queues = queues_of(tx, tasks.values())
    effects.apply(outcome.bury_agent(agent, runs, tasks, standing, reason, tx.now, queues))
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
        task, agent = task_of(tx, run.task), agent_of(tx, run.agent)
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
        task, agent = task_of(tx, run.task), agent_of(tx, run.agent)
        agent = replace(agent, last_seen=max(agent.last_seen, heard_at(agent.id)))
        since = outcome.silent_since(agent, listening_since, last_stall)
        effects.apply(outcome.lose_run(task, agent, run, since, tx.now, queue_of(tx, task)))
    return effects.changed()


# ---- fetching


def _tasks(tx: Tx, runs: Iterable[Run]) -> dict[str, Task]:
    return {run.task: task_of(tx, run.task) for run in runs}


def _own_runs(tx: Tx, agent_id: str, ids: Iterable[str]) -> list[RunRow]:
    return [run for run in tx.runs(dict.fromkeys(ids)) if run.agent == agent_id]


def _merged(first: Sequence[RunRow], more: Sequence[RunRow]) -> list[RunRow]:
    return list({run.id: run for run in (*first, *more)}.values())
