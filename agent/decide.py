"""What does an agent do with an answer, a stop, a restart? Decisions on journal and directory.

No clock, no disk, no process: callers bring what they read, and do what is returned in the order
in which it stands there. Two rules carry the rest. Whoever creates a run's mark decides whether
it starts, and only they may say that it never did. And a number that the journal has accepted is
never accepted again.
"""

from collections.abc import Container, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from agent.records import Entry, Mark, RunDirectory
from wire.messages import Grant, Held, Word, Work
from wire.states import Cause, RunState, Stage

if TYPE_CHECKING:
    from agent.executor import ExitRecord

Key = tuple[str, int]  # run, attempt

ACCEPT_CHARS = 4 << 20  # of scripts and items, journalled at once; up to four bytes each

_STATE_OF_CAUSE = {
    Cause.TIMEOUT: RunState.TIMEOUT,
    Cause.CANCEL: RunState.CANCELLED,
    Cause.LIMIT: RunState.CANCELLED,
}
_KILLED = {
    Cause.TIMEOUT: "ran into its timeout and was killed",
    Cause.CANCEL: "cancelled and killed",
    Cause.LIMIT: "killed, since the task had reached its limit",
}


class Verdict(Struct, frozen=True, kw_only=True):
    """How a run ended. `exit` None: nothing ran, or it cannot be known."""

    state: RunState
    cause: Cause
    reason: str
    exit: "ExitRecord | None" = None
    failed_items: tuple[int, ...] = ()  # of a batch: the lines that are to be done again


# ---- an answer of the master


class Accepted(Struct, frozen=True, kw_only=True):
    """What to do with an answer: journal `entries` and `hw` in one sync, then the rest.

    Then the runs of `void` are stopped (see `on_stop`), those of `start` are started, and the
    words are followed. `hw` None: no number is new, nothing is journalled.
    """

    entries: tuple[Entry, ...] = ()
    hw: int | None = None
    void: tuple[Entry, ...] = ()
    start: tuple[Entry, ...] = ()
    words: tuple[Word, ...] = ()


def accept(
    work: Work,
    *,
    session: str | None,
    hw: int,
    held: Container[Key],
    instance: str,
    boot_now: float,
) -> Accepted:
    """What an answer to a poll asks for. `held`: what the journal holds.

    `session`: the one this agent has now. `boot_now`: CLOCK_BOOTTIME, in seconds.
    """
    if not of_session(work.session, session):
        return Accepted()
    new = (grant for grant in work.grants if is_new(grant, hw))
    grants = _first_that_fit(sorted(new, key=lambda grant: grant.grant))
    # A run that is held already only takes its number: its entry says how far it is.
    entries = tuple(_entry(g, boot_now) for g in grants if (g.run, g.attempt) not in held)
    start = tuple(e for e in entries if may_start(e, instance, boot_now, Leave.ACCEPTED))
    return Accepted(
        entries=entries,
        hw=grants[-1].grant if grants else None,
        void=tuple(e for e in entries if e not in start),
        start=start,
        words=tuple(work.words),
    )


def _first_that_fit(grants: list[Grant]) -> list[Grant]:
    """As many as one frame of the journal takes; the others stay above hw, and come again."""
    total = 0
    for number, grant in enumerate(grants):
        total += len(grant.item or "") + (0 if grant.task is None else len(grant.task.script))
        if number and total > ACCEPT_CHARS:
            return grants[:number]
    return grants


def of_session(answered: str, session: str | None) -> bool:
    """Is the answer to the session that this agent has now?

    One to another session may be of a master that has forgotten that it gave it.
    """
    return answered == session


def is_new(grant: Grant, hw: int) -> bool:
    """A number is accepted once; what comes again may have run and be gone."""
    return grant.grant > hw


class Leave(StrEnum):
    """By what leave a process wants to start a run."""

    ACCEPTED = "accepted"  # it has journalled the entry itself, in the answer it is at
    GO = "go"  # the master said so, in answer to a poll that listed the run as ready
    FOUND = "found"  # it found the entry in the journal


def may_start(entry: Entry, instance: str, boot_now: float, leave: Leave) -> bool:
    """May the supervisor of this run be forked now?

    Not because it was found in the journal: it may have been cancelled, or have expired, since.
    Where an accepted run, or one that got its `go`, may not start, it is to be stopped.
    """
    if leave is Leave.FOUND or entry.void:
        return False
    return entry.instance == instance and boot_now < entry.start_by


def _entry(grant: Grant, boot_now: float) -> Entry:
    return Entry(
        run=grant.run,
        attempt=grant.attempt,
        grant=grant.grant,
        instance=grant.instance,
        start_by=boot_now + grant.start_in,
        void=grant.void,
        cause=grant.cause if grant.void else None,
        task=None if grant.task is None else grant.task.without_secrets(),
        item=grant.item,
        batch=grant.batch,
    )


# ---- a stop


class Stopping(StrEnum):
    """What a stop comes to, once the mark was tried for."""

    NEVER_STARTED = "never started"  # the verdict is never_started()
    KILL = "kill"  # journal the cause if the entry has none, then ask for the kill
    LEAVE = "leave"  # it had started in time: it goes on


def on_stop(cause: Cause, *, made_void: bool, mark: Mark | None) -> Stopping:
    """What to do about a run that is to be stopped, after trying to create its mark as void.

    `made_void`: that succeeded; otherwise `mark` is what was there.
    """
    if has_never_started(made_void=made_void, mark=mark):
        return Stopping.NEVER_STARTED
    return Stopping.LEAVE if cause is Cause.SKIP else Stopping.KILL


def has_never_started(*, made_void: bool, mark: Mark | None) -> bool:
    """Only the mark says so: a supervisor that was forked may be about to create it."""
    return made_void or mark is Mark.VOID


# ---- what is found on disk


class Finding(StrEnum):
    """Where a run stands, as its directory shows."""

    READY = "ready"  # waits for the master's go
    TO_VOID = "to void"  # nobody made the mark yet, and it must not start: stop it
    LIVE = "live"  # a supervisor has it, whether or not it has made the mark
    ORPHANED = "orphaned"  # live, but its supervisor is dead: UNKNOWN once its tree is gone
    NEVER_STARTED = "never started"
    ENDED = "ended"  # the exit record has the verdict
    UNKNOWN = "unknown"


def recover(entry: Entry, found: RunDirectory, instance: str) -> Finding:
    """Where a journalled run stands, after a restart or when its supervisor has let go.

    A supervisor writes the exit before it lets go of the lock, and may hold that longer, for what
    a script left behind to write. So the exit must have been looked for after the lock.
    """
    if found.exited:
        return Finding.ENDED
    if found.locked:
        return Finding.LIVE
    if found.mark is Mark.VOID:
        return Finding.NEVER_STARTED
    if found.mark is Mark.STARTED:
        return Finding.ORPHANED if found.alive else Finding.UNKNOWN
    if entry.void:
        return Finding.TO_VOID
    return Finding.READY if mark_is_trusted(entry, instance) else Finding.UNKNOWN


def mark_is_trusted(entry: Entry, instance: str) -> bool:
    """Does the absence of a mark prove that nothing started?

    Only in the boot in which the run was handed out: marks are not synced, and one may be lost
    with the power.
    """
    return entry.instance == instance


def stage_of(entry: Entry, finding: Finding) -> Stage:
    """What the poll says of a run."""
    if finding in (Finding.READY, Finding.TO_VOID):
        return Stage.READY
    if finding in (Finding.LIVE, Finding.ORPHANED):
        return Stage.LIVE if entry.cause is None else Stage.STOPPING
    return Stage.ENDED


def held(entries: Mapping[Key, Entry], findings: Mapping[Key, Finding]) -> list[Held]:
    """The poll's list: every entry of the journal, with its stage."""
    return [
        Held(run=entry.run, attempt=entry.attempt, stage=stage_of(entry, findings[key]))
        for key, entry in entries.items()
    ]


def free_slots(slots: int, held: Iterable[Held], *, has_room: bool) -> int:
    """How many runs could be taken now. `has_room`: on the disk, for one more and its output."""
    if not has_room:
        return 0
    return max(0, slots - sum(run.stage is not Stage.ENDED for run in held))


# ---- verdicts


def never_started(cause: Cause | None) -> Verdict:
    """Of a run whose mark is void. `cause` None: it was not started in time."""
    match cause:
        case Cause.CANCEL:
            return _verdict(RunState.CANCELLED, cause, "cancelled before it started")
        case Cause.LIMIT:
            return _verdict(RunState.SKIPPED, cause, "the task had reached its limit")
        case _:
            return _verdict(RunState.SKIPPED, Cause.SKIP, "not started in time")


def unknown(found: RunDirectory) -> Verdict:
    """Of a run whose end left no trace."""
    if found.mark is None:
        reason = "the host went down; whether the script had started cannot be known"
    else:
        reason = "its supervisor was killed or the host went down; how it ended cannot be known"
    return _verdict(RunState.UNKNOWN, Cause.LOST, reason)


def result_of(entry: Entry, exit: "ExitRecord") -> Verdict:
    """Of a run that left an exit record. What it was killed for decides, not its code.

    A script that ended before the first signal keeps its own result.
    """
    if exit.cause is Cause.BROKEN:
        return _verdict(RunState.FAILED, Cause.BROKEN, exit.reason, exit)
    cause = _killed_for(entry, exit)
    if cause is not None:
        return _of_killed(cause, exit)
    if exit.code is None:
        return _verdict(RunState.UNKNOWN, Cause.LOST, exit.reason or "no exit code", exit)
    if exit.code == 0:
        return _verdict(RunState.SUCCEED, Cause.EXIT, exit.reason, exit)
    return _verdict(RunState.FAILED, Cause.EXIT, exit.reason or f"exit code {exit.code}", exit)


def _killed_for(entry: Entry, exit: "ExitRecord") -> Cause | None:
    """Why it was killed; None: it was not. The supervisor knows by whose signal it died first."""
    if not exit.killed:
        return None
    for cause in (exit.cause, entry.cause):
        if cause in _STATE_OF_CAUSE:
            return cause
    return None


def _of_killed(cause: Cause, exit: "ExitRecord") -> Verdict:
    """TIMEOUT and CANCELLED say that it is dead, so they want the proof."""
    if not exit.survivors:
        return _verdict(_STATE_OF_CAUSE[cause], cause, exit.reason or _KILLED[cause], exit)
    pids = ", ".join(map(str, exit.survivors))
    reason = f"{_KILLED[cause]}, but these processes could not be killed: {pids}"
    return _verdict(RunState.FAILED, cause, reason, exit)


def _verdict(
    state: RunState, cause: Cause, reason: str, exit: "ExitRecord | None" = None
) -> Verdict:
    return Verdict(state=state, cause=cause, reason=reason, exit=exit)


# ---- letting go


def may_prune(*, acknowledged: bool, output_done: bool, locked: bool, swept: bool) -> bool:
    """May the entry become a done record, and its directory go?

    `acknowledged`: the master has said that the verdict is durable, or that it knows no such
    run. `output_done`: it has all output, or wants none. `swept`: nothing of its tree is left
    that the run is to be blamed for.
    """
    return acknowledged and output_done and swept and not locked
