"""How is it noticed that an audit record was changed, or is missing? Each has the hash of the last.

Records are numbered 1, 2, 3 … without a gap. The hash of a record is SHA-256 of the hash
before it and of the record's values as JSON. Whoever changes, removes or inserts one has
to make all hashes after it anew, and then the last one is not what was written down
elsewhere. Nothing here knows a store.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

GENESIS = "0" * 64  # the hash before the first record


class Entry(NamedTuple):
    """What is told of one act; the values in the order in which they are hashed.

    `at_ms` is a whole number of milliseconds, so that every engine gives back what it was
    given. `result` is "ok", or the code of the refusal. `detail` is a JSON object as text.
    """

    at_ms: int
    who: str
    kind: str
    credential: str
    address: str
    action: str
    object: str
    result: str
    detail: str


class Link(NamedTuple):
    """A record's place in the chain."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class Broken(NamedTuple):
    """The first record that does not fit, and why, in words."""

    seq: int
    why: str


START = Link(0, GENESIS)

_LINK = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", re.ASCII)
_encode = msgspec.json.Encoder().encode


def link_of(text: str) -> Link | None:
    """SEQ:HASH as it was printed; None: it is not that."""
    match = _LINK.fullmatch(text)
    return Link(int(match[1]), match[2]) if match else None


def following(last: Link, entry: Entry) -> Link:
    """The place of an entry that comes after `last`."""
    seq = last.seq + 1
    digest = hashlib.sha256(last.hash.encode())
    digest.update(_encode((seq, *entry)))
    return Link(seq, digest.hexdigest())


def check(
    records: Iterable[tuple[int, Entry, str]], kept: Iterable[Link] = ()
) -> tuple[Link, Broken | None]:
    """Walk (seq, entry, hash) in order: the last record that fits, and the first that does not.

    `kept`: what was written down elsewhere, and must be found again; one that lies behind the
    last record says that the end is missing.
    """
    known = {link.seq: link.hash for link in kept}
    last = START
    for seq, entry, hash in records:
        expected = following(last, entry)
        broken = _unfit(seq, hash, expected, known.get(seq))
        if broken is not None:
            return last, broken
        last = expected
    missing = min((seq for seq in known if seq > last.seq), default=None)
    if missing is not None:
        why = f"missing: the log ends with record {last.seq}, and record {missing} was kept"
        return last, Broken(last.seq + 1, why)
    return last, None


def _unfit(seq: int, hash: str, expected: Link, kept: str | None) -> Broken | None:
    if seq != expected.seq:
        return Broken(expected.seq, f"missing: record {seq} follows record {expected.seq - 1}")
    if hash != expected.hash:
        return Broken(seq, "changed: its hash is not that of its values and of the record before")
    if kept is not None and kept != hash:
        return Broken(seq, "rewritten: its hash is not the one that was kept")
    return None
