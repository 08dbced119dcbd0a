"""What is an agent told, and what is it handed out, when it polls? Decisions on records.

Every function takes the records that the transaction has locked, and `now`, and returns the
records as they are to be written. Nothing is written, sent or timed here; what is not returned
stays as it was. Each rule that keeps a run from starting twice, or from being called something
that it isn't, is one small predicate with its reason; tests/model replaces them one by one and
shows what happens then. How runs end is in master/outcome.py.

The rule behind most of them: hand-outs are numbered per agent, and an agent's `hw` is the highest
number that its journal has accepted. A run with a higher number did not arrive; one with a lower
number did, whatever an inventory says.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from master import waves
from master.books import NO_QUEUES, Books, Change, Queues, is_open, may_learn
from master.queue_retry import as_run
from master.records import Agent, Attempt, Run, Task
from master.state import move_run, move_task
from master.task import count, has_place, may_hand_out
from wire.messages import Grant, Held, Poll, TaskSpec, Word
from wire.states import (
    Cause,
    RunState,
    Stage,
    Standing,
    Stop,
    TaskState,
    Want,
    WordKind,
)

PAST_INSTANCES = 1_000  # remembered per agent; one a boot, so this is years

_CAUSE_OF_WANT = {Want.CANCEL: Cause.CANCEL, Want.SKIP: Cause.SKIP, Want.LIMIT: Cause.LIMIT}
_CAUSE_OF_STOP = {Stop.CANCEL: Cause.CANCEL, Stop.LIMIT: Cause.LIMIT}


# ---- what a decision returns


class Sent(Struct, frozen=True, kw_only=True):
    """A hand-out that has to be in the answer. `cause` is not None exactly if it is void."""

    run: Run
    cause: Cause | None = None
    item: str | None = None  # of a queue: what the script is to work on
    batch: bool = False


class Earlier(Struct, frozen=True):
    """An attempt that was this agent's and was followed by another, and its run as it is now."""

    attempt: Attempt
    run: Run


class Judgement(Struct, frozen=True, kw_only=True):
    """What a poll is answered with, before anything new is claimed for it.

    `sent`: all hand-outs above the agent's hw, in order; an answer with new grants names these
    too. `hold`: the store is older than the agent; it must hand out nothing to anybody until an
    operator says so. `quarantine`: why this identity is in use twice; then nothing else is set.
    `places`: how many runs may be claimed. `strays`: held, and no run that the store knows.
    """

    change: Change = Change()
    sent: tuple[Sent, ...] = ()
    words: tuple[Word, ...] = ()
    strays: tuple[Held, ...] = ()
    places: int = 0
    hold: str | None = None
    quarantine: str | None = None


# ---- a poll


def session_is_current(session: str, current: str | None) -> bool:
    """Is this a message of the session that this master gave last? None: it gave none.

    A poll that waited in a queue while the store was restored speaks of another history.
    """
    return session == current


def judge_poll(
    agent: Agent,
    runs: Iterable[Run],
    tasks: Mapping[str, Task],
    poll: Poll,
    now: float,
    *,
    held_back: bool = False,
    queues: Queues = NO_QUEUES,
    earlier: Iterable[Earlier] = (),
) -> Judgement:
    """Compare what an agent holds with what it was handed; it is no stranger to this session.

    `runs`: those of the agent that are RUNNING, or UNKNOWN and not settled, and in any state
    those that `poll.held` names. `tasks`: theirs. `held_back`: hand-outs wait for an operator.
    `queues`: of the tasks that are one. `earlier`: of its earlier attempts those that it holds
    and those whose hand-out it has not confirmed.
    The same poll may be judged again while it is parked.
    """
    if poll.instance in agent.past_instances:
        return Judgement(quarantine=_clone(agent, poll))
    books = Books(tasks, now, queues)
    hand = _Hand(books, {run.id: run for run in runs}, poll, earlier)
    if journal_lost(agent, poll):
        hand.forget("the agent lost its journal")
        agent = replace(agent, acked=poll.hw)
    behind = store_is_older(agent, poll)
    if behind:
        hand.words.append(Word(kind=WordKind.RECALL, since=agent.granted))
    else:
        agent = replace(agent, acked=max(agent.acked, poll.hw))
    hand.recall_missing()
    hand.send_lost(agent.acked)
    hand.judge_held()
    hold = _older(agent, poll) if behind else None
    resting = held_back or behind or agent.standing is not Standing.ENROLLED
    taken = sum(sent.cause is None for sent in hand.sent)
    return Judgement(
        change=books.close(_of_instance(agent, poll.instance)),
        sent=tuple(hand.sent),
        words=tuple(hand.words),
        strays=tuple(hand.strays),
        places=0 if resting else max(0, poll.free - taken),
        hold=hold,
    )


def journal_lost(agent: Agent, poll: Poll) -> bool:
    """Does the agent know less than it once said? An instance never does: that poll is only old."""
    return poll.instance != agent.instance and poll.hw < agent.acked


def store_is_older(agent: Agent, poll: Poll) -> bool:
    """Has the agent accepted what this store never handed out? Then the store was restored."""
    return poll.hw > agent.granted


def lost(run: Run, hw: int) -> bool:
    """Did the hand-out not reach the journal? Decided by its number alone.

    A run that is absent from an inventory may have come and gone.
    """
    return run.grant is not None and run.grant > hw


def made_for(run: Run, instance: str) -> bool:
    """May the hand-out still be sent? Another instance may have started it and not know."""
    return run.instance == instance


def void_cause(task: Task, run: Run, now: float) -> Cause | None:
    """Why a handed-out run must not start any more; None: it may."""
    if run.want is not None:
        return _CAUSE_OF_WANT[run.want]
    if task.stop is not None:
        return _CAUSE_OF_STOP[task.stop]
    if run.state is not RunState.RUNNING or run.start_by <= now:
        return Cause.SKIP
    return None


def kill_cause(run: Run) -> Cause | None:
    """Why a run that is alive must be stopped; None: it goes on.

    Want SKIP is of a run that was thought not to have started in time. It has, so it goes on.
    """
    if run.want in (Want.CANCEL, Want.LIMIT):
        return _CAUSE_OF_WANT[run.want]
    if not may_learn(run):  # handed out by a store that is no more, and ended in this one
        return Cause.CANCEL
    return None


def cause_of_earlier(run: Run, held: Held) -> Cause | None:
    """Why an attempt must be stopped that was followed by another; None: it goes on.

    While the next one only waits, it may still settle the run by a success; but one that has not
    begun is not begun any more.
    """
    if run.state is RunState.WAITING and held.stage is Stage.LIVE:
        return None
    return Cause.CANCEL


def reported(run: Run) -> bool:
    """Has the agent said how it ended? Then a poll that still holds it is older than its result."""
    return run.grant is not None and not may_learn(run)


def _clone(agent: Agent, poll: Poll) -> str:
    return (
        f"it speaks as instance {poll.instance[:8]}, which instance {agent.instance[:8]} had "
        "replaced: two hosts use one identity, or a host was rolled back"
    )


def _older(agent: Agent, poll: Poll) -> str:
    return (
        f"agent {agent.id} has accepted hand-out {poll.hw} and the store knows of "
        f"{agent.granted}: the store was restored from an older copy"
    )


def _of_instance(agent: Agent, instance: str) -> Agent:
    if instance == agent.instance:
        return agent
    past = [*agent.past_instances, agent.instance] if agent.instance else agent.past_instances
    return replace(agent, instance=instance, past_instances=past[-PAST_INSTANCES:])


class _Hand:
    """One poll laid against the runs of its agent; collects what is to be answered."""

    def __init__(
        self, books: Books, runs: dict[str, Run], poll: Poll, earlier: Iterable[Earlier] = ()
    ):
        self.books = books
        self.runs = runs
        self.earlier = {(one.run.id, one.attempt.attempt): one for one in earlier}
        self.poll = poll
        self.held = {(held.run, held.attempt) for held in poll.held}
        self.sent: list[Sent] = []
        self.words: list[Word] = []
        self.strays: list[Held] = []

    def forget(self, reason: str) -> None:
        """Nothing that was handed out and is not held can be learnt about any more."""
        for run in self._missing():
            self._give_up(run, reason)

    def recall_missing(self) -> None:
        """Ask for the done record of what arrived and is no longer held."""
        for run in self._missing():
            if not lost(run, self.poll.hw):
                self.words.append(Word(kind=WordKind.RECALL, run=run.id, attempt=run.attempt))

    def send_lost(self, hw: int) -> None:
        """Send again, in order, what is above `hw`, the highest that any poll has said."""
        for run in sorted(self._missing(), key=lambda run: run.grant or 0):
            if not lost(run, hw):
                continue
            if not made_for(run, self.poll.instance):
                self._give_up(run, "the host restarted before it confirmed the hand-out")
            else:
                cause = void_cause(self.books.task(run), run, self.books.now)
                self.sent.append(Sent(run=run, cause=cause))
        self._send_void(hw)

    def _send_void(self, hw: int) -> None:
        """What was given to the next attempt before it arrived still takes its number."""
        for key, one in self.earlier.items():
            gone = as_run(one.run, one.attempt)
            if key not in self.held and lost(gone, hw) and made_for(gone, self.poll.instance):
                self.sent.append(Sent(run=gone, cause=Cause.SKIP))
        self.sent.sort(key=lambda sent: sent.run.grant or 0)

    def judge_held(self) -> None:
        """Say go or stop to each run that the agent holds."""
        for held in self.poll.held:
            run = self.runs.get(held.run)
            one = self.earlier.get((held.run, held.attempt))
            if one is not None and (run is None or held.attempt < run.attempt):
                self._stop(held, cause_of_earlier(one.run, held))
            elif run is None or held.attempt > run.attempt:
                self.strays.append(held)
            elif held.attempt < run.attempt:
                self._stop(held, Cause.CANCEL)
            elif not reported(run):
                self._judge(held, self._remembered(run))

    def _judge(self, held: Held, run: Run) -> None:
        if held.stage is Stage.LIVE:
            self._stop(held, kill_cause(run))
        elif held.stage is Stage.READY:
            if cause := void_cause(self.books.task(run), run, self.books.now):
                self._stop(held, cause)
            else:
                self.words.append(Word(kind=WordKind.GO, run=held.run, attempt=held.attempt))

    def _stop(self, held: Held, cause: Cause | None) -> None:
        if cause is not None and held.stage in (Stage.READY, Stage.LIVE):
            self.words.append(
                Word(kind=WordKind.STOP, run=held.run, attempt=held.attempt, cause=cause)
            )

    def _remembered(self, run: Run) -> Run:
        """A WAITING run that is held was handed out by a store that is no more."""
        if run.state is not RunState.WAITING:
            return run
        return self._put(self.books.move(run, RunState.UNKNOWN, "handed out before the restore"))

    def _missing(self) -> list[Run]:
        return [
            run
            for run in self.runs.values()
            if is_open(run) and (run.id, run.attempt) not in self.held
        ]

    def _give_up(self, run: Run, reason: str) -> None:
        self._put(self.books.settle_unknown(run, reason))

    def _put(self, run: Run) -> Run:
        self.runs[run.id] = run
        return run


# ---- handing out


def claim(
    task: Task, agent: Agent, run: Run, instance: str, now: float
) -> tuple[Task, Agent, Run] | None:
    """Hand a run out, in a place that the judgement of a poll has left; None: it may not now.

    The place is taken in the task's counters, which all masters guard; counting its runs would
    let two of them take the last place at once.
    """
    if not (may_hand_out(task) and has_place(task) and agent.standing is Standing.ENROLLED):
        return None
    start_by = waves.start_by(task, run)
    if run.state is not RunState.WAITING or start_by <= now or instance != agent.instance:
        return None
    if not waves.is_released(task, run.seq):
        return None
    if task.state is TaskState.WAITING:
        task = replace(task, state=move_task(task.id, task.state, TaskState.RUNNING))
    task = replace(
        count(task, RunState.WAITING, RunState.RUNNING),
        started_at=now if task.started_at is None else task.started_at,
    )
    agent = replace(agent, granted=agent.granted + 1)
    run = replace(
        run,
        state=move_run(run.id, run.state, RunState.RUNNING),
        reason="",
        grant=agent.granted,
        instance=instance,
        start_by=start_by,
        granted_at=now,
        started_at=now,
    )
    return task, agent, run


def grant_of(sent: Sent, spec: TaskSpec, now: float) -> Grant:
    """The message for a hand-out; a void one carries no task."""
    run = sent.run
    assert run.grant is not None and run.instance is not None, f"run {run.id} is not handed out"
    return Grant(
        run=run.id,
        attempt=run.attempt,
        grant=run.grant,
        instance=run.instance,
        start_in=max(0.0, run.start_by - now),
        void=sent.cause is not None,
        cause=sent.cause,
        task=None if sent.cause is not None else spec,
        item=None if sent.cause is not None else sent.item,
        batch=sent.batch and sent.cause is None,
    )
