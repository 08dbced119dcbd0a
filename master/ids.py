"""What is an id? 32 hex characters: 12 of milliseconds, 20 of chance.

New ids sort behind old ones, so that the indexes over them grow at one end.
"""

import os
import time


def new_id() -> str:
    """Not to be guessed: 80 random bits. Not a secret: it tells when it was made."""
    return f"{int(time.time() * 1000) & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"
