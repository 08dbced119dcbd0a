"""How is a password kept and compared, without the fleet noticing?

argon2id takes 64 MiB and a sixth of a second of one core, on purpose. It runs in native
threads, two at once, which yield to the rest of the master: the scheduler gives a core to the
hub first. Whoever comes when many wait already is told to come again.
"""

import base64
import contextlib
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from gevent.threadpool import ThreadPool

from wire.errors import Busy

AT_ONCE = 2
MOST_WAITING = 32
NICENESS = 10  # of the threads, the hub's is 0: a tenth of its share where both want a core

# The second profile of RFC 9106, but on one core where that has four: two log-ins shall not take
# more than two.
TIME_COST, MEMORY_KIB, PARALLELISM = 3, 64 << 10, 1

T = TypeVar("T")


class Passwords:
    """Each method blocks the calling greenlet for a fraction of a second; raises Busy."""

    def __init__(self, time_cost: int = TIME_COST, memory_kib: int = MEMORY_KIB):
        self._hasher = PasswordHasher(time_cost, memory_kib, PARALLELISM)
        self._pool = ThreadPool(AT_ONCE)
        self._under_way = 0
        self._nobodys = _impossible(self._hasher)

    def hash(self, password: str) -> str:
        """What is kept: parameters, salt and hash in one text."""
        return self._beside(lambda: self._hasher.hash(_bytes(password)))

    def fits(self, kept: str | None, password: str) -> bool:
        """Is it the password? `kept` None, of a person that there is not: never, which takes just
        as long, so that nobody learns from the time which names there are."""
        wanted = kept if kept is not None else self._nobodys
        return self._beside(lambda: self._verified(wanted, password)) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Was it hashed with other parameters than those of today?"""
        return self._hasher.check_needs_rehash(kept)

    def _verified(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    def _beside(self, work: Callable[[], T]) -> T:
        if self._under_way >= AT_ONCE + MOST_WAITING:
            raise Busy("too many people log in at this moment; try again in some seconds")
        self._under_way += 1
        try:
            result: T = self._pool.apply(_nicely, (work,))
            return result
        finally:
            self._under_way -= 1


def _nicely(work: Callable[[], T]) -> T:
    """On Linux niceness belongs to a thread; this one does nothing else."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    return work()


def _bytes(password: str) -> bytes:
    """Keyboards differ in how they compose an ä."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _impossible(hasher: PasswordHasher) -> str:
    """A hash of today's parameters that no password is known to fit."""
    salt, content = secrets.token_bytes(hasher.salt_len), secrets.token_bytes(hasher.hash_len)
    return (
        f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        f"${_unpadded(salt)}${_unpadded(content)}"
    )


def _unpadded(content: bytes) -> str:
    return base64.b64encode(content).decode().rstrip("=")
