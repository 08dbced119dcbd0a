"""What breaks when everything is broken on purpose? Faults by a seed, judged by outside facts.

Run it as root for faults of networks (each in a namespace) and full disks (small mounts), and
with Debian's `faketime` package for steps of clocks; without, these are left out.

With `--items` it is a queue of so many that the hosts work on meanwhile.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from tests.faults.breakable import FAKETIME
from tests.faults.cable import may_be_laid
from tests.faults.chaos import Outcome, Plan, run_chaos
from tests.faults.queue_chaos import QueuePlan, run_queue_chaos
from tests.faults.queue_checker import DEAD

PATIENCE_S = 1800.0  # for what is left of a large queue when nothing is broken any more
SHOWN = 40  # violations; the rest is in the history


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=10, help="how long faults are injected")
    options.add_argument("--seed", type=int, default=1, help="the same seed: the same faults")
    options.add_argument("--agents", type=int, default=10, help="how many agent processes")
    options.add_argument("--history", type=Path, metavar="FILE", help="write what was seen there")
    options.add_argument("--verbose", action="store_true", help="name each fault as it comes")
    options.add_argument("--items", type=int, default=0, help="break a queue of so many items")
    options.add_argument("--batch", type=int, default=1, help="of so many items to a run")
    chosen = options.parse_args(argv)
    around = conditions(chosen.dir)
    if chosen.items:
        return _break_queue(chosen, around)
    plan = Plan(seconds=chosen.minutes * 60, seed=chosen.seed, agents=chosen.agents)
    with workplace(chosen.dir) as folder:
        say = (lambda line: print(line, flush=True)) if chosen.verbose else (lambda line: None)
        outcome = run_chaos(plan, folder, say)
    if chosen.history is not None:
        chosen.history.write_bytes(msgspec.json.encode(outcome.history))
    _print_faults(outcome)
    report(_figures(outcome, chosen.seed), around, chosen.json)
    for violation in outcome.violations[:SHOWN]:
        print(violation)
    return 1 if outcome.violations else 0


def _break_queue(chosen: argparse.Namespace, around: dict[str, Value]) -> int:
    plan = QueuePlan(
        items=chosen.items,
        seed=chosen.seed,
        seconds=chosen.minutes * 60,
        batch=chosen.batch,
        agents=chosen.agents,
        hopeless=max(3, chosen.items // 1000),
        patience_s=PATIENCE_S,
    )
    with workplace(chosen.dir) as folder:
        outcome = run_queue_chaos(plan, folder)
    if chosen.history is not None:
        chosen.history.write_bytes(msgspec.json.encode(outcome.history))
    _print_counts(outcome.counts)
    results = outcome.history.results
    found: dict[str, Value] = {
        "seed": chosen.seed,
        "faults": outcome.faults,
        "items": len(outcome.history.accepted),
        "batch": chosen.batch,
        "attempts": outcome.attempts,
        "attempts_lapsed": sum(list(r.ends.values()).count("LAPSED") for r in results),
        "runs_given_up": sum(result.state in DEAD for result in results),
        "violations": len(outcome.violations),
    }
    report(found, around, chosen.json)
    for violation in outcome.violations[:SHOWN]:
        print(violation)
    return 1 if outcome.violations else 0


def _print_counts(counts: dict[str, int]) -> None:
    for what, number in sorted(counts.items()):
        print(f"{number:5}  {what}")


def _print_faults(outcome: Outcome) -> None:
    _print_counts(outcome.counts)
    for what, number in sorted(outcome.ended.items()):
        print(f"{number:5}  {what} ended by itself, and was started again")
    for status, number in sorted(outcome.refused.items()):
        print(f"{number:5}  requests were answered {status}")
    if not may_be_laid():
        print("       no faults of network and disk: they take root")
    if FAKETIME is None:
        print("       no steps of clocks: they take the package faketime")
    print()


def _figures(outcome: Outcome, seed: int) -> dict[str, Value]:
    found: dict[str, Value] = {
        "seed": seed,
        "seconds": round(outcome.seconds, 1),
        "faults": outcome.faults,
        "tasks": len(outcome.history.orders),
        "runs": outcome.runs,
        "scripts_started": sum(said.what == "start" for said in outcome.history.said),
        "runs_unknown": _number_unknown(outcome),
        "violations": len(outcome.violations),
    }
    found |= _times("recover", outcome.all_recover_s)
    for kind, taken_s in sorted(outcome.recover_s.items()):
        found |= _times(f"recover_{kind.replace(' ', '_')}", taken_s)
    return found | _times("answer_after_master", outcome.answer_s)


def _number_unknown(outcome: Outcome) -> int:
    return sum(run.state == "UNKNOWN" for task in outcome.history.tasks for run in task.runs)


def _times(name: str, taken_s: list[float]) -> dict[str, Value]:
    if not taken_s:
        return {}
    return {
        f"{name}_p50_s": round(percentile(taken_s, 0.5), 2),
        f"{name}_max_s": round(max(taken_s), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
