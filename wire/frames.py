"""What do zerorpc's messages look like? Version 3 of its format, checked as it is decoded.

A message is msgpack of [header, name, args], between an empty frame and the end. Only
what is declared here is made into objects: the arguments stay raw bytes until the
caller's right to the method is known, and then become typed records. So a message of
millions of empty arrays costs a scan, not memory.
"""

from itertools import count
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

OK = "OK"
ERR = "ERR"
HEARTBEAT = "_zpc_hb"
MORE = "_zpc_more"  # says how much of a stream fits; there are no streams here

ChannelId = Annotated[bytes, Meta(min_length=1, max_length=64)]


class Header(Struct, gc=False, omit_defaults=True):
    """`message_id` of a request names its channel; whatever follows carries it as `response_to`."""

    message_id: ChannelId
    v: Literal[3]
    response_to: ChannelId | None = None


class Event(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """One message. A request's `name` is the method, an answer's OK or ERR."""

    header: Header
    name: Annotated[str, Meta(max_length=64)]
    args: Raw


_events = msgspec.msgpack.Decoder(Event)
_encoder = msgspec.msgpack.Encoder()
_message_ids = count(1)


def decode(body: bytes) -> Event:
    """The message in `body`. ValueError or RecursionError: it is none."""
    return _events.decode(body)


def encode(name: str, args: object, response_to: bytes) -> bytes:
    """The bytes of an answer on the channel `response_to`."""
    header = Header(next(_message_ids).to_bytes(8, "big"), 3, response_to)
    return _encoder.encode((header, name, args))
