"""How are secrets kept, so that neither the store nor a copy of it tells them? Sealed, one by one.

AES-256-GCM, with a nonce of its own for each value, bound to task, kind and name: what is moved
to another place in the store does not open there. The key lies in a private file beside the store
and is made once. Random nonces are safe for some four thousand million values under one key.

What cannot be opened is always said, and never left out: a script must not run without its secrets.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from wire.errors import SecretsUnreadable

NONCE_BYTES = 12
VARIABLE, FILE = "variable", "file"


class Values(Struct, frozen=True):
    """Secrets by name, as they are told to an agent: variables, and contents of files."""

    variables: dict[str, str] = {}
    files: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self.variables or self.files)

    def __repr__(self) -> str:
        return f"Values of {', '.join([*self.variables, *self.files]) or 'nothing'}"


class Sealed(Struct, frozen=True):
    """A value as it lies in the store. `content`: nonce and ciphertext."""

    name: str
    kind: str
    key_id: str
    content: bytes


class Vault:
    """Seals and opens with one key, of which `key_id` may be told: it says nothing of the key."""

    def __init__(self, key: bytes):
        self._key = key
        self._cipher = AESGCM(key)
        self.key_id = hmac.digest(key, b"mschedule secrets key", "sha256").hex()[:16]

    def seal(self, task: str, values: Values) -> tuple[Sealed, ...]:
        return tuple(
            Sealed(name, kind, self.key_id, self._sealed(_place(task, kind, name), value))
            for kind, named in ((VARIABLE, values.variables), (FILE, values.files))
            for name, value in named.items()
        )

    def open(self, task: str, sealed: Iterable[Sealed]) -> Values:
        """Raises SecretsUnreadable, with the name of the first that does not open."""
        values = Values({}, {})
        for one in sealed:
            named = values.files if one.kind == FILE else values.variables
            named[one.name] = self._opened(task, one)
        return values

    def digest(self, content: bytes) -> str:
        """A hash that nobody can guess values by who has the store alone."""
        return hmac.digest(self._key, b"content\0" + content, "sha256").hex()

    def _sealed(self, place: bytes, value: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value.encode(), place)

    def _opened(self, task: str, one: Sealed) -> str:
        if one.key_id != self.key_id:
            raise SecretsUnreadable(
                f"secret {one.name} of task {task} is sealed with key {one.key_id}, and the key "
                f"here is {self.key_id}: bring back the master's secrets.key of then, or submit "
                "the task anew with its secrets"
            )
        nonce, content = one.content[:NONCE_BYTES], one.content[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, content, _place(task, one.kind, one.name)).decode()
        except (InvalidTag, ValueError):
            raise SecretsUnreadable(
                f"secret {one.name} of task {task} is damaged in the store: submit the task anew "
                "with its secrets"
            ) from None


def check_names(task: str, names: Iterable[str], values: Values) -> None:
    """Is every secret there that the task was submitted with? Raises SecretsUnreadable."""
    missing = [name for name in names if name not in values.variables and name not in values.files]
    if missing:
        raise SecretsUnreadable(
            f"secret {missing[0]} of task {task} is no longer kept: submit the task anew with "
            "its secrets"
        )


def plain_digest(content: bytes) -> str:
    """What Vault.digest is to a body without secrets."""
    return hashlib.sha256(content).hexdigest()


def _place(task: str, kind: str, name: str) -> bytes:
    return f"{task}\0{kind}\0{name}".encode()
