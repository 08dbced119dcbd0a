"""What becomes of a run's output when the master's store is replaced by an older copy of it?

That nothing is started again, and what becomes of verdicts, tests/acceptance/test_restore.py holds.
"""

from pathlib import Path

from tests.faults.breakable import BreakableFleet
from tests.faults.scene import Scene
from tests.support import until
from tests.witness import Witness

PARTS = (2_000, 30_000, 500)  # lines; the second takes more than one message


def lines(part: int) -> bytes:
    return b"".join(b"part %d line %d\n" % (part, n) for n in range(1, PARTS[part] + 1))


def write(part: int) -> str:
    return f"seq -f 'part {part} line %.0f' 1 {PARTS[part]}"


def test_output_that_went_with_the_newer_store_is_sent_again(tmp_path: Path):
    with BreakableFleet(tmp_path, ["web01"]) as fleet, Scene(fleet) as scene:
        # Given a run of which a copy of the store has the first part of the output
        witness = Witness(tmp_path / "gates")
        script = [write(0), witness.wait("more"), write(1), witness.wait("end"), write(2)]
        task = fleet.api.submit("\n".join(script), "web01")
        run = fleet.api.run(task)["id"]
        until(lambda: stored(fleet, task) == len(lines(0)), 60, "the first part")
        scene.injector.back_up(tmp_path / "backup")
        until(fleet.is_up, 60)

        # When the copy is put back after more has arrived
        witness.open(gate="more")
        until(lambda: stored(fleet, task) == len(lines(0) + lines(1)), 60, "the second part")
        scene.injector.put_back(tmp_path / "backup")
        until(fleet.is_up, 60)
        witness.open(gate="end")

        # Then all of it arrives once more, in its place
        whole = lines(0) + lines(1) + lines(2)
        assert fleet.api.finished(task, 60)["state"] == "SUCCEED"
        until(lambda: stored(fleet, task) == len(whole), 60, "the rest")
        assert fleet.api.output(task, run) == whole
        assert fleet.api.run(task)["output_gap"] is None


def stored(fleet: BreakableFleet, task: str) -> int:
    return int(fleet.api.run(task)["output_stored"])
