"""How do tests know what scripts did, and when they go on? By files: of lines, and as gates.

No test sleeps to let a script come to a place: it waits for the script's line, and the script
waits for the test's file. The lines also say who was alive with whom, whatever the master thinks.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.support import alive, until

NOW = "$(date +%s%N)"


@dataclass(frozen=True)
class Line:
    """What one script said once."""

    agent: str
    run: str
    what: str  # start, end, or a word of the test's own
    at_ns: int
    pid: int


class Witness:
    """A folder of files, one an agent, to which scripts append; and of gates, which they wait for.

    witness = Witness(tmp_path)
    task = api.submit(witness.play(), "web01")
    witness.wait_for("start", 1)
    witness.open()
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    # ---- for scripts

    def say(self, what: str) -> str:
        """Shell: append one line. It is short, so appends of several processes never mix."""
        file = f'{shlex.quote(str(self.folder))}/"$MSCHEDULE_AGENT_ID".said'
        return f'echo "$MSCHEDULE_RUN_ID {what} {NOW} $$" >> {file}'

    def wait(self, gate: str = "go") -> str:
        """Shell: wait until the gate is open, for all or for this run alone."""
        stem = f"{shlex.quote(str(self.folder))}/{gate}"
        closed = f'[ ! -e {stem} ] && [ ! -e {stem}."$MSCHEDULE_RUN_ID" ]'
        return f"while {closed}; do sleep 0.02; done"

    def play(self, after: str = "", *, gate: str = "go") -> str:
        """Shell: say start, wait for the gate, say end, then `after`."""
        return "\n".join([self.say("start"), self.wait(gate), self.say("end"), after])

    def first_fail(self, number: int) -> str:
        """Shell: exit 1 in the first `number` runs that come here, exit 0 in all others."""
        place = f"{shlex.quote(str(self.folder))}/failed"
        return f"for n in $(seq {number}); do mkdir {place}.$n 2>/dev/null && exit 1; done; exit 0"

    # ---- for tests

    def open(self, run: str | None = None, *, gate: str = "go") -> None:
        """Let all runs pass, or the one of this id."""
        (self.folder / (f"{gate}.{run}" if run else gate)).touch()

    def lines(self, what: str | None = None) -> list[Line]:
        """Everything that was said, oldest first."""
        found = []
        for file in self.folder.glob("*.said"):
            for text in file.read_text().splitlines():
                run, word, at_ns, pid = text.split()
                found.append(Line(file.stem, run, word, int(at_ns), int(pid)))
        found.sort(key=lambda line: line.at_ns)
        return [line for line in found if what in (None, line.what)]

    def count(self, what: str = "start") -> int:
        return len(self.lines(what))

    def wait_for(self, what: str, number: int, timeout_s: float = 30.0) -> list[Line]:
        """The lines, once there are at least so many of them."""
        until(lambda: self.count(what) >= number, timeout_s, f"{number} times {what!r}")
        return self.lines(what)

    def present(self) -> set[str]:
        """Runs that said start and not yet end."""
        ended = {line.run for line in self.lines("end")}
        return {line.run for line in self.lines("start")} - ended

    def most_at_once(self) -> int:
        """The most runs that were between start and end at one moment."""
        steps = {"start": 1, "end": -1}
        most = now = 0
        for line in self.lines():
            now += steps.get(line.what, 0)
            most = max(most, now)
        return most

    def survivors(self) -> list[int]:
        """Shells of scripts that are still alive."""
        return [line.pid for line in self.lines("start") if alive(line.pid)]
