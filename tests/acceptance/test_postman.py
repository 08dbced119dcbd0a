"""Does the postman trust the right servers? Its real process, and real servers that speak TLS."""

import base64
import hmac
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from master.post_office import PROGRAM
from tests.certificates import Authority, self_signed
from tests.mail_server import MailServer
from tests.receiver import Receiver
from wire.letters import HEAD, Letter, Reply, Rules, framed, size_of

HOST = "127.0.0.1"
OLD, NEW = ("whsec_" + base64.b64encode(one * 32).decode() for one in (b"o", b"n"))


class Postman:
    """The process, told to trust one authority."""

    def __init__(self, ca: str):
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen([sys.executable, str(PROGRAM)], stdin=theirs.fileno())
        self._socket.settimeout(30)
        self._socket.sendall(framed(Rules(allow=[f"{HOST}/32"], ca=ca)))

    def deliver(self, letter: Letter) -> Reply:
        self._socket.sendall(framed(letter))
        return msgspec.msgpack.decode(self._read(size_of(self._read(HEAD.size))), type=Reply)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            content += self._socket.recv(size - len(content)) or pytest.fail("the postman ended")
        return content


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def postman(authority: Authority) -> Iterator[Postman]:
    started = Postman(authority.file.read_text())
    yield started
    started.close()


@pytest.fixture(scope="module")
def distrustful() -> Iterator[Postman]:
    """One that knows the authorities of the system alone."""
    started = Postman("")
    yield started
    started.close()


def letter(url: str, **fields: object) -> Letter:
    event = {"type": "test", "timestamp": "2026-11-21T08:50:00.000Z", "data": {}}
    given = {"kind": "json", "secret": NEW, "event": event, **fields}
    if given["kind"] == "email":
        given |= {"sender": "ms@example.org", "recipients": ["ops@example.org"]}
    return msgspec.convert({"id": "d1", "url": url, **given}, Letter)


def test_it_posts_to_a_receiver_of_the_authority_that_is_named(
    postman: Postman, distrustful: Postman, authority: Authority
):
    with Receiver(tls=authority.context(HOST)) as receiver:
        assert postman.deliver(letter(receiver.url)).error == ""
        refused = distrustful.deliver(letter(receiver.url)).error
        assert len(receiver.got) == 1
    assert refused == (
        "its certificate is not trusted: unable to get local issuer certificate; the master's "
        "setting callback_ca says which others to trust"
    )


def test_it_posts_to_nobody_who_vouches_for_himself(postman: Postman, tmp_path: Path):
    with Receiver(tls=self_signed(tmp_path, HOST)) as receiver:
        error = postman.deliver(letter(receiver.url)).error
        assert not receiver.got
    assert error.startswith("its certificate is not trusted: self-signed certificate")


def test_it_posts_to_nobody_with_the_certificate_of_another(postman: Postman, authority: Authority):
    with Receiver(tls=authority.context("other.example.org")) as receiver:
        error = postman.deliver(letter(receiver.url)).error
        assert not receiver.got
    assert "its certificate is not trusted: IP address mismatch" in error
    assert "callback_ca" not in error


def test_it_signs_with_the_old_secret_too(postman: Postman):
    with Receiver() as receiver:
        assert postman.deliver(letter(receiver.url, old_secret=OLD)).error == ""
        (got,) = receiver.got
    signed = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    assert got.headers["webhook-signature"].split() == [
        f"v1,{base64.b64encode(hmac.digest(key * 32, signed, 'sha256')).decode()}"
        for key in (b"n", b"o")
    ]


def test_it_mails_over_starttls_and_logs_in_behind_it_alone(postman: Postman, authority: Authority):
    with MailServer(tls=authority.context(HOST)) as server:
        account = {"username": "ms", "secret": "a password"}
        reply = postman.deliver(letter(server.url, kind="email", **account))
        assert (reply.error, len(server.mails)) == ("", 1)
        assert server.logins == [("ms", "a password", "encrypted")]
    with MailServer() as plain:
        error = postman.deliver(letter(plain.url, kind="email", **account)).error
        assert (plain.mails, plain.logins) == ([], [])
    assert error == "the server offers no encryption, and a password is not sent without"


def test_it_mails_over_tls_from_the_first_byte(postman: Postman, authority: Authority):
    with MailServer(tls=authority.context(HOST), implicit=True) as server:
        assert postman.deliver(letter(server.url, kind="email", secret="")).error == ""
        assert len(server.mails) == 1


@pytest.mark.parametrize("implicit", [True, False])
def test_it_mails_to_no_server_that_it_does_not_trust(
    distrustful: Postman, authority: Authority, implicit: bool
):
    with MailServer(tls=authority.context(HOST), implicit=implicit) as server:
        error = distrustful.deliver(letter(server.url, kind="email", secret="")).error
        assert not server.mails
    assert error.startswith("its certificate is not trusted: unable to get local issuer")
