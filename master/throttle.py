"""How fast may passwords be guessed? Failures are counted by account and by address.

Counts live in the memory of one master, a bounded number of them. An account's failures slow
down whoever tries it from anywhere, except from where its person has logged in lately:
otherwise anybody could keep a person out by failing in their name. Many people may share an
address, so an address has more failures free; a good log-in forgives an account its failures,
never an address, which would let one good account cover the guessing at all others.
"""

import contextlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from wire.errors import TooManyAttempts, Unauthenticated

ACCOUNT_FREE = 5  # failures before the first pause
ADDRESS_FREE = 40
MAX_PAUSE_S = 60.0
FORGOTTEN_S = 900.0  # after so long without a failure counting begins anew
MOST = 10_000  # counts, and places where people have logged in

T = TypeVar("T")


@dataclass
class Count:
    """`under_way`: attempts that began and have not ended; each may turn out a failure."""

    free: int
    failures: int = 0
    last_at: float = 0.0
    under_way: int = 0


def pause_s(failures: int, free: int) -> float:
    """How long after the last of so many failures the next attempt is looked at."""
    if failures < free:
        return 0.0
    return min(2.0 ** min(failures - free, 30), MAX_PAUSE_S)


def wait_s(count: Count, now: float) -> float:
    """How many seconds from now an attempt may begin; 0: at once.

    Past the free failures one attempt is looked at at a time: a hundred at once would
    otherwise be a hundred guesses.
    """
    failures = 0 if now - count.last_at > FORGOTTEN_S else count.failures
    wait = max(0.0, count.last_at + pause_s(failures, count.free) - now)
    if count.under_way and failures + count.under_way >= count.free:
        return max(wait, 1.0)
    return wait


def failed(count: Count, now: float) -> None:
    count.failures = 1 if now - count.last_at > FORGOTTEN_S else count.failures + 1
    count.last_at = now


class Throttle:
    """`now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic, most: int = MOST):
        self._now = now
        self._most = most
        self._counts: OrderedDict[Hashable, Count] = OrderedDict()
        self._familiar: OrderedDict[Hashable, None] = OrderedDict()

    @contextlib.contextmanager
    def attempt(self, account: str | None, address: str) -> Iterator[None]:
        """Around one attempt: what raises Unauthenticated has failed, what ends well succeeded.

        `account` None: a code that belongs to no account. Raises TooManyAttempts.
        """
        address = _network(address)
        counts = [self._count(("address", address), ADDRESS_FREE)]
        if account is not None:
            counts.append(self._count(self._account_key(account, address), ACCOUNT_FREE))
        self._refuse(counts)
        for count in counts:
            count.under_way += 1
        try:
            yield
        except Unauthenticated:
            for count in counts:
                failed(count, self._now())
            raise
        else:
            if account is not None:
                counts[-1].failures = 0
                _remember(self._familiar, (account, address), None, self._most)
        finally:
            for count in counts:
                count.under_way -= 1

    def _refuse(self, counts: list[Count]) -> None:
        wait = math.ceil(max(wait_s(count, self._now()) for count in counts))
        if wait > 0:
            raise TooManyAttempts(
                f"too many attempts failed; try again in {wait} s",
                details={"retry_after_s": wait},
            )

    def _account_key(self, account: str, address: str) -> Hashable:
        if (account, address) in self._familiar:
            return ("account", account, address)
        return ("account", account)

    def _count(self, key: Hashable, free: int) -> Count:
        count = self._counts.get(key)
        if count is None:
            count = Count(free, last_at=-math.inf)
        _remember(self._counts, key, count, self._most)
        return count


def _remember(kept: OrderedDict[Hashable, T], key: Hashable, value: T, most: int) -> None:
    """As the newest; the one looked at longest ago goes."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _network(address: str) -> str:
    """One subscriber of IPv6 has a whole /64 of addresses, so that counts as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
