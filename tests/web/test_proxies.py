"""Where a request comes from: believed of named proxies only, and of them only the last word."""

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from webserver.proxies import Proxies, networks, parsed_address, wrong_networks

OURS = Proxies(networks("10.0.0.0/8, 2001:db8::1"))


def look(proxies, peer, *headers, host="web.example"):
    request = make_mocked_request("GET", "/", CIMultiDict([("Host", host), *headers]))
    return proxies.look(request.clone(remote=peer))


def address(proxies, peer, *lists):
    return look(proxies, peer, *(("X-Forwarded-For", text) for text in lists)).address


def test_it_believes_nobody_when_no_proxy_is_named():
    seen = look(
        Proxies(),
        "127.0.0.1",
        ("X-Forwarded-For", "9.9.9.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
    )
    assert (seen.address, seen.secure, seen.host) == ("127.0.0.1", False, "web.example")


def test_it_believes_no_stranger():
    assert address(OURS, "9.9.9.9", "1.1.1.1") == "9.9.9.9"


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (["1.1.1.1"], "1.1.1.1"),
        (["6.6.6.6, 1.1.1.1"], "1.1.1.1"),  # what the client wrote itself stands first
        (["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        (["1.1.1.1, 10.0.0.7"], "1.1.1.1"),
        (["6.6.6.6, 1.1.1.1, 10.0.0.7, 10.0.0.8"], "1.1.1.1"),
        (["10.0.0.9"], "10.0.0.9"),  # a client among the proxies' addresses
        (["1.1.1.1:5555"], "1.1.1.1"),
        (["[2001:db8::7]:5555"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:1.1.1.1"], "1.1.1.1"),
        (["unknown"], "10.0.0.1"),
        (["1.1.1.1, unknown"], "10.0.0.1"),
        (["1.1.1.1, unknown, 10.0.0.7"], "10.0.0.7"),
        ([""], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_it_reads_the_list_from_its_end(lists, expected):
    assert address(OURS, "10.0.0.1", *lists) == expected


def test_a_long_list_hides_nobody():
    assert address(OURS, "10.0.0.1", ", ".join(["6.6.6.6"] * 500 + ["1.1.1.1"])) == "1.1.1.1"


def test_it_takes_scheme_and_host_from_the_nearest_proxy():
    seen = look(
        OURS,
        "10.0.0.1",
        ("X-Forwarded-Proto", "http, HTTPS"),
        ("X-Forwarded-Host", "evil.example, fleet.example:8443"),
    )
    assert (seen.secure, seen.host) == (True, "fleet.example:8443")


@pytest.mark.parametrize("host", ["", "a b", "evil.example/path", "a@b", "[::1", "a\x00b", "é"])
def test_it_keeps_the_own_host_when_the_other_is_none(host):
    assert look(OURS, "10.0.0.1", ("X-Forwarded-Host", host)).host == "web.example"


@pytest.mark.parametrize(
    ("peer", "proto", "in_the_open"),
    [
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("9.9.9.9", "", True),
        ("9.9.9.9", "https", True),  # said by a stranger
        ("10.0.0.1", "https", False),
        ("10.0.0.1", "http", True),
    ],
)
def test_it_knows_what_travelled_in_the_open(peer, proto, in_the_open):
    assert look(OURS, peer, ("X-Forwarded-Proto", proto)).in_the_open is in_the_open


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]),
        st.one_of(
            st.text(max_size=60),
            st.ip_addresses().map(str),
            st.lists(st.ip_addresses().map(str), max_size=40).map(", ".join),
        ),
    ),
    max_size=6,
)


@given(headers=HEADERS)
def test_no_header_moves_a_client_that_is_not_a_proxy(headers):
    seen = look(OURS, "9.9.9.9", *headers)
    assert (seen.address, seen.secure, seen.host) == ("9.9.9.9", False, "web.example")


@given(headers=HEADERS, client=st.ip_addresses(v=4))
def test_what_a_client_sends_never_outweighs_what_the_proxy_adds(headers, client):
    """A proxy adds the address that it sees to whatever list came along."""
    if OURS.trusts(client):
        return
    sent = [text for name, text in headers if name == "X-Forwarded-For"]
    assert address(OURS, "10.0.0.1", *sent, str(client)) == str(client)


@given(text=st.text(max_size=80))
def test_any_text_is_an_address_or_none(text):
    found = parsed_address(text)
    assert found is None or isinstance(found, ipaddress.IPv4Address | ipaddress.IPv6Address)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", "a,b"])
def test_it_refuses_what_is_no_network(text):
    assert "as 10.0.0.0/8" in (wrong_networks(text) or "")


async def test_a_request_without_a_host_asks_no_name_service(stranger, monkeypatch):
    def asked():
        raise AssertionError("the name service was asked")

    monkeypatch.setattr("socket.getfqdn", asked)
    response = await stranger.post("/login", skip_auto_headers=["Host"], data={})
    assert response.status == 403
