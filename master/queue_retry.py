"""Does a run of a queue wait for another attempt, when, and what is kept of the one before?

While attempts are left, a failed attempt is no failed run. What was decided on by the person is
asked of the exit code alone: that an attempt ran into its time, or that nobody knows how it
ended, says nothing of the item, so it is tried again.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from master.records import Attempt, Item, Queue, Run, Slow, Task
from master.state import wait_again
from wire.queues import MAX_BATCH
from wire.states import ENDED_TASK, RUN_FAILURES, RunState

AnyRun = TypeVar("AnyRun", bound=Run)

LAPSED = "LAPSED"  # of an attempt: it was given to the next, and how it ends is not known
MAX_PAUSE_S = 600.0
MOST_SLOW = 10  # runs that are remembered as the slowest


def may_wait_again(
    task: Task, queue: Queue, run: Run, to: RunState, code: int | None, now: float
) -> bool:
    """Is the run, which would end as `to`, tried again? Not what somebody wanted to be stopped."""
    return (
        to in RUN_FAILURES
        and task.state not in ENDED_TASK
        and task.stop is None
        and queue.rest is None
        and now < task.expires_at
        and run.want is None
        and run.tries < queue.max_attempts
        and _is_retried(queue, to, code)
    )


def _is_retried(queue: Queue, to: RunState, code: int | None) -> bool:
    """What could not even be started has no code; another host may do better. A batch that failed
    with code 0 has named what is to be tried again."""
    if queue.retry_codes is None or to is not RunState.FAILED or code in (None, 0):
        return True
    return code in queue.retry_codes


def pause_after(queue: Queue, tries: int) -> float:
    """Seconds before the attempt that comes after so many: doubled each time, to ten minutes."""
    doubled = queue.retry_pause * 2.0 ** min(tries - 1, 60)
    return min(doubled, MAX_PAUSE_S)


def waiting_again(run: Run, state: str, reason: str, due_at: float, **facts: Any) -> Run:
    """The run before its next attempt; its agent stays named, as it may still tell of the last."""
    told = f"attempt {run.attempt} was {state}" + (f": {reason}" if reason else "")
    return replace(
        run,
        state=wait_again(run.id, run.state),
        reason=told,
        attempt=run.attempt + 1,
        tries=run.tries + 1,
        due_at=due_at,
        failed_items=facts.get("failed_items", run.failed_items),
        want=None,
        grant=None,
        instance=None,
        settled=False,
        started_at=None,
        ended_at=None,
        granted_at=None,
        code=None,
        killed=False,
        survivors=[],
        left_running=0,
        output_bytes=0,
        output_stored=0,
        output_sha256=None,
        output_gap=None,
        cancelled_by=None,
    )


def attempt_id(run: str, attempt: int) -> str:
    return f"{run}.{attempt}"


def attempt_of(run: Run, state: str, reason: str, *, told: bool, **facts: Any) -> Attempt:
    """What is kept of the run's present attempt. `facts`: what its agent has said, if it has."""
    assert run.grant is not None, f"run {run.id} was not handed out"
    return Attempt(
        id=attempt_id(run.id, run.attempt),
        run=run.id,
        task=run.task,
        attempt=run.attempt,
        agent=run.agent,
        hostname=run.hostname,
        grant=run.grant,
        instance=run.instance or "",
        start_by=run.start_by,
        state=state,
        reason=reason,
        told=told,
        code=facts.get("code", run.code),
        started_at=facts.get("started_at") or run.started_at,
        ended_at=facts.get("ended_at") or run.ended_at,
        output_bytes=facts.get("output_bytes", run.output_bytes),
        output_stored=run.output_stored,
        output_sha256=facts.get("output_sha256", run.output_sha256),
        output_gap=run.output_gap,
    )


def as_run(run: AnyRun, attempt: Attempt) -> AnyRun:
    """The run as it was in an earlier attempt: handed out to that agent, with that output."""
    return replace(
        run,
        state=RunState.UNKNOWN,
        agent=attempt.agent,
        hostname=attempt.hostname,
        attempt=attempt.attempt,
        grant=attempt.grant,
        instance=attempt.instance,
        start_by=attempt.start_by,
        due_at=None,
        want=None,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        code=attempt.code,
        output_bytes=attempt.output_bytes,
        output_stored=attempt.output_stored,
        output_sha256=attempt.output_sha256,
        output_gap=attempt.output_gap,
    )


def with_output_of(attempt: Attempt, run: Run) -> Attempt:
    return replace(
        attempt,
        output_bytes=run.output_bytes,
        output_stored=run.output_stored,
        output_gap=run.output_gap,
    )


# ---- the queue's row


def with_retry(queue: Queue, due_at: float) -> Queue:
    """The queue with one more run that waits until then."""
    first = due_at if queue.retry_at is None else min(queue.retry_at, due_at)
    return queue if first == queue.retry_at else replace(queue, retry_at=first)


def with_slow(queue: Queue, run: Run) -> Queue:
    """The queue, if the run is among its slowest with it among them."""
    if run.started_at is None or run.ended_at is None:
        return queue
    seconds = run.ended_at - run.started_at
    if not math.isfinite(seconds) or seconds <= 0:
        return queue
    if len(queue.slowest) >= MOST_SLOW and seconds <= queue.slowest[-1].seconds:
        return queue
    others = [slow for slow in queue.slowest if slow.run != run.id]
    slowest = sorted([*others, Slow(run.id, run.seq, seconds)], key=lambda slow: -slow.seconds)
    return replace(queue, slowest=slowest[:MOST_SLOW])


# ---- batches


def lines_left(run: Run, failed: Sequence[int]) -> list[int]:
    """Which lines of the whole batch are not done, after an attempt that reports `failed`.

    It counts the lines that it was given, which may have been some of the batch only.
    """
    given = run.failed_items
    if not given:
        return sorted({place for place in failed if 0 <= place < MAX_BATCH})
    return sorted({given[place] for place in failed if 0 <= place < len(given)})


def content_of(item: Item, left: Sequence[int]) -> str:
    """What an attempt is given: all of the item, or the lines of it that are left."""
    if not left:
        return item.content
    lines = item.content.split("\n")
    return "\n".join(lines[place] for place in left if place < len(lines))
