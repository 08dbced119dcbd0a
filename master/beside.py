"""How does work of some tens of milliseconds leave the hub free to serve others?"""

from collections.abc import Callable
from typing import TypeVar

import gevent

from wire.errors import Refusal

T = TypeVar("T")


def beside(work: Callable[[], T]) -> T:
    """Run it in a native thread, while the calling greenlet waits. It must only read what the hub
    does not change in place."""
    outcome: T | Refusal = gevent.get_hub().threadpool.apply(_tried, (work,))
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _tried(work: Callable[[], T]) -> T | Refusal:
    """A refusal that left the thread as an exception would be logged there, with its traceback."""
    try:
        return work()
    except Refusal as refusal:
        return refusal
