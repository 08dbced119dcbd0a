"""Where does a request come from? What the connection says, or proxies that are named say of it.

Anybody can send a header: X-Forwarded-… counts only from an address given as
--trusted-proxies. There the list of addresses is read from its end, each entry believed as
long as the one who added it is a proxy of ours, so that nobody chooses the address that log-ins
are counted by and that the audit log keeps.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_HOPS = 32  # that are looked at, the nearest first

_PORT = re.compile(r"^(?:\[(?P<six>[^\]]*)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?$")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Seen:
    """Who sent a request, and how it travelled; `host` as in the URL that the client used."""

    address: str
    secure: bool
    host: str

    @property
    def in_the_open(self) -> bool:
        """Did it come unencrypted over a network?"""
        address = parsed_address(self.address)
        return not self.secure and not (address is not None and address.is_loopback)


class Proxies:
    """The proxies that are believed; without any, the connection alone speaks."""

    def __init__(self, networks: Sequence[Network] = ()):
        self._networks = tuple(networks)

    def trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def look(self, request: web.BaseRequest) -> Seen:
        peer = parsed_address(request.remote or "")
        address = request.remote or "" if peer is None else str(peer)
        own_host = request.headers.get("Host", "")  # request.host may ask the name service
        seen = Seen(address, request.secure, own_host)
        if not self.trusts(peer):
            return seen
        forwarded = _last(request, "X-Forwarded-Proto")
        host = _last(request, "X-Forwarded-Host")
        return Seen(
            str(self._client(peer, _listed(request, "X-Forwarded-For")) or address),
            request.secure or forwarded.lower() == "https",
            host if _HOST.fullmatch(host) else own_host,
        )

    def _client(self, peer: Address | None, hops: list[str]) -> Address | None:
        """The nearest address that is no proxy of ours; what cannot be read ends the search."""
        for hop in hops[: -MOST_HOPS - 1 : -1]:
            address = parsed_address(hop)
            if address is None:
                return peer
            peer = address
            if not self.trusts(address):
                break
        return peer


PROXIES: web.AppKey[Proxies] = web.AppKey("proxies")
SEEN: web.RequestKey[Seen] = web.RequestKey("seen", Seen)


def seen(request: web.Request) -> Seen:
    """Where it comes from, as it was found out before any handler."""
    return request[SEEN]


def networks(text: str) -> list[Network]:
    """Addresses and networks with commas between them, or ValueError."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


def wrong_networks(text: str | None) -> str | None:
    """What would be right in place of a bad list; None for a good one."""
    try:
        networks(text or "")
    except ValueError as error:
        return f"must be addresses or networks with commas between them, as 10.0.0.0/8: {error}"
    return None


def parsed_address(text: str) -> Address | None:
    """An address, also with a port, and an IPv4 one in the clothes of IPv6; None for all else."""
    found = _PORT.match(text.strip())
    bare = (found["six"] or found["four"] or "") if found else text.strip()
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return ipaddress.IPv6Address(int(address))
    return address


def _listed(request: web.BaseRequest, name: str) -> list[str]:
    """All entries of a header that may be repeated, in the order in which they were added."""
    return [part.strip() for line in request.headers.getall(name, []) for part in line.split(",")]


def _last(request: web.BaseRequest, name: str) -> str:
    """What the proxy nearest to us said."""
    return (_listed(request, name) or [""])[-1]
