"""How does work of some tens of milliseconds leave the hub free to serve others?"""

from collections.abc import Callable
from typing import TypeVar

import gevent

T = TypeVar("T")


def beside(work: Callable[[], T]) -> T:
    """Run it in a native thread, while the calling greenlet waits. It must only read what the hub
    does not change in place."""
    result: T = gevent.get_hub().threadpool.apply(work)
    return result
