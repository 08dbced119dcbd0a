"""Was anything lost, done twice, or told wrongly? Judges a recorded history; touches nothing else.

Each rule is a function that yields what it finds wrong. A rule that cannot be sure says
nothing: what it does say is a broken promise.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from tests.faults.history import LOSSES, Harm, History, Order, RunSeen, Said, TaskSeen

ENDED_TASK = frozenset({"SUCCEED", "FAILED", "CANCELLED"})
ENDED_RUN = frozenset({"SUCCEED", "FAILED", "TIMEOUT", "CANCELLED", "SKIPPED", "UNKNOWN"})
FAILURES = frozenset({"FAILED", "TIMEOUT", "UNKNOWN"})
KILLED = 137  # how a shell reports SIGKILL

TICK_S = 0.02  # what two readings of /proc/uptime may differ in for nothing
STANDSTILL_S = 60.0  # for which a host may be halted between a hand-out and its start
SLACK_S = 2.0  # what a supervisor may take from its birth to the script's first line
LATE_S = 5.0  # what that takes at most where everything breaks, a script that is halted included


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    rule: str
    subject: str  # the id of a run or task
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.what}"


@dataclass
class Facts:
    """A history with what the rules look up in it."""

    history: History
    violations: list[Violation] = field(default_factory=list)

    @cached_property
    def orders(self) -> dict[str, Order]:
        return {order.task: order for order in self.history.orders}

    @cached_property
    def tasks(self) -> dict[str, TaskSeen]:
        return {task.id: task for task in self.history.tasks}

    @cached_property
    def starts(self) -> dict[str, list[Said]]:
        return self._said("start")

    @cached_property
    def ends(self) -> dict[str, list[Said]]:
        return self._said("end")

    def _said(self, what: str) -> dict[str, list[Said]]:
        found: dict[str, list[Said]] = defaultdict(list)
        for said in self.history.said:
            if said.what == what:
                found[said.run].append(said)
        return dict(found)

    @cached_property
    def last_seen(self) -> dict[str, float]:
        return {presence.run: presence.seen_at for presence in self.history.presences}

    @cached_property
    def gone(self) -> dict[str, float]:
        return {p.run: p.gone_at for p in self.history.presences if p.gone_at is not None}

    def pairs(self) -> Iterator[tuple[Order, RunSeen]]:
        """Every run of every task that was accepted and is there."""
        for order in self.history.orders:
            task = self.tasks.get(order.task)
            for run in task.runs if task else []:
                yield order, run

    def harmed(self, order: Order, run: RunSeen, kinds: frozenset[str]) -> bool:
        """Was there a fault of such a kind on the run's host while it may have been there?"""
        ends = self.ends.get(run.id)
        ended_at = ends[-1].at if ends else None
        return any(
            harm.kind in kinds
            and harm.agent == run.agent
            and harm.run in (None, run.id)
            and order.sent_at <= harm.until
            and (ended_at is None or ended_at >= harm.since - SLACK_S)
            for harm in self.history.harms
        )

    def forgotten(self, order: Order) -> bool:
        """Was it accepted after the moment that a restored store is of?"""
        return any(harm.since <= order.accepted_at <= harm.until for harm in self.restores)

    def rewound(self, order: Order) -> bool:
        """May anything of it have happened that a restored store has forgotten?"""
        return any(order.sent_at <= harm.until for harm in self.restores)

    @cached_property
    def restores(self) -> list[Harm]:
        return [harm for harm in self.history.harms if harm.kind == "restore"]


Rule = Callable[[Facts], Iterator[tuple[str, str]]]


def check(history: History) -> list[Violation]:
    """Everything that contradicts a promise; empty if all were kept."""
    facts = Facts(history)
    return [
        Violation(rule.__name__, subject, what) for rule in RULES for subject, what in rule(facts)
    ]


# ---- accepted, started, at once


def accepted_means_present(facts: Facts) -> Iterator[tuple[str, str]]:
    """A task for which 201 was seen is there, with one run for each of its targets."""
    for order in facts.history.orders:
        task = facts.tasks.get(order.task)
        if task is None:
            if not facts.forgotten(order):
                yield order.task, "was accepted and is not there"
        elif sorted(run.agent for run in task.runs) != sorted(order.agents):
            yield order.task, f"has runs for {len(task.runs)} targets of {len(order.agents)}"


def only_what_was_accepted_starts(facts: Facts) -> Iterator[tuple[str, str]]:
    """Scripts run for tasks that were accepted, on the host that the run is for.

    A client whose answer was lost when an older store was put back is told of another task under
    its key: of the first, which that store has forgotten, nobody has heard.
    """
    agent_of = {run.id: run.agent for _, run in facts.pairs()}
    for run, starts in facts.starts.items():
        order = facts.orders.get(starts[0].task)
        if order is None:
            at = starts[0].at
            if any(harm.since <= at <= harm.until + STANDSTILL_S for harm in facts.restores):
                continue
            yield run, f"was started for task {starts[0].task}, which nobody submitted"
        elif starts[0].agent != agent_of.get(run, starts[0].agent):
            yield run, f"is for {agent_of[run]} and was started on {starts[0].agent}"


def started_at_most_once(facts: Facts) -> Iterator[tuple[str, str]]:
    """Each run of a fan-out has one attempt, and each attempt one start and at most one end."""
    for run, starts in facts.starts.items():
        if len(starts) > 1:
            yield run, f"was started {len(starts)} times, by pids {[s.pid for s in starts]}"
        if starts[0].attempt != 1:
            yield run, f"was started as attempt {starts[0].attempt}"
    for run, ends in facts.ends.items():
        if len(ends) > 1 or run not in facts.starts:
            yield run, f"ended {len(ends)} times and started {len(facts.starts.get(run, []))} times"


def parallel_is_kept(facts: Facts) -> Iterator[tuple[str, str]]:
    """Never more than `parallel` scripts of a task are alive; runs once UNKNOWN are left out."""
    for order in facts.history.orders:
        task = facts.tasks.get(order.task)
        if task is None or order.parallel == 0 or facts.rewound(order):
            continue
        most = _most_at_once([span for run in task.runs if (span := _span(facts, run))])
        if most > order.parallel:
            yield order.task, f"{most} scripts were alive at once, {order.parallel} may be"


def _span(facts: Facts, run: RunSeen) -> tuple[float, float] | None:
    """From when until when the script was alive for certain."""
    starts = facts.starts.get(run.id)
    if not starts or _was_unknown(run):
        return None
    ends = [said.at for said in facts.ends.get(run.id, [])]
    return starts[0].at, max([starts[0].at, facts.last_seen.get(run.id, 0.0), *ends])


def _was_unknown(run: RunSeen) -> bool:
    return run.state == "UNKNOWN" or "UNKNOWN" in run.replaced


def _most_at_once(spans: list[tuple[float, float]]) -> int:
    """What ends within a tick of a start does not count as alive beside it."""
    steps = [(since, 1) for since, _ in spans] + [(until - TICK_S, -1) for _, until in spans]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


# ---- ends


def nothing_waits_for_ever(facts: Facts) -> Iterator[tuple[str, str]]:
    """With all faults over and time enough, every task and every run has ended."""
    for task in facts.history.tasks:
        if task.state not in ENDED_TASK:
            yield task.id, f"is still {task.state}"
        for run in task.runs:
            if run.state not in ENDED_RUN:
                yield run.id, f"is still {run.state}"


def one_verdict(facts: Facts) -> Iterator[tuple[str, str]]:
    """A verdict stays; only UNKNOWN may be replaced, once, by something that is known."""
    for _, run in facts.pairs():
        if run.replaced and run.replaced != ["UNKNOWN"]:
            yield run.id, f"had the verdicts {run.replaced} before {run.state}"
        if run.replaced and run.state == "UNKNOWN":
            yield run.id, "is UNKNOWN once more after it was settled"


def verdicts_are_true(facts: Facts) -> Iterator[tuple[str, str]]:
    """State and exit code agree with what the script said of itself."""
    for order, run in facts.pairs():
        if run.state in ENDED_RUN and not _may_be(facts, order, run):
            starts, ends = facts.starts.get(run.id), facts.ends.get(run.id)
            said = (
                f"ended with {ends[0].code}" if ends else "started" if starts else "never started"
            )
            yield run.id, f"is {run.state} with code {run.code}; the script {said}"


def _may_be(facts: Facts, order: Order, run: RunSeen) -> bool:
    started, ends = run.id in facts.starts, facts.ends.get(run.id)
    match run.state:
        case "SUCCEED":
            return ends is not None and ends[0].code == run.code == 0
        case "FAILED" if ends and ends[0].code == run.code:
            return run.code != 0
        case "FAILED" if run.code == KILLED:
            return facts.harmed(order, run, frozenset({"script"}))
        case "FAILED":
            return not started and run.code is None and facts.harmed(order, run, UNSTARTED)
        case "TIMEOUT":
            return order.timeout_s > 0 and _could_time_out(order)
        case "CANCELLED":
            return _may_be_stopped(order)
        case "SKIPPED":
            return (not started and _may_be_stopped(order)) or facts.rewound(order)
        case "UNKNOWN":
            return facts.harmed(order, run, LOSSES) or facts.rewound(order)
    return False


UNSTARTED = frozenset({"supervisor", "start", "disk"})


def _could_time_out(order: Order) -> bool:
    """Nothing but a hang times out, unless a slow machine explains it, the limit being short."""
    return order.play.hangs or order.timeout_s < order.play.work_s + 30


def _may_be_stopped(order: Order) -> bool:
    return order.cancel_sent_at is not None or order.tolerated is not None


def timeouts_are_not_early(facts: Facts) -> Iterator[tuple[str, str]]:
    """A script that was killed for its time had all of it."""
    for order, run in facts.pairs():
        starts, gone_at = facts.starts.get(run.id), facts.gone.get(run.id)
        if run.state == "TIMEOUT" and starts and gone_at is not None:
            lived_s = gone_at - starts[0].at
            # Its clock starts before its first line, by what exec takes on a busy machine.
            if lived_s < order.timeout_s - LATE_S:
                yield run.id, f"had {lived_s:.1f} s of {order.timeout_s:g}"


def tasks_add_up(facts: Facts) -> Iterator[tuple[str, str]]:
    """The counts are those of the runs, and the task's state follows from them."""
    for order in facts.history.orders:
        task = facts.tasks.get(order.task)
        if task is None or task.state not in ENDED_TASK or _settled_later(task):
            continue
        counts = Counter(run.state for run in task.runs)
        told = {state: number for state, number in task.counts.items() if number}
        if counts != told:
            yield task.id, f"counts {told}, and its runs are {dict(counts)}"
        if task.state not in _ends_as(order, counts) and not facts.rewound(order):
            yield task.id, f"is {task.state} with runs {dict(counts)}, {order.tolerated} tolerated"


def _settled_later(task: TaskSeen) -> bool:
    """A task that has ended keeps its state and counts when evidence settles a run."""
    return any(run.replaced for run in task.runs)


def _ends_as(order: Order, counts: Counter[str]) -> set[str]:
    total = sum(counts.values())
    missed = total - counts["SUCCEED"]
    within = missed == 0 or (order.tolerated is not None and missed <= order.tolerated)
    ends = {"SUCCEED" if within else "FAILED"}
    if order.cancel_sent_at is not None and missed:
        ends.add("CANCELLED")
    return ends


# ---- limits, cancels, trees


def limits_are_kept(facts: Facts) -> Iterator[tuple[str, str]]:
    """After one failure too many nothing starts.

    A place is given away only after a result is stored. So when a script starts, all but
    parallel - 1 of those before it are in the books, failures among them.
    """
    for order in facts.history.orders:
        task = facts.tasks.get(order.task)
        if task is None or order.tolerated is None or not order.parallel or facts.rewound(order):
            continue
        allowed = order.tolerated + order.parallel - 1
        failed = 0
        for run in _by_start(facts, task):
            if failed > allowed:
                yield run.id, f"was started after {failed} failures, {order.tolerated} tolerated"
                break
            failed += run.state in FAILURES and not run.replaced


def _by_start(facts: Facts, task: TaskSeen) -> list[RunSeen]:
    started = [run for run in task.runs if run.id in facts.starts]
    return sorted(started, key=lambda run: facts.starts[run.id][0].at)


def cancel_wins(facts: Facts) -> Iterator[tuple[str, str]]:
    """No agent process that was born after a cancel was confirmed starts a run of the task."""
    births = defaultdict(list)
    for birth in facts.history.births:
        births[birth.agent].append(birth.at)
    for order, run in facts.pairs():
        starts = facts.starts.get(run.id)
        if order.cancelled_at is None or not starts or facts.rewound(order):
            continue
        born_at = max((at for at in births[run.agent] if at <= starts[0].at), default=0.0)
        if order.cancelled_at < born_at < starts[0].at - SLACK_S:
            yield run.id, "was started by an agent process born after its cancel"


def stopped_trees_are_dead(facts: Facts) -> Iterator[tuple[str, str]]:
    """Nothing lives of a run that is said to be stopped, but for what its verdict names.

    An older store may not know that a run was handed out, and call it cancelled before its
    host is heard of again; then it is stopped all the same.
    """
    survivors = {run.id: run.survivors for _, run in facts.pairs()}
    rewound = {run.id for order, run in facts.pairs() if facts.rewound(order)}
    for straggler in facts.history.stragglers:
        if straggler.run in rewound and not straggler.at_rest:
            continue
        if straggler.pid not in survivors.get(straggler.run, []):
            yield straggler.run, f"is {straggler.state} and pid {straggler.pid} was alive"


# ---- output


def output_is_exact(facts: Facts) -> Iterator[tuple[str, str]]:
    """What is stored is what the script wrote, byte for byte; all of it, if it came to its end."""
    for order, run in facts.pairs():
        if run.state in ENDED_RUN and (wrong := _wrong_output(facts, order, run)):
            yield run.id, wrong


def _wrong_output(facts: Facts, order: Order, run: RunSeen) -> str | None:
    written = order.play.output(run.id) if run.id in facts.starts else b""
    for piece in run.pieces:
        expected = written[piece.offset : piece.offset + piece.length]
        if hashlib.sha256(expected).hexdigest() != piece.sha256:
            return f"{piece.length} bytes at {piece.offset} are not what was written"
    if run.output_sha256 is not None:
        told = hashlib.sha256(written[: run.output_bytes]).hexdigest()
        if told != run.output_sha256:
            return f"the sha256 of {run.output_bytes} bytes is not that of what was written"
    if run.state not in ("SUCCEED", "FAILED") or run.id not in facts.ends or run.code == KILLED:
        return None
    if facts.rewound(order):
        return None  # the agent tells how it ended; its output went with the newer store
    if run.output_bytes != len(written):
        return f"{run.output_bytes} bytes of output are told, {len(written)} were written"
    gap = run.output_gap[1] - run.output_gap[0] if run.output_gap else 0
    if sum(piece.length for piece in run.pieces) + gap != len(written):
        return f"of {len(written)} bytes {run.pieces} are stored, and a gap of {gap}"
    if gap and not facts.harmed(order, run, frozenset({"disk"})) and len(written) <= 10 << 20:
        return f"a gap of {gap} bytes, below the cap and with room on the disk"
    return None


RULES: list[Rule] = [
    accepted_means_present,
    only_what_was_accepted_starts,
    started_at_most_once,
    parallel_is_kept,
    nothing_waits_for_ever,
    one_verdict,
    verdicts_are_true,
    timeouts_are_not_early,
    tasks_add_up,
    limits_are_kept,
    cancel_wins,
    stopped_trees_are_dead,
    output_is_exact,
]
