"""What do master and postman say to each other? Frames over a socket: a length, then msgpack.

The master writes Rules once, then Letters; the postman writes a Reply for each letter.
"""

import struct
from typing import Any

import msgspec
from msgspec import Struct

HEAD = struct.Struct(">I")
MAX_FRAME_BYTES = 4 << 20
MOST_OF_ANSWER_BYTES = 1024

Json = dict[str, Any]


class Rules(Struct, frozen=True):
    """`allow`: networks that callbacks may reach though they are not public, as CIDR.

    `web_url`: where the pages are, for links; empty: there are none in what is sent. `ca`:
    certificates (PEM) of authorities that are trusted besides those of the system.
    """

    allow: list[str] = []
    web_url: str = ""
    timeout_s: float = 15.0
    ca: str = ""


class Letter(Struct, frozen=True):
    """One event for one receiver. `id` stays the same at each try.

    `secret` signs, or is the password of a mail server; `old_secret` signs, too, for a while after
    the secret was changed. `event` is type, timestamp and data.
    """

    id: str
    kind: str
    url: str
    secret: str
    event: Json
    path: str = ""  # of the page about it
    username: str = ""
    sender: str = ""
    recipients: list[str] = []
    old_secret: str = ""

    def __repr__(self) -> str:
        return f"Letter {self.id}"  # the rest holds secrets


class Reply(Struct, frozen=True):
    """How one try went. `error` empty: it was taken. `status`: None if there was no answer."""

    id: str
    status: int | None
    error: str
    answer: bytes
    took_s: float
    retry_after_s: float | None = None  # what the receiver asked for
    gone: bool = False  # the receiver wants nothing more, ever


def framed(message: Struct) -> bytes:
    content = msgspec.msgpack.encode(message)
    return HEAD.pack(len(content)) + content


def size_of(head: bytes) -> int:
    """Raises ValueError for what is no frame of ours."""
    (size,) = HEAD.unpack(head)
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    return int(size)
