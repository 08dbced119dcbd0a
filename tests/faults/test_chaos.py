"""Are all promises kept in a short run of faults? The long one is benchmarks/chaos.py."""

from pathlib import Path

import msgspec

from tests.faults.chaos import Plan, run_chaos


def test_it_keeps_every_promise_while_everything_breaks(tmp_path: Path):
    plan = Plan(seconds=25, seed=1, agents=8, long_faults_s=10, patience_s=180)

    outcome = run_chaos(plan, tmp_path)

    # To look at it afterwards: the history can be read and judged again.
    (tmp_path / "history.json").write_bytes(msgspec.json.encode(outcome.history))
    assert outcome.violations == [], f"see {tmp_path / 'history.json'}"
    assert outcome.faults >= 5
    assert outcome.runs >= 50
