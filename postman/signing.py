"""How does a receiver know that a callback is ours? By the signature of Standard Webhooks.

https://www.standardwebhooks.com: HMAC-SHA256 over id, time and body, in base64, with a secret
that is written as whsec_ and base64.
"""

import base64
import binascii
import hmac

PREFIX = "whsec_"


def headers(id: str, at: float, body: bytes, secret: str, old: str = "") -> dict[str, str]:
    """The three headers of the specification, for a try made at this time.

    `old`: a secret that the receiver may still have; it finds the signature that it can check.
    """
    timestamp = str(int(at))
    secrets = [secret, old] if old else [secret]
    signatures = [f"v1,{signature(id, timestamp, body, one)}" for one in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def signature(id: str, timestamp: str, body: bytes, secret: str) -> str:
    content = f"{id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key_of(secret), content, "sha256")).decode()


def key_of(secret: str) -> bytes:
    """Raises ValueError for what is no secret of the specification."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a secret begins with {PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"behind {PREFIX} comes base64") from error
