"""Who is who on the wire? CURVE key pairs on disk, and the join string that introduces a host.

Keys are Z85 text, as ZeroMQ prints them: 40 characters. A secret key and a token are
never in a repr, a log line or an error.
"""

import os
import stat

# hashlib would load OpenSSL, which costs every agent 3.6 MB; CPython's own blake2 does not.
from _blake2 import blake2b
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

import msgspec
import zmq
import zmq.utils.z85

from utils import write_private

SCHEME = "mschedule"
DEFAULT_PORT = 9000


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, each half as Z85 text."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Join:
    """What a host needs to enrol: where the master is, its public key, and a token.

    `str()` gives the join string, token and all.
    """

    host: str
    port: int
    key: str
    token: str = field(repr=False)
    agent: str | None = None  # the one agent that gets a new key by it; None: it enrols new ones

    @property
    def endpoint(self) -> str:
        """The master's address as ZeroMQ wants it."""
        return f"tcp://{_bracketed(self.host)}:{self.port}"

    def __str__(self) -> str:
        key, token = quote(self.key, safe=""), quote(self.token, safe="")
        of = f"&agent={self.agent}" if self.agent is not None else ""
        return f"{SCHEME}://{_bracketed(self.host)}:{self.port}?key={key}&token={token}{of}"


def make_keys() -> KeyPair:
    """A fresh random key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def is_key(text: str) -> bool:
    """Whether `text` is 32 bytes in Z85."""
    try:
        return len(text) == 40 and len(zmq.utils.z85.decode(text.encode("ascii"))) == 32
    except (ValueError, KeyError, ArithmeticError):
        return False


def fingerprint(key: str) -> str:
    """A public key for people to compare: 80 bits of its hash, such as 1f3a-…"""
    digits = blake2b(key.encode(), digest_size=10, person=b"mschedule").hexdigest()
    return "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def load_or_make_keys(path: Path) -> KeyPair:
    """The key pair kept in the file `path`; made and written, durably, where there is none.

    ValueError: the file is there and is not a key pair, or others than its owner can
    read it. It is never overwritten: another key would be another host.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        keys = make_keys()
        write_private(path, msgspec.json.encode(keys) + b"\n")
        return keys


def parse_join(text: str) -> Join:
    """The join string in `text`. ValueError, with a sentence that never shows the token."""
    parts, port = _split(text.strip())
    if parts.scheme != SCHEME:
        raise ValueError(f"a join string starts with {SCHEME}://, this one does not")
    if not parts.hostname:
        raise ValueError(f"the join string names no host: {SCHEME}://HOST:PORT?key=…&token=…")
    if parts.path.strip("/") or parts.fragment or parts.username is not None:
        raise ValueError("the join string is damaged: copy it whole, and quote it in a shell")
    key = _parameter(parts.query, "key")
    if not is_key(key):
        raise ValueError("the key in the join string is not a public key of 40 characters (Z85)")
    agent = _parameter(parts.query, "agent", optional=True)
    if agent and (len(agent) != 32 or not set(agent) <= set("0123456789abcdef")):
        raise ValueError("the agent in the join string is not an id of 32 hexadecimal digits")
    return Join(parts.hostname, port, key, _parameter(parts.query, "token"), agent or None)


def _load(path: Path) -> KeyPair:
    with path.open("rb") as file:
        others = os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        content = file.read(4096)
    if others:
        raise ValueError(f"the key file {path} can be read by others: make it mode 0600")
    try:
        keys = msgspec.json.decode(content, type=KeyPair)
    except msgspec.DecodeError:
        raise ValueError(f"{path} is not a key file, and is not overwritten") from None
    if not (is_key(keys.public) and is_key(keys.secret)) or keys.public != _public_of(keys.secret):
        raise ValueError(f"the keys in {path} are damaged: they are not a pair")
    return keys


def _public_of(secret: str) -> str:
    return zmq.curve_public(secret.encode()).decode()


def _split(text: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its own text may quote what was given
        raise ValueError(
            "the address in the join string is damaged: HOST:PORT, an IPv6 host in brackets"
        ) from None
    return parts, DEFAULT_PORT if port is None else port


def _parameter(query: str, name: str, *, optional: bool = False) -> str:
    try:
        values = parse_qs(query, max_num_fields=16).get(name, [])
    except ValueError:
        values = []
    if optional and not values:
        return ""
    if len(values) != 1:
        raise ValueError(f"the join string needs {name}=… exactly once")
    return values[0]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
