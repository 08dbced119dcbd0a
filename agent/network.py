"""Which addresses would a person use to reach this host? IPv4, from the interfaces.

Looked up beside the heartbeat: an interface that hangs must not make a host look dead.
The `ipaddress` module would say what kind an address is, and cost every agent a megabyte.
"""

import socket
from pathlib import Path

import netifaces

ROUTES = Path("/proc/net/route")
LINK_LOCAL = bytes((169, 254))
LOOPBACK, MULTICAST = 127, 224  # first octets; reserved ones follow the multicast ones


def addresses() -> list[str]:
    """The IPv4 addresses of this host, those of the default route first, then in numeric order.

    Without loopback, link-local, multicast, reserved and unspecified ones. Empty when there is
    no network, never an error: the answer is for people to read.
    """
    default = _default_interface()
    found: dict[bytes, bool] = {}  # packed address: is it of the default route?
    for interface in _interfaces():
        for address in _of_interface(interface):
            found[address] = found.get(address, False) or interface == default
    return [socket.inet_ntoa(a) for a in sorted(found, key=lambda a: (not found[a], a))]


def is_reachable(address: bytes) -> bool:
    """Could another host send to this packed address?"""
    return 0 < address[0] < MULTICAST and address[0] != LOOPBACK and address[:2] != LINK_LOCAL


def _interfaces() -> list[str]:
    try:
        return netifaces.interfaces()
    except OSError:
        return []


def _of_interface(interface: str) -> list[bytes]:
    """Packed addresses in use on an interface; none if it has just gone."""
    try:
        rows = netifaces.ifaddresses(interface).get(netifaces.InterfaceType.AF_INET) or []
        packed = [socket.inet_aton(row["addr"]) for row in rows if "addr" in row]
    except (OSError, ValueError):
        return []
    return [address for address in packed if is_reachable(address)]


def _default_interface() -> str | None:
    """The interface of the default route with the lowest metric, None if there is none.

    netifaces would start two programs to find out.
    """
    try:
        rows = [line.split() for line in ROUTES.read_text().splitlines()[1:]]
    except OSError:
        return None
    defaults = [(int(row[6]), row[0]) for row in rows if row[1] == row[7] == "00000000"]
    return min(defaults)[1] if defaults else None
