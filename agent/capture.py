"""How is a run's output kept? Its first bytes in one file, its last in a ring; the rest is counted.

Byte o of the output lies at o in `output` while o is below the end of the head, else at
(o - head) % ring in `tail`. What a full disk or the cap did not keep is one gap between the two.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import os

# hashlib would load OpenSSL, 4 MB in every runner, for the same function.
try:
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # Python 3.11
    from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]

from agent import rundir
from agent.mask import Mask


class Capture:
    """Takes all bytes a script writes, in order, and keeps what the cap and the disk allow.

    What the mask hides was never there: not in the files, and not in totals and checksum.
    """

    def __init__(
        self, directory: str, head_bytes: int, tail_bytes: int, mask: Mask | None = None
    ) -> None:
        self.total = 0
        self._mask = mask
        self._directory = directory
        self._head_limit = head_bytes
        self._ring_bytes = tail_bytes
        self._head = 0  # where the head ends
        self._head_closed = False
        self._tail_from = 0  # from here on the ring has every byte, as far as it reaches back
        self._sha256 = sha256()
        self._output = self._open(rundir.OUTPUT)
        self._tail: int | None = None

    def add(self, chunk: bytes) -> None:
        self._keep(chunk if self._mask is None else self._mask.feed(chunk))

    def _keep(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        offset = self.total
        self.total += len(chunk)
        kept = self._add_to_head(chunk)
        if kept < len(chunk):
            self._add_to_tail(offset + kept, chunk[kept:])

    def close(self) -> "dict[str, object]":
        """Sync the files; the totals as they go into the exit record."""
        if self._mask is not None:
            self._keep(self._mask.end())
        for descriptor in (self._output, self._tail):
            if descriptor is not None:
                _sync_and_close(descriptor)
        tail_from = max(self.total - self._ring_bytes, self._tail_from, self._head)
        return {
            "output_bytes": self.total,
            "output_sha256": self._sha256.hexdigest(),
            "output_gap": [self._head, tail_from] if tail_from > self._head else None,
            "output_head": self._head,
            "output_ring": self._ring_bytes,
        }

    def _add_to_head(self, chunk: bytes) -> int:
        """Append what belongs there; how many bytes. The first failed write ends the head."""
        if self._head_closed:
            return 0
        belongs = chunk[: self._head_limit - self._head]
        kept = _write_at(self._output, belongs, self._head)
        self._head += kept
        self._tail_from = self._head
        self._head_closed = self._head == self._head_limit or kept < len(belongs)
        return kept

    def _add_to_tail(self, offset: int, chunk: bytes) -> None:
        if self._ring_bytes == 0:
            return
        if self._tail is None:
            self._tail = self._open(rundir.TAIL)
        skipped = max(0, len(chunk) - self._ring_bytes)
        offset, chunk = offset + skipped, chunk[skipped:]
        while chunk:
            at = (offset - self._head) % self._ring_bytes
            piece = chunk[: self._ring_bytes - at]
            if _write_at(self._tail, piece, at) < len(piece):
                self._tail_from = offset + len(piece)
            offset, chunk = offset + len(piece), chunk[len(piece) :]

    def _open(self, name: str) -> int | None:
        """None when the disk has no room even for an empty file; the bytes are then a gap."""
        try:
            return os.open(f"{self._directory}/{name}", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError:
            return None


def _write_at(descriptor: int | None, chunk: bytes, at: int) -> int:
    """How many bytes got there: fewer when the disk is full or broken."""
    written = 0
    try:
        while descriptor is not None and written < len(chunk):
            written += os.pwrite(descriptor, chunk[written:], at + written)
    except OSError:
        pass  # the bytes become part of the gap, which is how it is told
    return written


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # the reader shows bytes that did not reach the disk as a gap
    os.close(descriptor)


def readable_bytes(directory: str) -> int:
    """How much of the head can be read now."""
    try:
        return os.stat(f"{directory}/{rundir.OUTPUT}").st_size
    except FileNotFoundError:
        return 0


def read_head(directory: str, offset: int, limit: int) -> bytes:
    return _read_at(f"{directory}/{rundir.OUTPUT}", offset, limit)


def read_tail(directory: str, offset: int, limit: int, head: int, ring_bytes: int) -> bytes:
    """Bytes from logical `offset` on, which lies behind the head; as many as lie in one piece."""
    at = (offset - head) % ring_bytes
    return _read_at(f"{directory}/{rundir.TAIL}", at, min(limit, ring_bytes - at))


def _read_at(path: str, at: int, limit: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, limit, at)
    finally:
        os.close(descriptor)
