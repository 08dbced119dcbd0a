"""Is each item of a queue done or given up once, whatever breaks? The long run is a benchmark."""

from pathlib import Path

import msgspec
import pytest

from tests.faults.queue_chaos import QueuePlan, run_queue_chaos


@pytest.mark.parametrize(("items", "batch"), [(400, 1), (4_000, 20)])
def test_it_loses_no_item_and_gives_none_to_two_while_everything_breaks(
    items: int, batch: int, tmp_path: Path
):
    plan = QueuePlan(items=items, seed=1, seconds=20, batch=batch)

    outcome = run_queue_chaos(plan, tmp_path)

    # To look at it afterwards: the history can be read and judged again.
    (tmp_path / "history.json").write_bytes(msgspec.json.encode(outcome.history))
    assert outcome.violations == [], f"see {tmp_path / 'history.json'}"
    assert outcome.history.state in ("SUCCEED", "FAILED")
    assert outcome.faults >= 5
