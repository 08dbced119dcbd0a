"""A mail server for tests: it takes mail over SMTP, in the open or with TLS, and keeps it.

It says good-bye with the wrong code, as some do, which must not make a mail be sent twice.
"""

import base64
import contextlib
import socketserver
import ssl
import threading
from types import TracebackType


class MailServer:
    """`refuses`: recipients that it does not know. `tls`: offered with STARTTLS, or spoken from the
    first byte (`implicit`)."""

    def __init__(
        self,
        refuses: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
    ):
        self.refuses = refuses
        self.tls, self.implicit = tls, implicit
        self.mails: list[str] = []
        self.logins: list[tuple[str, str, str]] = []  # name, password, encrypted or not
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "MailServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"smtp{'s' if self.implicit else ''}://127.0.0.1:{self._server.server_address[1]}"


def _handler(server: MailServer) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            """A client that does not trust the certificate leaves in the middle."""
            self._in_the_open = True
            try:
                with contextlib.suppress(OSError):
                    if server.implicit:
                        self._encrypt()
                    self._listen()
                    self._talk()
            finally:
                self.request.close()

        def _listen(self) -> None:
            self._lines = self.request.makefile("rb")

        def _encrypt(self) -> None:
            assert server.tls is not None
            self.request = server.tls.wrap_socket(self.request, server_side=True)
            self._in_the_open = False

        def _talk(self) -> None:
            self._say("220 tests")
            while line := self._lines.readline().decode().strip():
                word = line.partition(" ")[0].upper()
                if word == "DATA":
                    self._say("354 go on")
                    server.mails.append(self._content())
                if word == "AUTH":
                    self._take_login(line)
                self._say("220 go on" if word == "STARTTLS" else self._answer(word, line))
                if word == "STARTTLS":
                    self._lines.close()
                    self._encrypt()
                    self._listen()
                if word == "QUIT":
                    break
            self._lines.close()

        def _answer(self, word: str, line: str) -> str:
            if word == "EHLO":
                offers = "STARTTLS" if server.tls and self._in_the_open else "AUTH PLAIN"
                return f"250-tests\r\n250 {offers}"
            if word == "AUTH":
                return "235 welcome"
            refused = word == "RCPT" and any(who in line for who in server.refuses)
            return "550 nobody here by that name" if refused else "250 fine"

        def _take_login(self, line: str) -> None:
            _, name, password = base64.b64decode(line.split()[2]).decode().split("\0")
            how = "in the open" if self._in_the_open else "encrypted"
            server.logins.append((name, password, how))

        def _content(self) -> str:
            lines = []
            while (line := self._lines.readline()) != b".\r\n":
                lines.append(line.decode())
            return "".join(lines)

        def _say(self, text: str) -> None:
            self.request.sendall(f"{text}\r\n".encode())

    return Handler
