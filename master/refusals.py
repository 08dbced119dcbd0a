"""Which refused attempts are written down? Every one, until there are too many in a minute.

Whoever may not change anything must not fill the store with that: of each action from each
address the first few of a minute are records of their own, the others are counted, and a
last record says how many they were. Memory and records of one minute are bounded in all.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from master.audit import Act, Note
from master.database import Verb
from utils import getLogger
from wire.errors import Refusal

log = getLogger(__name__)

MINUTE_S = 60.0
MOST_OF_ONE = 10  # records a minute, of one action from one address
MOST_OF_ALL = 60  # records a minute
MOST_COUNTED = 1_000  # pairs of action and address counted apart; beyond, by action only


class _Count(Struct):
    written: int = 0
    left_out: Note | None = None  # the newest of those that were only counted
    number: int = 0  # of those


class Minute(Struct):
    """What was refused since `begun_at`."""

    begun_at: float
    written: int = 0
    counts: dict[tuple[str, str], _Count] = {}

    def may_write(self, note: Note) -> bool:
        """Shall it be a record of its own? If not, it is counted."""
        count = self._count_of(note.act)
        if count.written < MOST_OF_ONE and self.written < MOST_OF_ALL:
            count.written += 1
            self.written += 1
            return True
        count.number += 1
        count.left_out = note
        return False

    def left_out(self) -> Iterator[Note]:
        for (_, address), count in self.counts.items():
            if count.left_out is not None:
                act = replace(count.left_out.act, who="", kind="nobody", credential="")
                yield Note(
                    replace(act, address=address),
                    "",
                    count.left_out.result,
                    {"left_out": count.number},
                )

    def _count_of(self, act: Act) -> _Count:
        key = (act.action, act.address)
        if key not in self.counts and len(self.counts) >= MOST_COUNTED:
            key = (act.action, "")
        return self.counts.setdefault(key, _Count())


class Refusals:
    """Writes refused attempts into the audit log. `write` begins with the store's verb."""

    def __init__(self, write: Callable[..., Verb[None]], clock: Callable[[], float]):
        self._write = write
        self._clock = clock
        self._minute = Minute(clock())

    def note(self, act: Act, object: str, refusal: Refusal) -> None:
        """Returns at once. What failed for another reason than a refusal is no attempt."""
        if refusal.status >= 500:
            return
        self.turn()
        note = Note(act, object, refusal.code)
        if self._minute.may_write(note):
            self._put(note)

    def turn(self) -> None:
        """Called now and then: when the minute is over, write what was left out in it."""
        now = self._clock()
        if now - self._minute.begun_at < MINUTE_S:
            return
        over, self._minute = self._minute, Minute(now)
        self._put(*over.left_out())

    def _put(self, *notes: Note) -> None:
        if not notes:
            return
        try:
            self._write(*notes).then(_say_if_lost)
        except Refusal as error:
            _say_if_lost(error)


def _say_if_lost(outcome: object) -> None:
    if isinstance(outcome, BaseException):
        log.error(f"a refused attempt is not in the audit log: {outcome}")
