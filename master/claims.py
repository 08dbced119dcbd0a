"""What may a peer say about itself? Bounds for what is kept in memory, stored and shown.

None of it grants anything: a hostname is a claim, facts are for people to read.
"""

import re

import msgspec

from utils import VERSION, getLogger
from wire.errors import InvalidValue, ProtocolMismatch
from wire.messages import PROTOCOL, Register

log = getLogger(__name__)

MAX_FOREIGN = 1000
MAX_FACTS = 100
MAX_FACTS_BYTES = 16 << 10
MAX_QUEUES = 100
MAX_TEXT = 253  # characters, as of a name in the DNS
MAX_ADDRESSES = 64
MAX_ADDRESS = 45  # characters, of an IPv6 one

_QUEUE = re.compile(r"[A-Za-z0-9._-]{1,63}")


class Foreign:
    """Of whose protocol has the log told? Who is refused asks again and again."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def note(self, key: str, protocol: int, who: str) -> None:
        """Once a key, and of so many that strangers cannot fill the disk."""
        if protocol == PROTOCOL or key in self._told or len(self._told) >= MAX_FOREIGN:
            return
        self._told.add(key)
        log.error(
            f"{who} speaks protocol {protocol}, this master speaks {PROTOCOL}: it is refused "
            "until the same version is installed on both"
        )


def check_protocol(protocol: int) -> None:
    if protocol != PROTOCOL:
        raise ProtocolMismatch(
            f"you speak protocol {protocol}, this master (version {VERSION}) speaks {PROTOCOL}; "
            "install the same version on both"
        )


def check_register(message: Register) -> None:
    """Bounds what an agent may write into the store. Its facts grant nothing."""
    check_protocol(message.protocol)
    texts = [message.instance, message.machine, message.version, message.nonce]
    if any(len(text) > MAX_TEXT or not text.isprintable() for text in texts):
        raise InvalidValue(f"register: a text is longer than {MAX_TEXT} or not printable")
    if len(message.id) != 32 or any(letter not in "0123456789abcdef" for letter in message.id):
        raise InvalidValue("register: id is not 32 hexadecimal digits", field="id")
    check_claims(message.hostname, message.ip)
    if not 1 <= message.slots <= 1024:
        raise InvalidValue(f"register: slots is {message.slots}; it takes 1 to 1024", field="slots")
    for name in message.queues or ():
        if not _QUEUE.fullmatch(name):
            raise InvalidValue(
                f"register: queues has {name[:80]!r}; a queue is 1 to 63 of A-Z a-z 0-9 . _ -",
                field="queues",
            )
    if len(message.queues or ()) > MAX_QUEUES:
        raise InvalidValue(
            f"register: {len(message.queues or ())} queues; at most {MAX_QUEUES} are served",
            field="queues",
        )
    facts_bytes = len(msgspec.msgpack.encode(message.facts))
    if len(message.facts) > MAX_FACTS or facts_bytes > MAX_FACTS_BYTES:
        raise InvalidValue(
            f"register: {len(message.facts)} facts of {facts_bytes} bytes; at most {MAX_FACTS} of "
            f"{MAX_FACTS_BYTES} bytes are taken",
            field="facts",
        )


def check_claims(hostname: str, ip: list[str]) -> None:
    """Bounds what an agent says again and again, and what is kept of every host in memory."""
    shown = hostname[:80]
    if not 1 <= len(hostname) <= MAX_TEXT or not hostname.isprintable():
        raise InvalidValue(
            f"hostname {shown!r} is not printable, or not 1 to {MAX_TEXT} long", field="hostname"
        )
    if any(letter in "[],!&^@*? \\/" for letter in hostname):
        raise InvalidValue(f"hostname {shown!r} has a character of expressions", field="hostname")
    if len(ip) > MAX_ADDRESSES or any(len(one) > MAX_ADDRESS for one in ip):
        raise InvalidValue(
            f"ip has {len(ip)} addresses; at most {MAX_ADDRESSES} of {MAX_ADDRESS} characters",
            field="ip",
        )
