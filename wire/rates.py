"""How much may one peer say in a second? Token buckets, so that a burst is fine and a flood is not.

An agent's messages are counted by its key, whatever number of connections it has. Keys that
are not known are counted by address, and all together, since anyone can make any number of
keys. Who says too much is refused as Busy, which an honest peer takes as a wish to come back
later; who goes on all the same is not even answered.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum

from msgspec import Struct

from wire.calls import Caller

MOST_BUCKETS = 200_000  # some 40 MB; the one that was used longest ago goes first
FULL_AGAIN_S = 75.0  # whatever its level was: three times the longest that a burst takes to fill


class Rate(Struct, frozen=True):
    """So many a second in the long run, and `burst` at once."""

    per_s: float
    burst: float


class Allowance(Struct, frozen=True):
    """What peers of one role may send. `methods`: rates of single methods, by their names."""

    messages: Rate
    payload: Rate  # bytes
    methods: Mapping[str, Rate] = {}


_REGISTER = Rate(1, 20)
# An agent whose slots are full of runs as short as they can be spends a millisecond on each, and
# sends a result and not quite as many polls; besides, output as fast as four scripts write.
AGENT = Allowance(
    messages=Rate(2_000, 5_000),
    payload=Rate(32 << 20, 128 << 20),
    methods={
        "sendmsg(register)": _REGISTER,
        "sendmsg(reg)": _REGISTER,
        "sendmsg(done)": Rate(5, 50),
        "sendmsg(heartbeat)": Rate(5, 50),
    },
)
# Ten thousand new hosts may sit behind one address, and shall be enrolled within 20 s.
STRANGER = Allowance(messages=Rate(300, 6_000), payload=Rate(4 << 20, 64 << 20))
ALL_STRANGERS = Rate(600, 8_000)  # together: each costs a transaction


ALLOWANCES = {"agent": AGENT, "refused": AGENT, "stranger": STRANGER}


class Verdict(Enum):
    PASS = "pass"
    BUSY = "busy"
    DROP = "drop"


class Bucket(Struct):
    """`level` is what is left; below nothing, how much was said in spite of that."""

    level: float
    at: float

    def take(self, rate: Rate, amount: float, now: float) -> Verdict:
        level = min(rate.burst, self.level + (now - self.at) * rate.per_s)
        self.at = now
        if level >= amount:
            self.level = level - amount
            return Verdict.PASS
        # What is refused counts half, so that who backs off soon passes again.
        self.level = max(-2 * rate.burst, level - amount / 2)
        return Verdict.DROP if self.level < -rate.burst else Verdict.BUSY


class Rates:
    """Judges each message before anything is done for it. Peers of a role without an allowance
    (the web) are not limited here."""

    def __init__(
        self,
        allowances: Mapping[str, Allowance],
        strangers: Rate = ALL_STRANGERS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._allowances = allowances
        self._strangers = strangers
        self._all_strangers = Bucket(strangers.burst, clock())
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def judge(self, caller: Caller, size: int) -> Verdict:
        """A message of `size` bytes."""
        allowance = self._allowances.get(caller.role)
        if allowance is None:
            return Verdict.PASS
        who, now = self._who(caller), self._clock()
        verdict = self._take((who, "messages"), allowance.messages, 1, now)
        if verdict is Verdict.PASS:
            verdict = self._take((who, "bytes"), allowance.payload, size, now)
        if verdict is Verdict.PASS and not caller.id:
            verdict = self._all_strangers.take(self._strangers, 1, now)
        return verdict

    def judge_method(self, caller: Caller, method: str) -> Verdict:
        """A call whose method is known by now."""
        allowance = self._allowances.get(caller.role)
        rate = allowance and allowance.methods.get(method)
        if not rate:
            return Verdict.PASS
        return self._take((self._who(caller), method), rate, 1, self._clock())

    def _who(self, caller: Caller) -> str:
        return caller.id or caller.address

    def _take(self, key: tuple[str, str], rate: Rate, amount: float, now: float) -> Verdict:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(rate.burst, now)
            self._forget(now)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(rate, amount, now)

    def _forget(self, now: float) -> None:
        """A bucket that is full again says no more than none. One more comes in, two may go."""
        for _ in range(2):
            oldest = next(iter(self._buckets))
            idle_s = now - self._buckets[oldest].at
            if idle_s <= FULL_AGAIN_S and len(self._buckets) <= MOST_BUCKETS:
                return
            del self._buckets[oldest]
