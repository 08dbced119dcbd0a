"""Which addresses may a callback reach? Public ones, and those that the settings allow.

What is judged is the address that is connected to, after names were resolved and for each
redirect anew: a name that resolves to something else at the second look changes nothing.
"""

import socket
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

Address = IPv4Address | IPv6Address

# Public by number, and yet a machine's own: Azure answers there with what a host may know.
METADATA = frozenset({ip_address("168.63.129.16")})
_NAT64 = IPv6Network("64:ff9b::/96")


class RefusedAddress(OSError):
    """The address is not public, and no setting allows it."""


class Doorkeeper:
    """Judges addresses; makes sockets for those that may be reached."""

    def __init__(self, allow: Iterable[str] = ()):
        self._allow = [ip_network(one) for one in allow]

    def check(self, text: str) -> None:
        """Raises RefusedAddress with a sentence that says what would allow it."""
        address = ip_address(text.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if self._is_allowed(address):
            return
        for face in (address, *_within(address)):
            if not (_is_public(face) or self._is_allowed(face)):
                raise RefusedAddress(
                    f"{address} is not a public address; the master's setting callback_allow "
                    "says which others callbacks may reach"
                )

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allow)

    def socket_for(self, found: tuple[Any, ...]) -> socket.socket:
        """A socket for one result of getaddrinfo, if it may be connected."""
        family, kind, protocol, _, address = found
        self.check(str(address[0]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """The first address of the name that may be reached and answers. Blocks the thread."""
        error: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            try:
                self.check(str(address[0]))
                return _connected(socket.socket(family, kind, protocol), address, timeout_s)
            except OSError as failure:
                error = failure
        raise error


def _connected(made: socket.socket, address: Any, timeout_s: float) -> socket.socket:
    try:
        made.settimeout(timeout_s)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and address not in METADATA
    )


def _within(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to, by 6to4, Teredo or NAT64."""
    if not isinstance(address, IPv6Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
