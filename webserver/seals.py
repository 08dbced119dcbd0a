"""Does a form come from a page that we gave to this very browser? It carries the cookie's seal.

A seal is made from the secret in the cookie and from nothing else: so nothing is kept here, any
web server of the fleet knows the seals of any other, and forms outlive a restart. Who does not
know the cookie cannot make one, and the seal does not tell the cookie.
"""

import hashlib
import hmac

PURPOSE = b"mschedule form"


def seal_of(cookie: str) -> str:
    """What the forms must carry that come with this cookie."""
    return hmac.new(cookie.encode("utf-8", "replace"), PURPOSE, hashlib.sha256).hexdigest()


def fits(cookie: str, seal: str) -> bool:
    """False also without a cookie: its seal would be known to all."""
    expected = seal_of(cookie).encode()
    return cookie != "" and hmac.compare_digest(expected, seal.encode("utf-8", "replace"))
