"""Which lines do two outputs not share? A program of its own, of the standard library alone.

difflib takes quadratic time and holds the interpreter lock all the while, so this runs as a
process beside the web server: two outputs on stdin, the lines of a unified diff on stdout.
What can go too far has a cap, and what a cap left out is named.
"""

import difflib
import json
import resource
import signal
import struct
import sys
from collections.abc import Iterator

MOST_LINES = 10_000  # of an output that are compared
MOST_SHOWN = 5_000  # lines of the diff
LONGEST_CHARS = 2_000  # of a line of the diff
CONTEXT = 3
TIME_S = 2.0  # for finding what the outputs share
CPU_S = 5
MEMORY_BYTES = 1 << 30

SIZES = struct.Struct(">II")

Code = tuple[str, int, int, int, int]  # as difflib has it: what, left [from, to), right [from, to)
Line = tuple[str, str]  # kind: hunk, same, removed, added or note; text


class TooLong(Exception):
    """The time for the comparison is over."""


def compare(left: bytes, right: bytes) -> tuple[list[Line], list[str]]:
    """The lines of the diff, and what was left out."""
    cut: list[str] = []
    left_lines, right_lines = _lines(left, "left", cut), _lines(right, "right", cut)
    codes = _codes(left_lines, right_lines, cut)
    shown: list[Line] = []
    for line in _unified(codes, left_lines, right_lines):
        if len(shown) == MOST_SHOWN:
            cut.append(f"only the first {MOST_SHOWN} lines of the diff are shown")
            break
        shown.append(_shortened(line))
    if any(len(line.rstrip(b"\n")) > LONGEST_CHARS for line in left_lines + right_lines):
        cut.append(f"lines are shown up to {LONGEST_CHARS} characters")
    return shown, cut


def _lines(output: bytes, name: str, cut: list[str]) -> list[bytes]:
    """With their ends: a missing one at the end of the output is a difference, too."""
    lines = output.split(b"\n")
    last = lines.pop()
    lines = [line + b"\n" for line in lines] + ([last] if last else [])
    if len(lines) > MOST_LINES:
        cut.append(f"only the first {MOST_LINES} lines of {name} are compared")
    return lines[:MOST_LINES]


def _codes(left: list[bytes], right: list[bytes], cut: list[str]) -> list[Code]:
    """What became of each stretch of lines. The ends that are alike cost next to nothing."""
    head = _alike(left, right)
    tail = _alike(left[head:][::-1], right[head:][::-1])
    left_end, right_end = len(left) - tail, len(right) - tail
    middle = _matched(left[head:left_end], right[head:right_end], cut)
    codes: list[Code] = [("equal", 0, head, 0, head)] if head else []
    codes += [(what, a + head, b + head, c + head, d + head) for what, a, b, c, d in middle]
    return codes + ([("equal", left_end, len(left), right_end, len(right))] if tail else [])


def _alike(left: list[bytes], right: list[bytes]) -> int:
    """How many lines are the same from the beginning on."""
    for n, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return n
    return min(len(left), len(right))


def _matched(left: list[bytes], right: list[bytes], cut: list[str]) -> list[Code]:
    """difflib's opinion; when it takes too long: all of left became all of right."""
    signal.signal(signal.SIGALRM, _too_long)
    try:
        signal.setitimer(signal.ITIMER_REAL, TIME_S)
        codes = difflib.SequenceMatcher(None, left, right).get_opcodes()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except TooLong:
        cut.append(f"what both share was not found in {TIME_S:g} s; all that differs is shown")
        return [("replace", 0, len(left), 0, len(right))]
    return list(codes)


def _too_long(*_: object) -> None:
    raise TooLong


def _unified(codes: list[Code], left: list[bytes], right: list[bytes]) -> Iterator[Line]:
    """As `diff -u` writes it, a line at a time, without the file names."""
    matcher = difflib.SequenceMatcher(None, left, right)
    matcher.opcodes = codes  # type: ignore[attr-defined]  # what get_opcodes had found
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        yield "hunk", f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for what, a, b, c, d in group:
            if what == "equal":
                yield from _of_kind("same", left[a:b])
            else:
                yield from _of_kind("removed", left[a:b])
                yield from _of_kind("added", right[c:d])


def _range(start: int, stop: int) -> str:
    """As in POSIX diff: one line is its number, none is the number of the line before."""
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _of_kind(kind: str, lines: list[bytes]) -> Iterator[Line]:
    for line in lines:
        yield kind, line.removesuffix(b"\n").decode("utf-8", "backslashreplace")
        if not line.endswith(b"\n"):
            yield "note", "No newline at the end"


def _shortened(line: Line) -> Line:
    kind, text = line
    return kind, text if len(text) <= LONGEST_CHARS else text[:LONGEST_CHARS] + "…"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    left_bytes, right_bytes = SIZES.unpack(sys.stdin.buffer.read(SIZES.size))
    left, right = sys.stdin.buffer.read(left_bytes), sys.stdin.buffer.read(right_bytes)
    lines, cut = compare(left, right)
    sys.stdout.write(json.dumps({"lines": lines, "cut": cut}))


if __name__ == "__main__":
    main()
