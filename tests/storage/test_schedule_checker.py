"""Hundreds of schedules over simulated weeks: has every due instant exactly one row, in time or
with its reason? In the manner of Jepsen's test of Chronos, against an oracle of its own."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import datetime
from itertools import cycle

import pytest
from msgspec import Struct

from master.timing import parse
from master.when import fires_at
from tests.storage.due_oracle import due_instants
from tests.storage.schedule_world import DAY_S, Facts, world

ON_TIME_S = 1.0
WINDOWS = [
    ("2026-03-05", 6),  # New York goes forward
    ("2026-03-27", 10),  # Berlin goes forward, Lord Howe back
    ("2026-10-02", 5),  # Lord Howe goes forward
    ("2026-10-23", 11),  # Berlin and New York go back
]
SCHEDULES = 50
OUTAGES_S = (DAY_S / 8, 20.0, DAY_S, 2000.0)  # one after another, so that each world has long ones


class Row(Struct):
    schedule: str
    due: float
    until: float | None
    state: str
    reason: str
    decided_at: float
    task: str | None
    plan: str | None


@pytest.mark.parametrize(("day", "days"), WINDOWS)
def test_it_decides_every_due_instant_once_in_time_or_with_its_reason(tmp_path, day, days):
    since = datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
    outages_s = cycle(OUTAGES_S)
    with world(tmp_path, seed=days, since=since + 0.3) as made:
        for _ in range(SCHEDULES):
            made.add()
        for step in range(days * 8):
            made.advance(since + (step + 1) * DAY_S / 8 + made.random.random() * 900)
            made.do_something()
            if step % 17 == 5:
                made.outage(next(outages_s))
            if step % 13 == 7:
                made.set_back(3600.0)
        made.finish()
        faults = check(made.facts, rows_of(made.path), tasks_of(made.path))
        assert not faults, "\n".join(faults[:20])
        made_plans = sum(row.plan is not None for row in rows_of(made.path))
        assert made_plans > 20, made_plans
        seen = Counter(row.state for row in rows_of(made.path))
        assert min(seen["fired"], seen["skipped"], seen["missed"]) > 20, seen
        assert not seen["waiting"]


def check(facts: Facts, rows: list[Row], tasks: list[tuple[str, float, str]]) -> list[str]:
    """What is wrong, in sentences."""
    faults = []
    made = Counter((schedule, due) for schedule, due, _ in tasks)
    for schedule, spans in facts.spans.items():
        own = {row.due: row for row in rows if row.schedule == schedule}
        covered = [row for row in own.values() if row.until is not None]
        must: dict[int, object] = {}
        may: set[float] = set()
        for span in spans:
            for due in due_instants(span.timing, span.since, span.shown):
                may.add(due)
                if due <= span.until:
                    must[due] = span.timing
        for due in must:
            if due not in own and not any(row.due <= due <= (row.until or 0) for row in covered):
                faults.append(f"{schedule}: {iso(due)} was due by {must[due]} and has no row")
        for at, row in own.items():
            if at not in may:
                faults.append(f"{schedule}: {iso(at)} was never due, and is {row.state}")
            if made[schedule, at] != (row.state == "fired"):
                faults.append(f"{schedule}: {iso(at)} {row.state}, {made[schedule, at]} tasks")
            faults += judge(facts, row, spans)
    if sum(made.values()) != sum(row.state == "fired" for row in rows):
        faults.append("there are tasks of no firing")
    return faults


def judge(facts: Facts, row: Row, spans: list) -> list[str]:
    """Is it in time, or is there a reason that the facts bear out?"""
    said = f"{row.schedule}: {iso(row.due)} is {row.state} at {iso(row.decided_at)} ({row.reason})"
    by = [span.timing for span in spans if span.since < row.due <= span.shown]
    starts = [fires_at(row.schedule, parse(timing), int(row.due)) for timing in by]
    late_s = min((abs(row.decided_at - start) for start in starts), default=0.0)
    edited = any(abs(row.decided_at - at) < ON_TIME_S for at in facts.edits.get(row.schedule, []))
    was_away = any(
        since < row.decided_at + ON_TIME_S and until + ON_TIME_S > row.due
        for since, until in facts.outages
    )
    if row.state == "fired" and not row.reason and late_s > 31 + ON_TIME_S:
        return [f"{said}, late without a reason"]
    if row.state == "fired" and late_s > ON_TIME_S and not was_away and "waited" not in row.reason:
        return [f"{said}, late though somebody was there"]
    if row.state == "missed" and not was_away:
        return [f"{said}, though somebody was there"]
    if row.state in ("missed", "skipped") and not row.reason:
        return [f"{said}, without a reason"]
    if row.state == "skipped" and ("edited" in row.reason or "paused" in row.reason) and not edited:
        return [f"{said}, though nobody edited it"]
    return []


def test_it_hears_of_every_kind_of_mistake(tmp_path):
    """Given a world without fault, when its rows are falsified, then the checker says so."""
    since = datetime.fromisoformat("2026-03-27T00:00:00+00:00").timestamp()
    with world(tmp_path, seed=3, since=since + 0.3) as made:
        for _ in range(10):
            made.add()
        made.advance(since + DAY_S)
        rows, tasks = rows_of(made.path), tasks_of(made.path)
    assert check(made.facts, rows, tasks) == []
    first = next(row for row in rows if row.state == "fired")
    late = Row(**{**fields(first), "decided_at": first.decided_at + 60})
    extra = Row(**{**fields(first), "due": first.due + 7})
    silent = Row(**{**fields(first), "state": "missed", "task": None, "plan": None})
    others = [row for row in rows if row is not first]
    assert check(made.facts, others, tasks)
    assert check(made.facts, [*others, late], tasks)
    assert check(made.facts, [*rows, extra], tasks)
    assert check(made.facts, [*others, silent], tasks)
    assert check(made.facts, rows, [*tasks, tasks[0]])
    assert check(made.facts, rows, tasks[1:])


def fields(row: Row) -> dict:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def rows_of(path) -> list[Row]:
    sql = "SELECT schedule, due_at, until_at, state, reason, decided_at, task, plan FROM firings"
    with closing(sqlite3.connect(path)) as connection:
        return [Row(*row) for row in connection.execute(sql)]


def tasks_of(path) -> list[tuple[str, float, str]]:
    """What they have made, plans as well."""
    sql = """
        SELECT schedule, due_at, id FROM tasks WHERE schedule IS NOT NULL
        UNION ALL SELECT schedule, due_at, id FROM plans WHERE schedule IS NOT NULL
    """
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def iso(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat()
