"""Which items of a batch are not done? What a script names, however it writes it, and no more."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import batch, rundir
from agent.batch import Named, judge, named, read_failed, write_files
from agent.decide import Verdict
from agent.evidence import ExitRecord
from wire.states import Cause, RunState

ITEMS = ["web01", "db 1", "-x", "ünï", "web01"]

lines = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=8)
batches = st.lists(lines, min_size=1, max_size=8)


def ended(code: int | None = 0, **fields) -> Verdict:
    exit = ExitRecord(cause=Cause.EXIT, code=code, **fields)
    state = RunState.SUCCEED if code == 0 else RunState.FAILED
    reason = "" if code == 0 else f"exit code {code}"
    return Verdict(state=state, cause=Cause.EXIT, reason=reason, exit=exit)


# ---- what is named


@pytest.mark.parametrize(
    ("written", "failed", "unknown"),
    [
        (b"", (), 0),
        (b"db 1\n", (1,), 0),
        (b"db 1", (1,), 0),
        (b"-x\r\ndb 1\r\n\n\n", (1, 2), 0),
        (b"db 1\ndb 1\n", (1,), 0),
        ("ünï\n".encode(), (3,), 0),
        (b"web01\n", (0, 4), 0),
        (b" db 1\nDB 1\nweb0", (), 3),
        (b"\xff\xfe\n\0\n-x\n", (2,), 2),
    ],
)
def test_it_finds_the_items_that_are_named(written, failed, unknown):
    assert named(ITEMS, written) == Named(failed=failed, unknown=unknown)


def test_an_empty_item_is_named_by_an_empty_line():
    assert named(["", "a"], b"\n").failed == (0,)
    assert named(["", "a"], b"a\n").failed == (1,)


def test_nothing_written_names_nothing():
    assert named(["", "a"], b"") == Named()


@given(batches, st.data())
def test_it_finds_what_was_written_in_any_order(items, data):
    chosen = data.draw(st.lists(st.sampled_from(items)))
    found = named(items, "".join(f"{item}\n" for item in chosen).encode())
    assert {items[number] for number in found.failed} == set(chosen)
    assert found.unknown == 0


@given(batches, st.binary(max_size=200))
def test_whatever_is_written_names_items_of_the_batch_alone(items, written):
    found = named(items, written)
    assert sorted(set(found.failed)) == list(found.failed)
    assert all(0 <= number < len(items) for number in found.failed)


@given(batches, st.none() | st.binary(max_size=200), st.integers(0, 255))
def test_no_verdict_loses_an_item(items, written, code):
    """What is not named is done only if the script exits 0, or has named others."""
    verdict = judge(ended(code), items, written)
    if verdict.state is RunState.SUCCEED:
        assert (code, verdict.failed_items) == (0, ())
        assert not named(items, written).failed and written is not None
    else:
        assert verdict.failed_items == named(items, written).failed


# ---- the verdict


def test_a_script_that_exits_0_and_names_items_has_failed_for_these():
    verdict = judge(ended(0), ITEMS, b"db 1\n-x\n")
    assert (verdict.state, verdict.failed_items) == (RunState.FAILED, (1, 2))
    assert verdict.reason == "2 of 5 items failed"
    assert verdict.exit is not None and verdict.exit.code == 0


def test_a_script_that_exits_otherwise_and_names_items_has_done_the_rest():
    verdict = judge(ended(3), ITEMS, b"db 1\n")
    assert (verdict.state, verdict.failed_items) == (RunState.FAILED, (1,))
    assert verdict.reason == "1 of 5 items failed; exit code 3"


def test_a_script_that_exits_otherwise_and_names_none_has_failed_for_all():
    assert judge(ended(3), ITEMS, b"") == ended(3)


def test_it_mentions_lines_that_are_no_items():
    verdict = judge(ended(0), ITEMS, b"db1\n")
    assert (verdict.state, verdict.failed_items) == (RunState.SUCCEED, ())
    assert verdict.reason == "1 lines in the list of failed items are none of this batch"


def test_a_list_that_cannot_be_read_makes_all_of_them_fail():
    verdict = judge(ended(0), ITEMS, None)
    assert (verdict.state, verdict.failed_items) == (RunState.FAILED, ())
    assert verdict.reason.endswith("all 5 items count as failed")


@pytest.mark.parametrize(
    "verdict",
    [
        ended(137, signalled=True),
        ended(None),
        Verdict(
            state=RunState.TIMEOUT,
            cause=Cause.TIMEOUT,
            reason="killed",
            exit=ExitRecord(cause=Cause.TIMEOUT, code=143, killed=True),
        ),
        Verdict(state=RunState.UNKNOWN, cause=Cause.LOST, reason="lost"),
    ],
)
def test_a_script_that_did_not_end_by_itself_is_not_believed(verdict):
    assert judge(verdict, ITEMS, b"db 1\n") == verdict


# ---- files


def test_it_writes_private_files(tmp_path: Path):
    write_files(str(tmp_path), b"a\nb")
    assert (tmp_path / rundir.ITEMS).read_bytes() == b"a\nb\n"
    assert read_failed(str(tmp_path)) == b""
    for name in (rundir.ITEMS, rundir.FAILED):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_list_that_was_removed_names_nothing(tmp_path: Path):
    rundir.sync_failed(str(tmp_path))
    assert read_failed(str(tmp_path)) == b""


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "long"])
def test_it_takes_no_list_that_is_something_else(tmp_path: Path, kind: str):
    path = tmp_path / rundir.FAILED
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("/etc/passwd")
        case "long":
            path.write_bytes(b"x" * (batch.MAX_BYTES + 1))
    rundir.sync_failed(str(tmp_path))
    assert read_failed(str(tmp_path)) is None


def test_a_list_may_be_as_long_as_the_bound(tmp_path: Path):
    (tmp_path / rundir.FAILED).write_bytes(b"x" * batch.MAX_BYTES)
    assert read_failed(str(tmp_path)) == b"x" * batch.MAX_BYTES
