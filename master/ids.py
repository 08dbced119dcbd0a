"""What is an id? 32 hex characters: 12 of milliseconds, 20 of chance. And what is kept of a secret?

New ids sort behind old ones, so that the indexes over them grow at one end.
"""

import hashlib
import os
import time

CHANCE_BYTES = 10


def new_id() -> str:
    """Not to be guessed: 80 random bits. Not a secret: it tells when it was made."""
    return new_ids(1)[0]


def new_ids(number: int) -> list[str]:
    """So many at once, with one call for all their chance."""
    moment = f"{int(time.time() * 1000) & 0xFFFFFFFFFFFF:012x}"
    chance, digits = os.urandom(CHANCE_BYTES * number).hex(), CHANCE_BYTES * 2
    return [moment + chance[n * digits : (n + 1) * digits] for n in range(number)]


def hash_of(secret: str) -> str:
    """What the store keeps of a token: it is random and long, so no salt is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
