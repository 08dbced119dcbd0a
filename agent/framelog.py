"""How are bytes kept in one file so that a crash can't garble them? Numbered, checksummed frames.

The file is a line of text, then frames: magic, number, length, CRC32, payload. Zeros follow,
up to the room that was allocated ahead, so that appending changes neither the file's size nor
the free space of the disk: a full disk does not stop a frame that has room.

One frame is written and synced at a time, and the next only after that. So at most the last
frame can be torn by a crash, and nothing was promised on it: it is dropped. A bad frame with
a whole one behind it is another matter: something that was promised is gone. That is `Broken`,
and what to do is for the caller to say.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from utils import sync_directory

VERSION_LINE = b"mschedule journal 1\n"
# No text contains these bytes (they are not UTF-8), so a script can't be taken for a frame.
MAGIC = b"\xff\xfe\xfdJ"
HEADER = struct.Struct("<4sQII")  # magic, number, payload bytes, CRC32 of the three and the payload
MAX_PAYLOAD_BYTES = 32 << 20
ROOM_BYTES = 8 << 20  # allocated ahead of the last frame
READ_BYTES = 64 << 10


class Broken(Exception):
    """The file holds less than was once synced to it."""


class NoRoom(Exception):
    """The frame does not fit what is allocated, and the disk gives no more. Nothing was written."""


class FrameLog:
    """An append-only file of frames. `load` first, to its end; then `append` and `replace`.

    Any OSError out of `append` or `replace` leaves unknown what is on the disk (a failed fsync
    may have dropped the pages it could not write): load afresh before relying on anything.
    """

    def __init__(self, path: Path):
        self._path = path
        self._end = 0
        self._allocated = 0
        self._number = 0
        self.dropped_bytes = 0  # of a torn last frame, found by load
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @classmethod
    def create(cls, path: Path) -> "FrameLog":
        """An empty log at `path`, all of it there or nothing, whenever the machine stops."""
        _put_in_place(_write_beside(path, ()), path)
        log = cls(path)
        for _ in log.load():
            pass
        return log

    @property
    def size_bytes(self) -> int:
        return self._end

    @property
    def room_bytes(self) -> int:
        """How many bytes of frames fit without asking the disk for anything."""
        return self._allocated - self._end

    def load(self) -> Iterator[bytes]:
        """Every payload, in order. Drops a torn last frame; raises Broken for any other damage."""
        with open(os.dup(self._fd), "rb", buffering=READ_BYTES) as file:
            file.seek(0)
            if file.read(len(VERSION_LINE)) != VERSION_LINE:
                raise Broken(f"{self._path} does not begin as a journal of this version does")
            self._end, self._number = len(VERSION_LINE), 0
            while (payload := _read_frame(file, self._number)) is not None:
                self._advance(payload)
                yield payload
            self._check_tail(file)
        self._repair()

    def append(self, payload: bytes) -> None:
        """Write one frame and sync it. Raises NoRoom before anything is written."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise NoRoom(f"{self._path}: {len(payload)} bytes are more than one frame takes")
        frame = _frame(self._number, payload)
        if len(frame) > self.room_bytes and not self.make_room(len(frame)):
            raise NoRoom(f"{self._path}: no room for {len(frame)} bytes, and the disk is full")
        _write_all(self._fd, frame, self._end)
        os.fdatasync(self._fd)
        self._advance(payload)

    def make_room(self, at_least: int | None = None) -> bool:
        """Allocate ahead if fewer than `at_least` bytes are left; False if the disk refuses."""
        if at_least is None:
            at_least = ROOM_BYTES // 2
        if self.room_bytes >= at_least:
            return True
        try:
            os.posix_fallocate(self._fd, self._end, max(ROOM_BYTES, at_least))
            os.fsync(self._fd)  # the new size, so that appends need only fdatasync
        except OSError:
            return False
        self._allocated = os.fstat(self._fd).st_size
        return True

    def read(self) -> Iterator[bytes]:
        """Every payload once more, read from the file; for what is not kept in memory."""
        with self._path.open("rb", buffering=READ_BYTES) as file:
            file.seek(len(VERSION_LINE))
            for number in range(self._number):
                payload = _read_frame(file, number)
                if payload is None:
                    raise Broken(f"{self._path}: frame {number} can no longer be read")
                yield payload

    def replace(self, payloads: Iterable[bytes]) -> None:
        """Put a new file with these frames in the place of the old one, atomically.

        Raises NoRoom if the new file can't be written: the old one is as it was, and in use.
        """
        try:
            beside = _write_beside(self._path, payloads)
        except OSError as error:
            raise NoRoom(f"{self._path} could not be compacted: {error.strerror}") from error
        _put_in_place(beside, self._path)
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        for _ in self.load():
            pass

    def close(self) -> None:
        os.close(self._fd)

    def _advance(self, payload: bytes) -> None:
        self._end += HEADER.size + len(payload)
        self._number += 1

    def _check_tail(self, file: BinaryIO) -> None:
        """Tell zeros, or one torn frame, from the loss of frames that were synced."""
        file.seek(self._end)
        last, offset = self._end, self._end
        while block := file.read(READ_BYTES):
            if stripped := len(block.rstrip(b"\0")):
                last = offset + stripped
            offset += len(block)
        self.dropped_bytes = last - self._end
        if self.dropped_bytes:
            file.seek(self._end)
            if _holds_frame(file.read(self.dropped_bytes), above=self._number):
                raise Broken(f"{self._path} is damaged at byte {self._end}, with records behind it")

    def _repair(self) -> None:
        if self.dropped_bytes:  # zeros keep the room that was allocated; a cut would give it away
            _write_all(self._fd, bytes(self.dropped_bytes), self._end)
        self._allocated = os.fstat(self._fd).st_size
        self.make_room()
        os.fsync(self._fd)


def _frame(number: int, payload: bytes) -> bytes:
    bare = HEADER.pack(MAGIC, number, len(payload), 0)
    return HEADER.pack(MAGIC, number, len(payload), zlib.crc32(payload, zlib.crc32(bare))) + payload


def _read_frame(file: BinaryIO, number: int) -> bytes | None:
    """The payload of the frame that begins here, None if that is not a whole frame `number`."""
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, found, length, checksum = HEADER.unpack(header)
    if magic != MAGIC or found != number or length > MAX_PAYLOAD_BYTES:
        return None
    payload = file.read(length)
    bare = HEADER.pack(magic, found, length, 0)
    if len(payload) < length or zlib.crc32(payload, zlib.crc32(bare)) != checksum:
        return None
    return payload


def _holds_frame(tail: bytes, above: int) -> bool:
    """Is there a whole frame with a number above `above` anywhere in `tail`?"""
    at = tail.find(MAGIC)
    while at >= 0:
        header = tail[at : at + HEADER.size]
        if len(header) == HEADER.size:
            magic, number, length, checksum = HEADER.unpack(header)
            payload = tail[at + HEADER.size : at + HEADER.size + length]
            # Trailing zeros were stripped from the tail, and may belong to the payload.
            payload += b"\0" * min(length - len(payload), READ_BYTES)
            bare = HEADER.pack(magic, number, length, 0)
            if number > above and zlib.crc32(payload, zlib.crc32(bare)) == checksum:
                return True
        at = tail.find(MAGIC, at + 1)
    return False


def _write_beside(path: Path, payloads: Iterable[bytes]) -> Path:
    """A synced file with these frames beside `path`; its own path."""
    beside = path.with_name(path.name + ".new")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, VERSION_LINE, 0)
        end = len(VERSION_LINE)
        for number, payload in enumerate(payloads):
            frame = _frame(number, payload)
            _write_all(fd, frame, end)
            end += len(frame)
        os.posix_fallocate(fd, end, ROOM_BYTES)
        os.fsync(fd)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return beside


def _put_in_place(beside: Path, path: Path) -> None:
    os.rename(beside, path)
    sync_directory(path.parent)


def _write_all(fd: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
