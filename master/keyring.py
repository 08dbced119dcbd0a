"""Is the key here that the secrets in the store are sealed with?

It is made at the first start, and never replaced by itself: a master that has lost it does not
start before somebody has brought it back, or has said that the secrets are given up.
"""

import os
import stat
from pathlib import Path

from master import audit
from master.secrets import Vault
from master.storage import Storage
from utils import StartError, getLogger, write_private

log = getLogger(__name__)

KEY_BYTES = 32


class Keyring:
    """The key file of a master. The vault can be used before `settle`, which may refuse it."""

    def __init__(self, path: Path):
        """Raises StartError when the file is no key, or others may read it."""
        self._path = path
        key = _load(path)
        self._key = os.urandom(KEY_BYTES) if key is None else key
        self._is_new = key is None
        self.vault = Vault(self._key)

    def settle(self, storage: Storage, *, forget: bool) -> None:
        """See that all in the store opens with this key, and keep the key if it is new.

        `forget`: delete what is sealed with others. Raises StartError.
        """
        other = storage.other_secret_key(self.vault.key_id).wait()
        if other is not None and not forget:
            raise StartError(self._complaint(other))
        if other is not None:
            act = audit.of_system("secrets.forget")
            count = storage.forget_other_secrets(self.vault.key_id, act).wait()
            log.warning(
                f"{count} secrets are given up: their key is gone; their tasks cannot run, and "
                "their callbacks are paused"
            )
        if self._is_new:
            write_private(self._path, self._key.hex().encode() + b"\n")
            self._is_new = False
            log.info(f"the key of secrets lies in {self._path}: back it up, apart from the store")

    def _complaint(self, other: str) -> str:
        here = "is missing" if self._is_new else f"holds key {self.vault.key_id}"
        return (
            f"{self._path} {here}, and secrets in the store are sealed with key {other}: bring "
            "the right file back from its backup, or start once with --lost-secrets forget, "
            "which gives those secrets up"
        )


def _load(path: Path) -> bytes | None:
    """None: there is no such file."""
    try:
        with path.open("rb") as file:
            others = os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO)
            text = file.read(4096)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"the key file {path} can't be read: {error.strerror}") from error
    if others:
        raise StartError(f"the key file {path} can be read by others: make it mode 0600")
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StartError(
            f"{path} is damaged, and is not overwritten: it takes {2 * KEY_BYTES} hexadecimal "
            "digits; bring it back from its backup"
        )
    return key
