"""What keeps a loop of the agent going when a round of it fails?

For a while there may be no descriptors, memory or room. A loop that ended by that would leave
an agent behind that lives and does nothing.
"""

from collections.abc import Callable

import gevent

from utils import getLogger

log = getLogger(__name__)

AGAIN_S = 1.0


def keep_going(what: str, loop: Callable[[], None]) -> None:
    """Run a loop that ends only by an error, and begin it again a moment later."""
    while True:
        try:
            loop()
        except Exception:
            log.exception(f"{what} failed; it begins again in {AGAIN_S:g} s")
        gevent.sleep(AGAIN_S)
