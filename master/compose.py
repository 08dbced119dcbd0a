"""What task does a sound submission make, on the hosts that it names now?"""

from collections.abc import Callable
from typing import Any

from master.changes import NewQueue, NewTask
from master.queue_rules import OF_QUEUES, WITHIN
from master.sealing import SETTINGS as SECRET_SETTINGS
from master.submission import MAX_TARGETS, Plan
from master.targets import Fleet
from master.task import resolve_parallel
from wire.defaults import ALL_AGENTS, QUEUE, burst_of
from wire.errors import InvalidValue
from wire.requests import Submission

_SETTINGS = (
    "timeout", "parallel", "fail_rate", "fail_count", "on_limit", "priority", "args", "env",
    "user", "cwd", "grace", "expires_in", "offline", "lost_after", "rolling", "between_waves",
    "wave_pause", "targets",
)  # fmt: skip
_OF_QUEUES = ("mode", *(name for name in OF_QUEUES if name not in ("items", "items_from")))


def targets(submission: Submission, fleet: Fleet) -> list[str]:
    """Ids of the hosts, in the order they shall run. Raises InvalidValue. May take a tenth of a
    second for a large fleet. A queue may wait for hosts that are to come."""
    wanted = _wanted(submission)
    ids = fleet.resolve(wanted) if isinstance(wanted, str) else fleet.known_ids(wanted)
    if not ids and submission.mode != QUEUE:
        raise InvalidValue(f"targets: {wanted!r} names no host", field="targets")
    if len(ids) > MAX_TARGETS:
        raise InvalidValue(f"targets: {len(ids)} hosts; at most {MAX_TARGETS}", field="targets")
    return ids


def named(submission: Submission, fleet: Fleet) -> list[str]:
    """As `targets`, of what runs later: that none is there now, or too many, is no mistake."""
    wanted = _wanted(submission)
    return fleet.resolve(wanted) if isinstance(wanted, str) else fleet.known_ids(wanted)


def _wanted(submission: Submission) -> list[str] | str:
    if submission.mode == QUEUE:
        return submission.targets or ALL_AGENTS
    return submission.targets


def new_task(
    plan: Plan,
    ids: list[str],
    fleet: Fleet,
    *,
    id: str,
    created_by: str,
    is_offline: Callable[[str], bool],
    within: str | None = None,
) -> NewTask:
    """`within`: the hosts to which whoever submits it is limited. Those of a queue are looked up
    anew all the time, and never go beyond that."""
    submission = plan.submission
    is_queue = submission.mode == QUEUE
    skip: frozenset[str] = frozenset()
    if submission.offline == "skip":
        skip = frozenset(agent for agent in ids if is_offline(agent))
    return NewTask(
        id=id,
        script=plan.script,
        targets=[] if is_queue else [(agent, fleet.by_id[agent].hostname) for agent in ids],
        name=submission.name,
        created_by=created_by,
        parallel=resolve_parallel(plan.parallel, len(ids)),
        fail_count=plan.fail_count,
        fail_rate=plan.fail_rate,
        on_limit=submission.on_limit,
        priority=submission.priority,
        offline=submission.offline,
        expires_in=plan.expires_in,
        lost_after=plan.lost_after,
        settings=_settings(submission, within),
        rolling=submission.rolling or "",
        between_waves=submission.between_waves,
        wave_pause=submission.wave_pause,
        skip=skip,
        queue=_queue(submission) if is_queue else None,
    )


def _queue(submission: Submission) -> NewQueue:
    burst = submission.burst
    return NewQueue(
        items=submission.items,
        open=submission.open,
        name=submission.queue,
        batch=submission.batch,
        rate=submission.rate,
        burst=burst_of(submission.rate, submission.batch) if burst is None else burst,
        per_agent=submission.per_agent,
        agents_max=submission.agents_max,
        max_attempts=submission.max_attempts,
        retry_pause=submission.retry_pause,
        retry_codes=submission.retry_codes,
    )


def _settings(submission: Submission, within: str | None) -> dict[str, Any]:
    """The submission as it was, without what has a place of its own; long id lists are left out.

    Of secrets there are only the names.
    """
    settings = {name: getattr(submission, name) for name in _SETTINGS}
    if submission.mode == QUEUE:
        settings |= {name: getattr(submission, name) for name in _OF_QUEUES}
        if within is not None:
            settings[WITHIN] = within
    elif not isinstance(submission.targets, str):
        del settings["targets"]  # the runs name them
    if submission.callbacks:
        settings["callbacks"] = submission.callbacks
    for name in SECRET_SETTINGS:
        if getattr(submission, name):
            settings[name] = sorted(getattr(submission, name))
    return settings
