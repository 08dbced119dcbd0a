"""What breaks when everything is broken on purpose? Faults by a seed, judged by outside facts.

Run it as root for faults of networks (each in a namespace) and full disks (small mounts), and
with Debian's `faketime` package for steps of clocks; without, these are left out.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from tests.faults.breakable import FAKETIME
from tests.faults.cable import may_be_laid
from tests.faults.chaos import Outcome, Plan, run_chaos

SHOWN = 40  # violations; the rest is in the history


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=10, help="how long faults are injected")
    options.add_argument("--seed", type=int, default=1, help="the same seed: the same faults")
    options.add_argument("--agents", type=int, default=10, help="how many agent processes")
    options.add_argument("--history", type=Path, metavar="FILE", help="write what was seen there")
    options.add_argument("--verbose", action="store_true", help="name each fault as it comes")
    chosen = options.parse_args(argv)
    around = conditions(chosen.dir)
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


def _print_faults(outcome: Outcome) -> None:
    for what, number in sorted(outcome.counts.items()):
        print(f"{number:5}  {what}")
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
