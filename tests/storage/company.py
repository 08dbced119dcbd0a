"""A whole master without its loops and its socket: its table of methods is called directly.

Nothing happens beside the call that a test makes, so what is in the store afterwards is what
that call has put there.
"""

import itertools
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from gevent.event import AsyncResult

from master import ADMIN_TOKEN, Master
from master.reception import ForPeople
from master.settings import Settings
from master.verify import STORE
from wire.calls import Call, Caller, Method
from wire.errors import from_wire

PASSWORD = "correct horse battery"
WEB_KEY = "the key of a web"
ENDLESS_S = 60.0  # an answer that takes so long never comes


class Company:
    """`alice` is an admin and `bob` a viewer, each by the secret of a session; `token` is the
    admin's token of the first start."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.master = Master(Settings(state_dir=folder, bind="127.0.0.1", port=0))
        self.master._first_start()
        self.master._roster.add_web(WEB_KEY)
        self.methods = self.master._manager.methods()
        self.storage = self.master._storage
        self._numbers = itertools.count(1)
        self.token = (folder / ADMIN_TOKEN).read_text().strip()
        code = (folder / "setup-code").read_text().strip()
        self.alice = self.call("set_up", None, code=code, name="alice", password=PASSWORD)["secret"]
        self.person("bob", "viewer")
        self.bob = self.log_in("bob")

    def close(self) -> None:
        self.master._server.stop()
        self.storage.close()

    # ---- calls

    def call(self, method: str, secret: str | None, **payload: Any) -> dict[str, Any]:
        """The answer to a person's call, which a web passes on; raises the Refusal."""
        auth = {"token": secret, "address": f"10.0.0.{self.number() % 250}"}
        return self._ask(self.methods[method], WEB_KEY, "web", "", {"auth": auth, **payload})

    def register(self, key: str, **register: Any) -> dict[str, Any]:
        """As a host with this key sends it."""
        sendmsg = self.methods["sendmsg"]
        assert isinstance(sendmsg, dict)
        role, id = self.master._roster.role_of(key)
        return self._ask(sendmsg["register"], key, role, id, register)

    def _ask(self, method: Any, key: str, role: str, id: str, payload: Any) -> dict[str, Any]:
        assert isinstance(method, Method)
        answer: AsyncResult[bytes] = AsyncResult()
        caller = Caller(key, role, id, b"peer", "10.0.0.9")
        call = Call(caller, "method", b"1", lambda _, body: answer.set(body))
        known = msgspec.convert(payload, method.payload, strict=False)
        try:
            at_once = method.handler(call, known)
        except Exception as error:
            call.fail(error)
        else:
            if isinstance(at_once, msgspec.Struct | dict):
                call.ok(at_once)
        _, name, args = msgspec.msgpack.decode(answer.get(timeout=ENDLESS_S))
        if name == "OK":
            return dict(args[0])
        raise from_wire(*args)

    def changing(self) -> dict[str, ForPeople]:
        """The rows of the table that change something."""
        return {
            name: method
            for name, method in self.methods.items()
            if isinstance(method, ForPeople) and method.action is not None
        }

    # ---- what is in the store

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / STORE, isolation_level=None)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def dump(self) -> list[str]:
        """All rows of all tables."""
        connection = sqlite3.connect(self.folder / STORE)
        try:
            return list(connection.iterdump())
        finally:
            connection.close()

    def acts_since(self, seq: int) -> list[tuple[Any, ...]]:
        """Who, what and with which result; also what is only on its way into the store."""
        self.storage.note().wait()
        return self.sql("SELECT who, action, result FROM audit WHERE seq > ? ORDER BY seq", seq)

    def last_act(self) -> int:
        return int(self.sql("SELECT MAX(seq) FROM audit")[0][0])

    # ---- things that calls are about, each a new one

    def number(self) -> int:
        return next(self._numbers)

    def new(self, kind: str) -> str:
        """A name that nothing has."""
        return f"{kind}{self.number()}"

    def person(self, name: str, role: str = "operator") -> dict[str, Any]:
        return self.call("add_person", self.alice, name=name, role=role, password=PASSWORD)

    def log_in(self, name: str) -> str:
        return str(self.call("log_in", None, name=name, password=PASSWORD)["secret"])

    def host(self, *, accept: str = "at once") -> tuple[str, dict[str, Any]]:
        """(id, the message by which it registered)."""
        made = self.call("add_join_token", self.alice, name="hosts", accept=accept)
        id = f"{self.number():032x}"
        register = {
            "id": id,
            "hostname": self.new("web"),
            "ip": ["10.0.0.1"],
            "instance": "i",
            "machine": id,
            "slots": 4,
            "version": "1.0",
            "protocol": 1,
            "token": made["join"].rpartition("token=")[2],
        }
        return id, register

    def enrolled(self) -> str:
        """The id of a host that may be given work."""
        id, register = self.host()
        self.register(f"key of {id}", **register)
        return id

    def task(self, **fields: Any) -> str:
        submission = {"script": "true", "targets": [self.enrolled()], **fields}
        return str(self.call("add_task", self.alice, submission=submission)["id"])

    def token_of(self, secret: str) -> dict[str, Any]:
        return self.call("add_token", secret, name=self.new("token"), role="viewer")
