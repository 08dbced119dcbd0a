"""How are secrets blanked out of a script's output? By value, wherever they stand in it.

Every byte that is part of some secret is hidden: places that overlap become one `***`, so that
nothing of the longer of two secrets is left beside the shorter. All other bytes pass unchanged.

Output comes in chunks, cut anywhere. What may be the beginning of a secret is held back until it
is known to be one or not, or the output ends; it is never longer than the longest secret.

Standard library alone, without `re`, since it is loaded by the runner.
"""

STARS = b"***"
LEAST_BYTES = 4  # shorter lines would blank out half of any output


def needles_of(values: "list[bytes]") -> "list[bytes]":
    """What is looked for: each secret without the line ends around it, and each of its lines.

    Lines of their own, since a script may print them apart, or with other line ends. Those of
    less than LEAST_BYTES are found only as a part of the whole.
    """
    found: set[bytes] = set()
    for value in values:
        whole = value.strip(b"\r\n")
        found.add(whole)
        found.update(line.rstrip(b"\r") for line in whole.split(b"\n"))
    return sorted(needle for needle in found if len(needle) >= LEAST_BYTES)


class Mask:
    """Takes output in order, and gives it back without the secrets."""

    def __init__(self, values: "list[bytes]") -> None:
        self._needles = needles_of(values)
        # What an end of the output must have, to be the beginning of a secret.
        self._starts = {needle[:n] for needle in self._needles for n in range(1, LEAST_BYTES)}
        self._held = b""  # read, and not given back yet
        self._hidden = 0  # so many bytes of it belong to a `***` that was given back
        self._places: list[tuple[int, int]] = []  # of secrets in it

    def feed(self, chunk: bytes) -> bytes:
        """What is certain by now."""
        text = self._held + chunk
        places = self._places + self._find(text, len(self._held))
        return self._give(text, places, self._undecided(text))

    def end(self) -> bytes:
        """The rest: no more is to come."""
        return self._give(self._held, self._places, len(self._held))

    def _give(self, text: bytes, places: "list[tuple[int, int]]", until: int) -> bytes:
        """All up to `until`; every secret that begins before it must be among the places."""
        given = []
        done = self._hidden
        left = []
        for start, end in sorted(places):
            if start >= until:
                left.append((start - until, end - until))
            elif start < done:
                done = max(done, end)
            else:
                given += [text[done:start], STARS]
                done = end
        given.append(text[done:until])
        self._held, self._places = text[until:], left
        self._hidden = max(0, done - until)
        return b"".join(given)

    def _find(self, text: bytes, known: int) -> "list[tuple[int, int]]":
        """Where secrets stand, (start, end), that end behind the first `known` bytes."""
        places = []
        for needle in self._needles:
            length = len(needle)
            at = text.find(needle, max(0, known - length + 1))
            while at != -1:
                places.append((at, at + length))
                at = text.find(needle, at + 1)
        return places

    def _undecided(self, text: bytes) -> int:
        """Where the first secret may begin that is not whole yet."""
        size = len(text)
        first = size
        for length in range(min(LEAST_BYTES - 1, size), 0, -1):
            if text[size - length :] in self._starts:
                first = size - length
                break
        for needle in self._needles:
            at = text.find(needle[:LEAST_BYTES], max(0, size - len(needle) + 1))
            while at != -1 and at < first:
                if needle.startswith(text[at:]):
                    first = at
                at = text.find(needle[:LEAST_BYTES], at + 1)
        return first
