"""Is the tree sound? Lint, types and every test, and one last line that says how many failed.

Each folder of tests/ is a pytest process of its own, since gevent and asyncio must not
share one. Those that need little of the machine run two at a time.
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

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
# Stages follow one another; within one, two steps run side by side. What breaks things comes last.
STAGES = [["unit", "model", "storage", "web"], ["acceptance", "browser"], ["faults", "outages"]]

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Outcome:
    """What one step came to. A check counts as one test, and so does a crash."""

    name: str
    passed: int
    failed: int
    skipped: int
    wall_s: float
    output: str

    def line(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        counts = f"{self.passed} passed, {self.failed} failed{skipped}"
        return f"{self.name:12} {counts} ({self.wall_s:.0f} s)"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fast", action="store_true", help="only lint, types and unit tests")
    fast = parser.parse_args(argv).fast
    if not fast and not _have_packages():
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcomes = [outcome for stage in _stages(fast) for outcome in _run_stage(stage)]
    return _summed_up(outcomes)


def _stages(fast: bool) -> list[list[str]]:
    if fast:
        return [[*CHECKS, *FAST]]
    stages = [[name for name in stage if _has_tests(name)] for stage in STAGES]
    return [[*CHECKS, *stages[0]], *stages[1:]]


def _has_tests(name: str) -> bool:
    return any((ROOT / "tests" / name).glob("**/test_*.py"))


def _run_stage(names: list[str]) -> list[Outcome]:
    with ThreadPoolExecutor(max_workers=2) as lanes:
        try:
            return list(lanes.map(_run_and_show, names))
        except KeyboardInterrupt:
            lanes.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):
                _ended(process)
            raise


def _run_and_show(name: str) -> Outcome:
    outcome = _check(name) if name in CHECKS else _pytest(name)
    # One write, so that two lanes do not mix.
    shown = outcome.output if outcome.failed or (IN_CI and outcome.skipped) else ""
    sys.stdout.write(f"{shown}{outcome.line()}\n")
    sys.stdout.flush()
    return outcome


def _check(name: str) -> Outcome:
    code, output, wall_s = _run([str(ROOT / ".venv/bin" / CHECKS[name][0]), *CHECKS[name][1:]])
    return Outcome(name, int(code == 0), int(code != 0), 0, wall_s, output)


def _pytest(name: str) -> Outcome:
    """In a folder of its own: pytests that share one trip over each other when they clean it up.

    It is kept if something failed, since messages name files in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="mschedule-tests-"))
    report = folder / "report.xml"
    code, output, wall_s = _run(
        [sys.executable, "-m", "pytest", f"tests/{name}", "-q", "-rsf", "--durations=5"]
        + [f"--junitxml={report}", "-o", "junit_family=xunit2", f"--basetemp={folder / 'tmp'}"]
        + ["-o", "faulthandler_timeout=180", "-p", "no:cacheprovider"]
    )
    outcome = _outcome(name, code, report, wall_s, output)
    if not outcome.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _outcome(name: str, code: int, report: Path, wall_s: float, output: str) -> Outcome:
    try:
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError, StopIteration):
        return Outcome(name, 0, 1, 0, wall_s, f"{output}\n{name}: pytest ended with {code}\n")
    total, failures, errors, skipped = (
        int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    # pytest died after its report, or saw a failure that the report does not have.
    failed += int(code != 0 and failed == 0)
    return Outcome(
        name, max(0, total - failures - errors - skipped), failed, skipped, wall_s, output
    )


def _run(command: list[str]) -> tuple[int, str, float]:
    """Exit code, output and seconds; past the limit it is told to end, with its children."""
    started = time.monotonic()
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
        return code, output.read().decode(errors="replace"), time.monotonic() - started


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
    if not _has_tests("browser"):
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
