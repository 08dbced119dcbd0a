"""A mail server for tests: it takes mail over plain SMTP, and keeps it.

It says good-bye with the wrong code, as some do, which must not make a mail be sent twice.
"""

import socketserver
import threading
from types import TracebackType


class MailServer:
    """`refuses`: recipients that it does not know."""

    def __init__(self, refuses: tuple[str, ...] = ()):
        self.refuses = refuses
        self.mails: list[str] = []
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
        return f"smtp://127.0.0.1:{self._server.server_address[1]}"


def _handler(mails: MailServer) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 tests")
            while line := self.rfile.readline().decode().strip():
                word = line.partition(" ")[0].upper()
                if word == "DATA":
                    self._say("354 go on")
                    mails.mails.append(self._content())
                refused = word == "RCPT" and any(who in line for who in mails.refuses)
                self._say("550 nobody here by that name" if refused else "250 fine")
                if word == "QUIT":
                    return

        def _content(self) -> str:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.decode())
            return "".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    return Handler
