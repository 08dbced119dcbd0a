"""How does a letter become a mail? By SMTP, encrypted where the server can, in a thread."""

import contextlib
import smtplib
import socket
import ssl
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from postman.addresses import Doorkeeper
from wire.letters import Letter

PORTS = {"smtp": 25, "smtps": 465}


class MailProblem(Exception):
    """The server did not take it. `status`: its code, if it gave one."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


def send(
    letter: Letter,
    message: EmailMessage,
    keeper: Doorkeeper,
    timeout_s: float,
    trust: ssl.SSLContext,
) -> str:
    """What the server is told, and which recipients it refused. Raises MailProblem, OSError."""
    try:
        server = _connection(letter.url, keeper, timeout_s, trust)
        try:
            _log_in(server, letter)
            refused = server.send_message(message, letter.sender, letter.recipients)
        finally:
            _leave(server)
    except smtplib.SMTPResponseException as error:
        raise MailProblem(f"{error.smtp_code} {_text(error.smtp_error)}", error.smtp_code) from None
    except smtplib.SMTPRecipientsRefused as error:
        told = "; ".join(f"{who}: {code} {_text(why)}" for who, (code, why) in _some(error))
        raise MailProblem(f"every recipient was refused: {told}") from None
    except smtplib.SMTPException as error:
        raise MailProblem(str(error) or type(error).__name__) from None
    return "taken" + "".join(
        f"; refused {who}: {code} {_text(why)}" for who, (code, why) in refused.items()
    )


def _some(error: smtplib.SMTPRecipientsRefused) -> list[tuple[str, tuple[int, bytes]]]:
    return list(error.recipients.items())[:5]


def _connection(
    url: str, keeper: Doorkeeper, timeout_s: float, trust: ssl.SSLContext
) -> smtplib.SMTP:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    if parts.scheme == "smtps":
        return _CheckedTls(keeper, host, port, timeout_s, trust)
    server = _Checked(keeper, host, port, timeout_s)
    try:
        server.ehlo_or_helo_if_needed()
        if server.has_extn("starttls"):
            server.starttls(context=trust)
    except BaseException:
        server.close()
        raise
    return server


def _leave(server: smtplib.SMTP) -> None:
    """What was taken stays taken, however the server says good-bye."""
    with contextlib.suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def _log_in(server: smtplib.SMTP, letter: Letter) -> None:
    if not letter.username:
        return
    if not isinstance(server.sock, ssl.SSLSocket):
        raise MailProblem("the server offers no encryption, and a password is not sent without")
    server.login(letter.username, letter.secret)


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said


# smtplib has no other place at which the address that is connected to could be judged.


class _Checked(smtplib.SMTP):
    def __init__(self, keeper: Doorkeeper, host: str, port: int, timeout_s: float):
        self._keeper = keeper
        super().__init__(host, port, timeout=timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._keeper.connect(host, port, timeout)


class _CheckedTls(smtplib.SMTP_SSL):
    def __init__(
        self, keeper: Doorkeeper, host: str, port: int, timeout_s: float, trust: ssl.SSLContext
    ):
        self._keeper = keeper
        super().__init__(host, port, timeout=timeout_s, context=trust)

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        plain = self._keeper.connect(host, port, timeout)
        return self.context.wrap_socket(plain, server_hostname=host)
