"""Lines of a diff, and its caps."""

import difflib
import json
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from webserver import diff_worker
from webserver.diff_worker import CONTEXT, LONGEST_CHARS, MOST_LINES, MOST_SHOWN, compare

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "ä"]), max_size=30)


def test_it_marks_a_missing_line_end():
    lines, cut = compare(b"a\nb\n", b"a\nb")
    assert lines == [
        ("hunk", "@@ -1,2 +1,2 @@"),
        ("same", "a"),
        ("removed", "b"),
        ("added", "b"),
        ("note", "No newline at the end"),
    ]
    assert cut == []


def test_it_shows_bytes_that_are_no_text():
    lines, _ = compare(b"\xff\n", b"\xfe\n")
    assert lines[1:] == [("removed", "\\xff"), ("added", "\\xfe")]


def test_it_compares_with_nothing():
    assert compare(b"", b"") == ([], [])
    assert compare(b"", b"a\n")[0] == [("hunk", "@@ -0,0 +1 @@"), ("added", "a")]


@given(LINES, LINES)
def test_it_says_what_diff_u_says(left, right):
    """Held to the standard library's own writer, line by line."""
    given_left = "".join(f"{line}\n" for line in left)
    given_right = "".join(f"{line}\n" for line in right)
    found, cut = compare(given_left.encode(), given_right.encode())
    marks = {"hunk": "", "same": " ", "removed": "-", "added": "+"}
    assert cut == []
    _rebuilds(found, left, right)
    if left[:1] != right[:1] and left[-1:] != right[-1:]:  # nothing to trim: the same search
        expected = list(difflib.unified_diff(left, right, lineterm="", n=CONTEXT))[2:]
        assert [marks[kind] + text for kind, text in found] == expected


def _rebuilds(found, left, right):
    """Each line that the diff shows is one of its side, in order."""
    for side, kinds in ((left, {"same", "removed"}), (right, {"same", "added"})):
        rest = iter(side)
        assert all(text in rest for kind, text in found if kind in kinds)


def test_it_shows_so_many_lines_and_no_more():
    lines, cut = compare(b"", b"x\n" * (MOST_SHOWN + 1))
    assert len(lines) == MOST_SHOWN
    assert "only the first" in cut[0]


def test_it_compares_so_many_lines_and_no_more():
    lines, cut = compare(b"x\n" * (MOST_LINES + 5), b"x\n" * (MOST_LINES + 9))
    assert lines == []
    assert [text.split(" of ")[1] for text in cut] == ["left are compared", "right are compared"]


def test_it_shows_long_lines_up_to_a_length():
    [_, (kind, text)], cut = compare(b"", b"x" * 1_000_000 + b"\n")
    assert (kind, len(text)) == ("added", LONGEST_CHARS + 1)
    assert cut


HURRIED = """
import json, sys
import diff_worker

diff_worker.TIME_S = 1e-6
left, right = (text.encode() for text in json.load(sys.stdin))
json.dump(diff_worker.compare(left, right), sys.stdout)
"""


def test_it_gives_up_looking_for_what_both_share_and_shows_all():
    # In a process of its own, as ever: among other threads, an alarm may come late.
    left = "same\n" + "".join(f"{n}\n" for n in range(2000)) + "end\n"
    right = "same\n" + "".join(f"{n}\n" for n in range(1, 1500)) + "end\n"
    done = subprocess.run(
        [sys.executable, "-c", HURRIED],
        input=json.dumps([left, right]),
        cwd=Path(diff_worker.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    lines, cut = json.loads(done.stdout)
    kinds = [kind for kind, _ in lines]
    assert kinds[:2] == ["hunk", "same"]
    assert kinds.count("removed") == 2000
    assert kinds.count("added") == 1499
    assert "was not found" in cut[0]
