"""What is asked and answered about schedules? Tasks and plans that are made when their time comes.

Times that people write are ISO 8601; without an offset they are of the schedule's zone. Times in
answers are UTC, and where it helps also in the zone.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from wire.plans import PlanSpec
from wire.requests import Auth, Submission

# ---- what people say


class Timing(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When a schedule is due; docs/api.md says what each field means.

    `kind` once takes `at`; every takes `every` (seconds) and `anchor`; cron takes `cron`.
    """

    kind: str
    at: str | None = None
    every: int | None = None
    anchor: str | None = None
    cron: str | None = None
    zone: str = "UTC"
    splay: int = 0
    start: str | None = None
    end: str | None = None


class ScheduleSpec(Struct, forbid_unknown_fields=True):
    """A schedule as a person writes it. It makes a task or a plan, so one of them is given; where
    that has no name, it gets the schedule's."""

    name: str
    when: Timing
    task: Submission | None = None
    plan: PlanSpec | None = None
    overlap: str = "skip"  # allow, skip, wait, replace
    misfire: str = "once"  # skip, once, each
    misfire_most: int = 10
    misfire_grace: int = 3600
    paused: bool = False


class SchedulePatch(Struct, forbid_unknown_fields=True):
    """What of a schedule is to be another; `revision`: refused if it was edited since. A task
    takes the place of a plan, and the other way round."""

    name: str | UnsetType = UNSET
    when: Timing | UnsetType = UNSET
    task: Submission | UnsetType = UNSET
    plan: PlanSpec | UnsetType = UNSET
    overlap: str | UnsetType = UNSET
    misfire: str | UnsetType = UNSET
    misfire_most: int | UnsetType = UNSET
    misfire_grace: int | UnsetType = UNSET
    revision: int | UnsetType = UNSET


# ---- what the web asks


class AddSchedule(Struct):
    auth: Auth
    spec: ScheduleSpec


class ChangeSchedule(Struct):
    auth: Auth
    id: str
    patch: SchedulePatch


class RunSchedule(Struct):
    """Make its task or plan now, beside all due instants."""

    auth: Auth
    id: str
    key: str | None = None  # Idempotency-Key


class PreviewSchedule(Struct):
    """What a timing comes to, before it is saved."""

    auth: Auth
    when: Timing
    count: int = 10


class ListSchedules(Struct):
    """By name. `text`: a part of the name, in any case; `state`: active, paused or ended."""

    auth: Auth
    limit: int = 100
    cursor: str | None = None
    text: str | None = None
    state: str | None = None


class ListFirings(Struct):
    """Newest due instant first. `schedule` None: of all schedules."""

    auth: Auth
    schedule: str | None = None
    state: str | None = None
    limit: int = 100
    cursor: str | None = None


class GetTimeline(Struct):
    """What is to come in the next `hours`, of all schedules."""

    auth: Auth
    hours: int = 24


# ---- what the master answers


class InstantView(Struct):
    """One due instant: in UTC and on the clock of the schedule's zone (`local`, with its offset).

    `note`: what is special about it, where clocks are changed; "" for nothing.
    """

    at: str
    local: str
    note: str = ""


class PreviewView(Struct):
    """`next`: fewer than asked for if it ends. `rule`: what it does where its zone changes clocks;
    "" for a zone and kind to which that is nothing. `words`: the timing in a sentence."""

    next: list[InstantView]
    zone: str
    rule: str
    words: str


class ScheduleView(Struct):
    """`state`: active, paused, ended (it is never due again). `next_at`: the next due instant.

    `reason`: of paused, who paused it. `revision` grows with each edit. `may_steer`, of one that
    was asked for: may who asks edit, pause, resume, run and delete it?
    """

    id: str
    name: str
    state: str
    reason: str
    when: Timing
    words: str
    task: dict[str, Any] | None
    overlap: str
    misfire: str
    misfire_most: int
    misfire_grace: int
    owner: str
    created_by: str
    created_at: str
    edited_at: str
    revision: int
    next_at: str | None
    next_local: str | None
    last: "FiringView | None" = None
    plan: dict[str, Any] | None = None
    may_steer: bool | None = None


class Run(Struct):
    """What a run by hand has made. `kind`: task or plan. `created` False: the same key had made it
    before."""

    id: str
    kind: str
    created: bool


class FiringView(Struct):
    """What became of one due instant: fired (with its task or plan), skipped or missed (with the
    reason), or waiting for the one before. `by`: of a firing by hand, whose hand.

    `until_at`: after a very long absence one row stands for all due instants until then.
    """

    schedule: str
    schedule_name: str
    due_at: str
    until_at: str | None
    state: str
    reason: str
    decided_at: str
    late_s: float  # behind its time, splay included, at the decision
    task: str | None = None
    task_state: str | None = None  # None also when the task is no longer kept
    plan: str | None = None
    plan_state: str | None = None  # as task_state
    by: str | None = None


class ComingView(Struct):
    """A firing to come."""

    schedule: str
    name: str
    at: str
    local: str
    zone: str


class FrequentView(Struct):
    """A schedule that is due too often to name each time; `count` within the hours that were
    asked for."""

    schedule: str
    name: str
    words: str
    count: int
    next_at: str


class TimelineView(Struct):
    """`firings` in order, at most 2,000; `cut`: from then on some are left out."""

    since: str
    until: str
    firings: list[ComingView]
    frequent: list[FrequentView]
    cut: str | None = None
