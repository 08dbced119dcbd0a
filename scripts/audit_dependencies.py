"""Are there dependencies with known vulnerabilities? Asks a public database, by pip-audit.

pip-audit passes over what its database does not know, and ends well. So what it has looked at is
counted here: an audit that could not be made must not look like one that found nothing.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

OURS = "mschedule"  # is in no index
SHOWN = 5  # names in the sentence about those that were not looked up


class Vulnerability(Struct):
    id: str
    fix_versions: list[str] = []


class Dependency(Struct):
    """`skip_reason`: why it was not looked up; None: it was."""

    name: str
    version: str = ""
    vulns: list[Vulnerability] = []
    skip_reason: str | None = None


class Report(Struct):
    """What pip-audit says as JSON."""

    dependencies: list[Dependency]


class Verdict(NamedTuple):
    lines: list[str]
    code: int


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    audit = Path(sys.executable).with_name("pip-audit")
    ended = subprocess.run(
        [str(audit), "--progress-spinner", "off", "--format", "json", *given],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = msgspec.json.decode(ended.stdout, type=Report)
    except msgspec.DecodeError:
        verdict = unreadable(ended.stderr)
    else:
        verdict = judge(report)
    print("\n".join(verdict.lines))
    return verdict.code


def judge(report: Report) -> Verdict:
    """What was found; not 0 also if something was not looked up."""
    others = [one for one in report.dependencies if one.name != OURS]
    looked_up = [one for one in others if one.skip_reason is None]
    lines = [
        f"{one.name} {one.version}: {found.id}, mended in {', '.join(found.fix_versions) or '?'}"
        for one in looked_up
        for found in one.vulns
    ]
    found = len(lines)
    lines.append(f"dependencies looked up: {len(looked_up)}, known vulnerabilities: {found}")
    left = [one.name for one in others if one.skip_reason is not None]
    if left or not looked_up:
        named = ", ".join(left[:SHOWN]) + (", …" if len(left) > SHOWN else "")
        lines.append(
            f"NOT audited: {len(left)} that the database which was asked does not know ({named}). "
            "Is pypi.org reachable from here, and no mirror without its JSON API in the way? "
            "`scripts/audit -s osv` asks api.osv.dev"
        )
    return Verdict(lines, int(bool(found or left or not looked_up)))


def unreadable(stderr: str) -> Verdict:
    """It ended without a report; the last line of what it said is the reason."""
    said = stderr.strip().splitlines() or ["it said nothing"]
    return Verdict([f"NOT audited: pip-audit could not ask its database: {said[-1][:400]}"], 1)


if __name__ == "__main__":
    sys.exit(main())
