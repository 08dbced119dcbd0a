"""A receiver of callbacks for tests: a real web server that answers as the test says."""

import http.server
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True)
class Got:
    """One request. `headers` by name in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


def ok(got: Got) -> Answer:
    return 200, {}, b"thanks"


class Receiver:
    """`answer` is asked for each request, and may be exchanged. `tls`: it speaks TLS."""

    def __init__(
        self,
        answer: Callable[[Got], Answer] = ok,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ):
        self.tls = tls
        self.answer = answer
        self.got: list[Got] = []
        self.hung = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server((address, 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hung.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http{'s' if self.tls else ''}://{host!s}:{port}/hook"

    def hang(self, got: Got) -> Answer:
        """Says nothing before the test is over."""
        self.hung.wait()
        return ok(got)

    def take(self, got: Got) -> Answer:
        with self._lock:
            self.got.append(got)
        return self.answer(got)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever does not trust the certificate leaves in the middle."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(receiver: Receiver) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def setup(self) -> None:
            if receiver.tls is not None:
                self.request = receiver.tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, content = receiver.take(Got(self.path, headers, body))
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # whoever asked has given up

        def log_message(self, *args: object) -> None:
            pass

    return Handler
