"""Is what the cap keeps of the output exactly its head and its tail?"""

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import capture
from agent.evidence import ExitRecord, read_output
from wire.states import Cause


def record_of(closed: dict[str, object]) -> ExitRecord:
    return msgspec.convert({"cause": Cause.EXIT, "code": 0, **closed}, ExitRecord)


def read_back(directory: str, record: ExitRecord, limit: int) -> tuple[bytes, int]:
    """The bytes that are there, and how many were skipped over gaps."""
    found, offset, skipped = b"", 0, 0
    while offset < record.output_bytes:
        chunk = read_output(directory, record, offset, limit)
        assert chunk.data or chunk.gap_from is not None, "a reader would wait for ever"
        assert (chunk.gap_from is None) == (chunk.offset == offset)
        skipped += chunk.offset - offset
        found += chunk.data
        offset = chunk.offset + len(chunk.data)
    return found, skipped


@given(
    sizes=st.lists(st.integers(0, 40), max_size=20),
    head=st.integers(0, 60),
    tail=st.integers(0, 60),
    limit=st.integers(1, 50),
)
def test_head_and_tail_come_back_and_the_rest_is_the_gap(sizes, head, tail, limit):
    chunks = [os.urandom(size) for size in sizes]
    everything = b"".join(chunks)
    with tempfile.TemporaryDirectory() as directory:
        taken = capture.Capture(directory, head, tail)
        for chunk in chunks:
            taken.add(chunk)
        record = record_of(taken.close())

        found, skipped = read_back(directory, record, limit)

    expected_gap = (head, len(everything) - tail) if len(everything) > head + tail else None
    start, end = expected_gap or (len(everything), len(everything))
    assert record.output_gap == expected_gap
    assert found == everything[:start] + everything[end:]
    assert skipped == end - start
    assert record.output_sha256 == hashlib.sha256(everything).hexdigest()


@pytest.mark.parametrize("kept", [0, 1, 50])
def test_a_head_that_a_power_loss_shortened_is_told_as_a_gap(tmp_path: Path, kept: int):
    taken = capture.Capture(str(tmp_path), 100, 50)
    taken.add(bytes(range(130)))
    record = record_of(taken.close())
    os.truncate(tmp_path / "output", kept)

    found, skipped = read_back(str(tmp_path), record, 64)

    assert found == bytes(range(kept)) + bytes(range(100, 130))
    assert skipped == 100 - kept


def test_a_tail_that_a_power_loss_took_is_told_as_a_gap(tmp_path: Path):
    taken = capture.Capture(str(tmp_path), 100, 50)
    taken.add(bytes(range(130)))
    record = record_of(taken.close())
    (tmp_path / "tail").unlink()

    assert read_back(str(tmp_path), record, 64) == (bytes(range(100)), 30)


def test_the_head_can_be_read_while_it_grows(tmp_path: Path):
    taken = capture.Capture(str(tmp_path), 4, 10)
    assert read_output(str(tmp_path), None, 0, 10).data == b""

    taken.add(b"ab")
    assert read_output(str(tmp_path), None, 0, 10).data == b"ab"
    taken.add(b"cdef")

    assert read_output(str(tmp_path), None, 1, 2).data == b"bc"
    assert read_output(str(tmp_path), None, 2, 10).data == b"cd"
    assert read_output(str(tmp_path), None, 4, 10).data == b""
