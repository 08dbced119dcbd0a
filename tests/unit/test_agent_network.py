"""Which addresses an agent shows to people."""

import socket

import netifaces
import pytest

from agent import network

ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0102A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth1\t00000000\t0103A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.fixture
def interfaces(monkeypatch, tmp_path):
    """Interfaces with their addresses; a test fills it."""
    found: dict[str, list[str]] = {}

    def addresses_of(name):
        if name not in found:
            raise ValueError("You must specify a valid interface name.")
        rows = [{"addr": address, "mask": "255.255.255.0"} for address in found[name]]
        return {netifaces.InterfaceType.AF_INET: rows} if rows else {}

    monkeypatch.setattr(netifaces, "interfaces", lambda: list(found))
    monkeypatch.setattr(netifaces, "ifaddresses", addresses_of)
    monkeypatch.setattr(network, "ROUTES", tmp_path / "route")
    return found


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "169.254.3.4", "224.0.0.1", "240.0.0.1", "0.0.0.0"]
)
def test_it_leaves_out_what_no_other_host_could_reach(interfaces, address):
    interfaces["eth0"] = [address, "10.0.0.7"]
    assert network.addresses() == ["10.0.0.7"]


@pytest.mark.parametrize("address", ["10.0.0.7", "169.253.0.1", "223.255.255.1", "126.0.0.1"])
def test_it_shows_what_another_host_could_reach(address):
    assert network.is_reachable(socket.inet_aton(address))


def test_it_shows_the_default_route_first_and_then_in_numeric_order(interfaces):
    interfaces["eth0"] = ["192.168.2.5", "10.0.0.10", "10.0.0.9"]
    interfaces["eth1"] = ["192.168.3.5"]
    network.ROUTES.write_text(ROUTES)
    assert network.addresses() == ["192.168.3.5", "10.0.0.9", "10.0.0.10", "192.168.2.5"]


def test_it_shows_an_address_of_two_interfaces_once(interfaces):
    interfaces["eth0"] = interfaces["eth1"] = ["10.0.0.7"]
    assert network.addresses() == ["10.0.0.7"]


def test_it_has_no_addresses_without_a_network(interfaces):
    assert network.addresses() == []


def test_it_passes_over_an_interface_that_has_just_gone(interfaces, monkeypatch):
    interfaces["eth0"] = ["10.0.0.7"]
    monkeypatch.setattr(netifaces, "interfaces", lambda: ["gone", "eth0"])
    assert network.addresses() == ["10.0.0.7"]


def test_it_passes_over_a_row_without_an_address(interfaces, monkeypatch):
    rows = {netifaces.InterfaceType.AF_INET: [{"mask": "255.0.0.0"}, {"addr": "10.0.0.7"}]}
    monkeypatch.setattr(netifaces, "interfaces", lambda: ["eth0"])
    monkeypatch.setattr(netifaces, "ifaddresses", lambda name: rows)
    assert network.addresses() == ["10.0.0.7"]


def test_it_reads_the_interfaces_of_this_host():
    assert all(network.is_reachable(socket.inet_aton(a)) for a in network.addresses())
