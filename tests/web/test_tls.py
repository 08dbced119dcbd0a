"""TLS: which files are taken, what is spoken, and what is refused in the open."""

import asyncio
import logging
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.web.conftest import make_certificate
from utils import MisfitSettings, StartError
from webserver.proxies import Proxies, networks
from webserver.settings import Settings
from webserver.tls import Tls, check_open, tls_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def secure(listening, certificate):
    """Port of a web that speaks TLS."""
    return (await listening(tls=Tls(*certificate).context))[1]


@pytest.fixture
async def get(certificate):
    """Asks over TLS as a client that knows the certificate."""
    context = ssl.create_default_context(cafile=certificate[0])
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield lambda port, path, **options: session.get(
            f"https://localhost:{port}{path}", ssl=context, **options
        )


async def test_it_serves_pages_over_tls(secure, get):
    async with get(secure, "/login") as response:
        assert response.status == 200
        assert response.headers["Strict-Transport-Security"].startswith("max-age=")
        [cookie] = response.headers.getall("Set-Cookie")
        assert cookie.startswith("__Host-mschedule_visitor=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
        assert "not encrypted" not in await response.text()


async def test_it_speaks_no_old_tls(secure, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("localhost", secure, ssl=context)


async def test_it_only_hangs_up_on_who_speaks_no_tls(secure, get):
    reader, writer = await asyncio.open_connection("127.0.0.1", secure)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await asyncio.wait_for(reader.read(), 60)
    writer.close()
    async with get(secure, "/healthz") as response:
        assert response.status == 200


async def test_it_takes_a_new_certificate_for_new_connections(listening, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    certificate, key = make_certificate(tmp_path)
    tls = Tls(certificate, key)
    _, port = await listening(tls=tls.context)
    before = await served_by(port)
    make_certificate(tmp_path)
    tls.renew()
    assert await served_by(port) not in (before, None)
    certificate.write_text("no certificate")
    now = await served_by(port)
    tls.renew()
    assert await served_by(port) == now
    assert "going on with the certificate that was read before" in caplog.text


async def served_by(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


async def test_it_believes_a_named_proxy_that_the_client_spoke_tls(listening):
    _, port = await listening(proxies=Proxies(networks("127.0.0.1")))
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "9.9.9.9"}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(f"http://127.0.0.1:{port}/login", headers=headers) as response,
    ):
        assert "Strict-Transport-Security" in response.headers
        assert response.headers["Set-Cookie"].startswith("__Host-")


async def test_it_says_on_the_page_that_it_travels_in_the_open(listening):
    _, port = await listening(proxies=Proxies(networks("127.0.0.1")))
    async with aiohttp.ClientSession() as session:
        for headers, told in (({"X-Forwarded-For": "9.9.9.9"}, True), ({}, False)):
            async with session.get(f"http://127.0.0.1:{port}/login", headers=headers) as response:
                assert ("not encrypted" in await response.text()) is told
                assert "Strict-Transport-Security" not in response.headers


# ---- settings


@pytest.mark.parametrize(
    ("settings", "given", "missing"),
    [
        (Settings(tls_cert=Path("x.pem")), "cert", "key"),
        (Settings(tls_key=Path("x.pem")), "key", "cert"),
    ],
)
def test_it_wants_certificate_and_key_together(settings, given, missing):
    with pytest.raises(MisfitSettings, match=f"--tls-{given} is given without --tls-{missing}"):
        tls_of(settings)


def test_it_needs_no_tls():
    assert tls_of(Settings()) is None


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_it_names_a_file_that_is_not_there(certificate, tmp_path, broken):
    files = dict(zip(("cert", "key"), certificate, strict=True))
    files[broken] = tmp_path / "missing.pem"
    with pytest.raises(StartError, match=rf"--tls-{broken} .*missing.pem cannot be read: No such"):
        Tls(files["cert"], files["key"])


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nzz\n"])
def test_it_says_what_a_file_should_hold(certificate, tmp_path, content):
    bad = tmp_path / "bad.pem"
    bad.write_text(content)
    for files in ((bad, certificate[1]), (certificate[0], bad)):
        with pytest.raises(StartError, match="they take a certificate with its chain"):
            Tls(*files)


def test_it_says_that_the_key_is_of_another_certificate(certificate, tmp_path):
    _, other = make_certificate(tmp_path)
    with pytest.raises(StartError, match="key values mismatch"):
        Tls(certificate[0], other)


def test_it_asks_for_no_password(certificate, tmp_path):
    encrypted = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", certificate[1], "-out", encrypted]
        + ["-passout", "pass:secret"],
        check=True,
        capture_output=True,
    )
    with pytest.raises(StartError, match="unencrypted private key"):
        Tls(certificate[0], encrypted)


def test_it_warns_of_a_key_that_all_can_read(certificate, tmp_path, caplog):
    key = tmp_path / "key.pem"
    key.write_bytes(certificate[1].read_bytes())
    key.chmod(0o644)
    Tls(certificate[0], key)
    assert "chmod o-r" in caplog.text


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["::1", "127.8.0.1"]])
def test_it_serves_this_machine_without_tls(addresses, caplog):
    check_open(Settings(), addresses)
    assert caplog.text == ""


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
def test_it_serves_others_without_tls_only_when_told(address, caplog):
    with pytest.raises(MisfitSettings, match="say --plain-http if that network is safe"):
        check_open(Settings(), ["127.0.0.1", address])
    check_open(Settings(plain_http=True), ["127.0.0.1", address])
    assert f"serving plain HTTP on {address}" in caplog.text


def test_it_serves_others_over_tls(certificate, caplog):
    check_open(Settings(tls_cert=certificate[0], tls_key=certificate[1]), ["0.0.0.0"])
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (["--bind", "0.0.0.0"], 2, "give --tls-cert and --tls-key"),
        (["--tls-key", "key.pem"], 2, "TLS needs both"),
        (["--tls-cert", "a.pem", "--tls-key", "b.pem"], 1, "a.pem cannot be read"),
        (["--trusted-proxies", "proxy.example"], 2, "must be addresses or networks"),
        (["--bind", "999.1.1.1"], 1, "is no address of this machine"),
    ],
)
def test_the_program_ends_with_one_clear_sentence(tmp_path, flags, code, told):
    ended = subprocess.run(
        [sys.executable, ROOT / "appwebserver.py", "--state-dir", tmp_path / "state", *flags],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended.stderr
    assert told in ended.stderr
