"""What was seen from outside while things were broken? Records of facts, and of nothing else.

Facts are what the API accepted, what each script said in its witness file, what the process
table showed, and what the API says afterwards. Times are seconds since the boot, which no
step of a clock changes and which scripts can read without another process.
"""

import hashlib
from pathlib import Path

from msgspec import Struct

# What may happen to the processes of a host for which no program can answer: its supervisors
# were killed, or all of it was. Then, and only then, may a run stay UNKNOWN.
LOSSES = frozenset({"supervisor", "reboot"})


class Play(Struct, frozen=True, kw_only=True):
    """What the scripts of a task do; from this and a run's id follows all that they say."""

    lines: int = 3
    work_s: float = 0.0
    failing: int = 0  # of 16 runs, by the last digit of the id, so many exit with `code`
    code: int = 5
    hangs: bool = False  # once all is written, it ignores TERM and stays, with a child that hides

    def exit_code(self, run: str) -> int:
        return self.code if int(run[-1], 16) < self.failing else 0

    def output(self, run: str) -> bytes:
        """Every line names its run and its number: nothing can be mixed, moved or repeated."""
        return b"".join(b"%s %d\n" % (run.encode(), n) for n in range(1, self.lines + 1))

    def script(self, folder: Path) -> str:
        """The script itself; `folder` is where the witness files lie."""
        failing = "0123456789abcdef"[: self.failing]
        fails = (
            f'case "$MSCHEDULE_RUN_ID" in *[{failing}]) code={self.code};; esac' if failing else ":"
        )
        act = HANG if self.hangs else f"sleep {self.work_s:g}" if self.work_s else ":"
        return "\n".join(
            [
                f"witness='{folder}'/\"$MSCHEDULE_AGENT_ID\".said",
                "attempt=${0%/*}; attempt=${attempt##*.}; code=0",
                "say() {",
                "  read -r now _ < /proc/uptime",
                '  who="$MSCHEDULE_TASK_ID $MSCHEDULE_RUN_ID $attempt $$"',
                '  echo "$1 $who $now $code" >> "$witness"',
                "}",
                "say start",
                f'seq -f "$MSCHEDULE_RUN_ID %.0f" 1 {self.lines}',
                act,
                fails,
                "say end",
                "exit $code",
                "",
            ]
        )


HANG = "trap '' TERM\nsetsid sleep 600 &\nwhile :; do sleep 600; done"


class Order(Struct, frozen=True, kw_only=True):
    """One task that was accepted: 201 was seen."""

    task: str
    play: Play
    agents: list[str]  # ids of its targets
    sent_at: float  # before the first request
    accepted_at: float
    parallel: int = 1  # 0: all
    tolerated: int | None = None  # the most failures; None: no limit
    kill_on_limit: bool = False
    timeout_s: float = 3600.0
    cancel_sent_at: float | None = None
    cancelled_at: float | None = None  # the cancel was confirmed


class Said(Struct, frozen=True):
    """One line of a witness file."""

    agent: str
    what: str  # start or end
    task: str
    run: str
    attempt: int
    pid: int
    at: float
    code: int


class Presence(Struct, frozen=True):
    """What looking at the process table again and again showed of a script's first process."""

    run: str
    pid: int
    seen_at: float  # the last time that it was alive
    gone_at: float | None  # the first look at which it was not


class Harm(Struct, frozen=True, kw_only=True):
    """A fault that may change what becomes of runs, or of the promises made for them.

    supervisor, script, reboot: such processes were killed. start: runs could not be started.
    disk: the host's disk was full. restore: a store of `since` was put back, and hand-outs
    went on at `until`.
    """

    kind: str
    agent: str | None = None  # None: not of one host
    run: str | None = None  # None: all runs of the host
    since: float
    until: float


class Piece(Struct, frozen=True):
    """Stored output from one offset on, up to the end or the gap."""

    offset: int
    length: int
    sha256: str


class RunSeen(Struct, frozen=True, kw_only=True):
    """A run as the API has it when all has come to rest."""

    id: str
    agent: str
    attempt: int
    state: str
    code: int | None
    survivors: list[int]
    output_bytes: int
    output_sha256: str | None
    output_gap: tuple[int, int] | None
    pieces: list[Piece]
    replaced: list[str] = []  # verdicts that evidence has replaced, the oldest first


class TaskSeen(Struct, frozen=True, kw_only=True):
    """A task as the API has it when all has come to rest."""

    id: str
    state: str
    counts: dict[str, int]
    runs: list[RunSeen]


class Straggler(Struct, frozen=True):
    """A process of a run that was alive when the API already said that the run was stopped."""

    run: str
    pid: int
    state: str
    at_rest: bool = False  # it was still there when nothing went on any more


class Birth(Struct, frozen=True):
    """A process of an agent was started."""

    agent: str
    at: float


class History(Struct, kw_only=True):
    """All of it; can be written as JSON and judged again."""

    orders: list[Order] = []
    said: list[Said] = []
    presences: list[Presence] = []
    harms: list[Harm] = []
    births: list[Birth] = []
    tasks: list[TaskSeen] = []
    stragglers: list[Straggler] = []


def uptime() -> float:
    """Now, on the clock of all records."""
    return float(Path("/proc/uptime").read_text().split()[0])


def read_said(folder: Path) -> list[Said]:
    """What all scripts have said, the oldest first."""
    found = []
    for file in folder.glob("*.said"):
        for line in file.read_text().splitlines():
            what, task, run, attempt, pid, at, code = line.split()
            found.append(
                Said(file.stem, what, task, run, int(attempt), int(pid), float(at), int(code))
            )
    return sorted(found, key=lambda said: said.at)


def pieces_of(stored: bytes, size: int, gap: tuple[int, int] | None) -> list[Piece]:
    """Stored output in the form that is compared; a line of the master fills a gap."""
    if gap is None:
        return [_piece(0, stored)]
    tail = size - gap[1]
    return [_piece(0, stored[: gap[0]]), _piece(gap[1], stored[len(stored) - tail :])]


def _piece(offset: int, content: bytes) -> Piece:
    return Piece(offset, len(content), hashlib.sha256(content).hexdigest())
