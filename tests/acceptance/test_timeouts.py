"""Is a script that runs too long dead, with all that it started, however that hides?"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.execution_host import with_text
from tests.fleet import Api, Fleet
from tests.support import alive, until
from tests.witness import Witness

MakeFleet = Callable[..., Fleet]

LONG_ENOUGH_S = 4  # for the tree to come up, also on a busy machine

# Ignores TERM, and so does each thing it starts: in its group, in a session of its own, as a
# daemon by double fork, and as one whose environment was cleared. MARK stands in each command
# line, since nothing else can tell us later what was of this script.
STUBBORN = """trap '' TERM
sh -c 'trap "" TERM; {say}; while :; do sleep 1; done # {mark}' &
setsid sh -c 'trap "" TERM; {say}; while :; do sleep 1; done # {mark}' &
( setsid sh -c '( trap "" TERM; {say}; while :; do sleep 1; done # {mark}
) & exit' & )
( ( env -i setsid sh -c 'trap "" TERM; : > {folder}/bare; while :; do sleep 1; done # {mark}' \\
    </dev/null >/dev/null 2>&1 & ) & )
while :; do sleep 1; done # {mark}
"""


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def stubborn(witness: Witness) -> tuple[str, str]:
    """The script, and the mark of everything that belongs to it."""
    mark = f"tree-of-{os.getpid()}-{witness.folder.parent.name}"
    script = STUBBORN.format(say=witness.say("up"), mark=mark, folder=witness.folder)
    return script, mark


def all_up(witness: Witness) -> bool:
    return witness.count("up") == 3 and (witness.folder / "bare").exists()


def is_dead(mark: str) -> bool:
    return with_text(mark) == []


def test_a_timeout_kills_a_tree_that_ignores_term_and_hides(api: Api, witness: Witness):
    script, mark = stubborn(witness)
    task = api.submit(script, "web01", timeout=LONG_ENOUGH_S, grace=0.2)
    until(lambda: all_up(witness), what="the tree")

    found = api.finished(task)

    assert (found["state"], found["counts"]["TIMEOUT"]) == ("FAILED", 1)
    run = api.run(task)
    assert (run["state"], run["killed"], run["survivors"]) == ("TIMEOUT", True, [])
    assert (run["code"], run["left_running"]) == (137, 0)
    assert run["reason"]
    assert with_text(mark) == []


def test_a_cancel_kills_a_tree_that_ignores_term_and_hides(api: Api, witness: Witness):
    script, mark = stubborn(witness)
    task = api.submit(script, "web01", grace=0.2)
    until(lambda: all_up(witness), what="the tree")
    assert len(with_text(mark)) >= 4

    api.cancel(task)

    assert api.finished(task)["state"] == "CANCELLED"
    run = api.run(task)
    assert (run["state"], run["killed"], run["survivors"]) == ("CANCELLED", True, [])
    assert with_text(mark) == []


def test_a_script_hears_the_term_and_may_clean_up(api: Api, witness: Witness):
    script = f"trap 'echo cleaned; exit 5' TERM\n{witness.play()}"
    task = api.submit(script, "web01", timeout=2, grace=1000)

    api.finished(task)

    run = api.run(task)
    assert (run["state"], run["code"], run["killed"]) == ("TIMEOUT", 5, True)
    assert b"cleaned\n" in api.output(task, run["id"])


@pytest.mark.parametrize("timeout", [0, 1000, 86400])
def test_a_script_within_its_time_ends_as_it_likes(api: Api, timeout: float):
    task = api.submit("exit 7", "web01", timeout=timeout)

    api.finished(task)
    run = api.run(task)
    assert (run["state"], run["code"], run["killed"]) == ("FAILED", 7, False)


def test_a_timeout_is_kept_while_the_agent_is_away(make_fleet: MakeFleet, tmp_path: Path):
    # Given a tree on each of three hosts
    fleet = make_fleet(["killed", "ended", "stopped"])
    killed, ended, stopped = fleet.agents.values()
    trees = {}
    for name in fleet.agents:
        witness = Witness(tmp_path / name / "witness")
        script, mark = stubborn(witness)
        task = fleet.api.submit(script, name, timeout=LONG_ENOUGH_S, grace=0.2)
        trees[name] = (task, witness, mark)
    for _, witness, _ in trees.values():
        until(partial(all_up, witness), what="the tree")

    # When their agents are away
    killed.kill()
    stopped.pause()
    ended.terminate()

    # Then the trees die all the same, and the agents know why when they are back
    for _, _, mark in trees.values():
        until(partial(is_dead, mark), 60, "the death of the tree")
    killed.start()
    ended.start()
    stopped.resume()
    for task, witness, _ in trees.values():
        fleet.api.finished(task)
        run = fleet.api.run(task)
        assert (run["state"], run["killed"], run["survivors"]) == ("TIMEOUT", True, [])
        assert run["code"] == 137
        assert witness.count("up") == 3


def test_a_script_that_ends_in_time_while_its_agent_is_dead_is_no_timeout(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    task = fleet.api.submit(witness.play("exit 4"), "web01", timeout=1000)
    (started,) = witness.wait_for("start", 1)
    fleet.agents["web01"].kill()
    witness.open()
    until(lambda: not alive(started.pid), what="the end of the script")
    fleet.agents["web01"].start()

    fleet.api.finished(task)
    run = fleet.api.run(task)
    assert (run["state"], run["code"], run["killed"]) == ("FAILED", 4, False)
