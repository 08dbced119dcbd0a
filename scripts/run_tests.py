"""Is the tree sound? Lint, types and every test, and one last line that says how many failed.

Each folder of tests/ is a pytest process of its own, since gevent and asyncio must not
share one; of acceptance each file is. Steps that need little of the machine run side by side.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 2400  # of one step; a hang is a failure, not a wait
IN_CI = os.environ.get("CI") == "true"

# What tests need of the system: program → Debian package.
PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "ip": "iproute2",
    "openssl": "openssl",
    "strace": "strace",
    "systemd-analyze": "systemd",
}

PROGRAMS = ["agent", "master", "postman", "webserver", "wire"]
PROGRAMS += ["utils.py", "app.py", "apppostman.py", "appserver.py", "appwebserver.py"]

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "bandit": ["bandit", "-q", "-c", "bandit.yaml", "-r", *PROGRAMS],
}
FAST = ["unit"]


class Stage(NamedTuple):
    """What runs before the next stage begins: so many lanes, each takes the next step."""

    lanes: int
    names: list[str]


# What takes long begins early in its stage, and what breaks things comes last of all.
STAGES = [
    Stage(2, ["unit", "contract", "storage", "model", "web"]),
    Stage(2, ["browser", "acceptance"]),
    Stage(2, ["faults", "outages"]),
]
# Whole fleets that mostly wait, for timers and for each other: each file is a step, so that two
# wait at the same time.
BY_FILE = ["acceptance"]

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Outcome:
    """What one step came to, or a folder of them. A check counts as one test, so does a crash."""

    name: str
    passed: int
    failed: int
    skipped: int
    began_at: float
    ended_at: float

    def line(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        counts = f"{self.passed} passed, {self.failed} failed{skipped}"
        return f"{self.name:12} {counts} ({self.ended_at - self.began_at:.0f} s)"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fast", action="store_true", help="only lint, types and unit tests")
    fast = parser.parse_args(argv).fast
    if not fast and not _have_packages():
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcomes = [outcome for stage in _stages(fast) for outcome in _run_stage(stage)]
    return _summed_up(outcomes)


def _stages(fast: bool) -> list[Stage]:
    if fast:
        return [Stage(2, [*CHECKS, *FAST])]
    stages = [Stage(lanes, [name for name in names if _tests(name)]) for lanes, names in STAGES]
    return [Stage(stages[0].lanes, [*CHECKS, *stages[0].names]), *stages[1:]]


def _tests(name: str) -> list[str]:
    """The files of a folder, as pytest is told of them."""
    return sorted(
        str(file.relative_to(ROOT)) for file in (ROOT / "tests" / name).rglob("test_*.py")
    )


def _run_stage(stage: Stage) -> list[Outcome]:
    with ThreadPoolExecutor(max_workers=stage.lanes) as lanes:
        try:
            running = {name: [lanes.submit(step) for step in _steps(name)] for name in stage.names}
            return [
                _shown(_joined(name, [step.result() for step in steps]))
                for name, steps in running.items()
            ]
        except KeyboardInterrupt:
            lanes.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):
                _ended(process)
            raise


def _steps(name: str) -> list[Callable[[], Outcome]]:
    if name in CHECKS:
        return [partial(_check, name)]
    if name in BY_FILE:
        return [partial(_pytest, file) for file in _tests(name)]
    return [partial(_pytest, f"tests/{name}")]


def _joined(name: str, parts: list[Outcome]) -> Outcome:
    """What the steps of a folder came to, from the first one's begin to the last one's end."""
    return Outcome(
        name,
        sum(part.passed for part in parts),
        sum(part.failed for part in parts),
        sum(part.skipped for part in parts),
        min(part.began_at for part in parts),
        max(part.ended_at for part in parts),
    )


def _shown(outcome: Outcome) -> Outcome:
    sys.stdout.write(f"{outcome.line()}\n")
    sys.stdout.flush()
    return outcome


def _with_output(outcome: Outcome, output: str) -> Outcome:
    """Show what went wrong in a step at once, and in one write, so that lanes do not mix."""
    if outcome.failed or (IN_CI and outcome.skipped):
        sys.stdout.write(f"{output}\n")
        sys.stdout.flush()
    return outcome


def _check(name: str) -> Outcome:
    began_at = time.monotonic()
    code, output = _run([str(ROOT / ".venv/bin" / CHECKS[name][0]), *CHECKS[name][1:]])
    outcome = Outcome(name, int(code == 0), int(code != 0), 0, began_at, time.monotonic())
    return _with_output(outcome, output)


def _pytest(what: str) -> Outcome:
    """In a folder of its own: pytests that share one trip over each other when they clean it up.

    It is kept if something failed, since messages name files in it.
    """
    began_at = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="mschedule-tests-"))
    report = folder / "report.xml"
    code, output = _run(
        [sys.executable, "-m", "pytest", what, "-q", "-rsf", "--durations=5"]
        + [f"--junitxml={report}", "-o", "junit_family=xunit2", f"--basetemp={folder / 'tmp'}"]
        + ["-o", "faulthandler_timeout=180", "-p", "no:cacheprovider"]
    )
    counts = _counts(code, report)
    if counts is None:
        output += f"\n{what}: pytest ended with {code}\n"
    outcome = Outcome(what, *(counts or (0, 1, 0)), began_at, time.monotonic())
    if not outcome.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return _with_output(outcome, output)


def _counts(code: int, report: Path) -> tuple[int, int, int] | None:
    """How many passed, failed and were skipped; None: there is no report that can be read."""
    try:
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError, StopIteration):
        return None
    total, failures, errors, skipped = (
        int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    # pytest died after its report, or saw a failure that the report does not have.
    failed += int(code != 0 and failed == 0)
    return max(0, total - failures - errors - skipped), failed, skipped


def _run(command: list[str]) -> tuple[int, str]:
    """Exit code and output; past the limit it is told to end, with its children."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        _running.add(process)
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = _ended(process)
        _running.discard(process)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Interrupted like by Ctrl-C, so that pytest takes down what its tests have started."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _have_packages() -> bool:
    """Are the programs there that tests call? As root on Debian they are installed."""
    missing = _missing()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing", *missing, "…", flush=True)
        environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-q", *command], env=environ, check=False)
        missing = _missing()
    if missing:
        print(f"tests need packages that are not here: apt-get install {' '.join(missing)}")
    return not (missing and IN_CI)


def _missing() -> list[str]:
    needed = dict(PACKAGES)
    if not _tests("browser"):
        del needed["chromium"]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [package for program, package in needed.items() if not shutil.which(program, path=path)]


def _summed_up(outcomes: list[Outcome]) -> int:
    passed, failed, skipped = (
        sum(getattr(outcome, key) for outcome in outcomes)
        for key in ("passed", "failed", "skipped")
    )
    if IN_CI and skipped:
        print(f"in CI nothing may be skipped, and {skipped} were: counted as failed")
        failed, skipped = failed + skipped, 0
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
