"""How do tests speak to a master as a web server does, below HTTP? By a process of their own.

The client needs gevent, whose loop would reap the children of the test's process. So this
module is two things: `WebPeer`, for the test, and the program that it starts, which enrols as
a web server and passes calls on: a line of JSON each way, any number of them under way.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import until
from wire.errors import Refusal, from_wire

ROOT = Path(__file__).resolve().parent.parent
ENOUGH_S = 300.0  # log-ins give way to everything else that wants a core
WEB = "web"  # the name of the key that enrols as a web server


class WebPeer:
    """One more web server of a master, enrolled with a join string."""

    def __init__(self, join: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.web_peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self._answers: dict[int, dict[str, Any]] = {}
        self._begun = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        self._write({"join": join.strip()})

    def call(self, method: str, token: str | None = None, **payload: Any) -> dict[str, Any]:
        """The answer; raises the Refusal that the master answered."""
        return self.answer(self.begin(method, token, **payload))

    def begin(self, method: str, token: str | None = None, **payload: Any) -> int:
        """Send a call without waiting for its answer; `address` is where the person sits."""
        auth = {"token": token, "address": payload.pop("address", "192.0.2.7")}
        return self._begin(WEB, method, {"auth": auth, **payload})

    def call_as(self, key: str, method: str, payload: dict[str, Any]) -> dict[str, Any]:
        """As another peer of the master, with a key of its own that is made at its first call and
        kept under this name. The answer; raises the Refusal that the master answered."""
        return self.answer(self._begin(key, method, payload))

    def _begin(self, key: str, method: str, payload: dict[str, Any]) -> int:
        self._begun += 1
        self._write({"id": self._begun, "key": key, "method": method, "payload": payload})
        return self._begun

    def is_answered(self, call: int) -> bool:
        return call in self._answers

    def answer(self, call: int) -> dict[str, Any]:
        found = until(lambda: self._answers.get(call), ENOUGH_S, f"the answer to call {call}")
        if "refused" in found:
            raise from_wire(*found["refused"])
        answer: dict[str, Any] = found["answer"]
        return answer

    def refusal(self, method: str, token: str | None = None, **payload: Any) -> Refusal:
        """The refusal that the call must be answered with."""
        try:
            answer = self.call(method, token, **payload)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"{method} was answered: {answer}")

    def log_in(self, name: str, password: str, **payload: Any) -> str:
        """The secret of a new session."""
        return str(self.call("log_in", name=name, password=password, **payload)["secret"])

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._reading.join(60)
        self._process.stdout.close()

    def _write(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._answers[answer["id"]] = answer


@contextmanager
def web_peer(join: str) -> Iterator[WebPeer]:
    peer = WebPeer(join)
    try:
        yield peer
    finally:
        peer.close()


# ---- the program


def main() -> None:
    import gevent
    from gevent.fileobject import FileObject

    from utils import VERSION
    from wire.client import Client
    from wire.keys import make_keys, parse_join
    from wire.messages import PROTOCOL
    from wire.requests import RegisterWeb, WebRegistered

    lines = FileObject(sys.stdin, "r")
    join = parse_join(json.loads(lines.readline())["join"])
    clients: dict[str, Client] = {}

    def client_of(key: str) -> Client:
        if key not in clients:
            clients[key] = Client(join.endpoint, join.key, make_keys(), timeout_s=ENOUGH_S)
        return clients[key]

    register = RegisterWeb(VERSION, PROTOCOL, join.token)
    client_of(WEB).send("register_web", register, WebRegistered)

    def serve(call: dict[str, Any]) -> None:
        try:
            client = client_of(call["key"])
            answer = client.call(call["method"], call["payload"], dict[str, Any])
            said: dict[str, Any] = {"answer": answer}
        except Refusal as refusal:
            said = {"refused": refusal.to_wire()}
        print(json.dumps({"id": call["id"], **said}), flush=True)

    calls = [gevent.spawn(serve, json.loads(line)) for line in lines]
    gevent.joinall(calls)
    for client in clients.values():
        client.close()


if __name__ == "__main__":
    main()
