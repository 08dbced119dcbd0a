"""What can routes be about? Things of every kind, each made anew, through the API as an admin."""

import contextlib
import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.fleet import Api
from tests.support import until
from tests.web_peer import WebPeer
from wire.errors import Pending

PASSWORD = "correct horse battery"
WITHIN, OUTSIDE = "test", "prod"  # values of the label `env`: hosts of a limited operator, others
MOST_CALLBACKS = 20
LIMIT = f"@env:{WITHIN}"


@dataclass
class Caller:
    """Somebody with a session and a token; both None: nobody."""

    name: str
    role: str
    session: str | None = None
    token: str | None = None


@dataclass
class Things:
    """Makes things, all of them on hosts with the label `env` of `where`."""

    api: Api  # of an admin
    peer: WebPeer
    where: str = OUTSIDE
    hosts: dict[str, str] = field(default_factory=dict)  # by the value of `env`
    callbacks: list[str] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def new(self, kind: str) -> str:
        """A name that nothing has."""
        return f"{kind}{next(self.numbers)}"

    def post(self, path: str, body: Any = None) -> Any:
        answer = self.api.call("POST", path, body)
        assert answer.status in (200, 201), f"POST {path}: {answer.status} {answer.body!r}"
        return answer.json

    # ---- hosts

    def register(self, accept: str = "at once") -> dict[str, Any]:
        """What a new host says; not sent yet."""
        id = f"{next(self.numbers):032x}"
        wish = {"name": "x", "accept": accept}
        join = self.post("/api/v1/join-tokens", wish)["join"]
        return {
            "id": id,
            "hostname": self.new("web"),
            "ip": ["10.0.0.1"],
            "instance": "i",
            "machine": id,
            "slots": 4,
            "version": "1.0",
            "protocol": 1,
            "token": join.rpartition("token=")[2],
        }

    def send(self, register: dict[str, Any]) -> None:
        self.peer.call_as(register["id"], "sendmsg", {"type": "register", "payload": register})

    def host(self) -> str:
        register = self.register()
        self.send(register)
        return str(register["id"])

    def targets(self) -> str:
        """An expression for one host, which is never there: runs wait for it."""
        if self.where not in self.hosts:
            id = self.hosts[self.where] = self.host()
            self.post("/api/v1/agents/labels", {"labels": {id: {"env": self.where}}})
        return f"@env:{self.where}"

    def pending(self) -> str:
        register = self.register(accept="by hand")
        with contextlib.suppress(Pending):
            self.send(register)
        return str(register["id"])

    def renamed(self) -> tuple[str, str]:
        """A host that calls itself something else now; its id and that name."""
        register = self.register()
        self.send(register)
        register["hostname"] = self.new("other")
        self.send(register)
        return str(register["id"]), str(register["hostname"])

    # ---- work

    def submission(self) -> dict[str, Any]:
        return {"script": "true", "targets": self.targets()}

    def task(self) -> str:
        return str(self.post("/api/v1/tasks", self.submission())["id"])

    def items(self) -> dict[str, Any]:
        """A submission of a queue, which stays open."""
        return {**self.submission(), "mode": "queue", "items": ["a"], "open": True}

    def queue(self) -> str:
        return str(self.post("/api/v1/tasks", self.items())["id"])

    def task_that(self, verb: str) -> str:
        task = self.task()
        self.post(f"/api/v1/tasks/{task}/{verb}")
        return task

    def run(self) -> dict[str, str]:
        task = self.task()
        return {"task": task, "run": str(self.api.run(task)["id"])}

    def timed(self) -> dict[str, Any]:
        when = {"kind": "cron", "cron": "0 3 * * *"}
        return {"name": self.new("nightly"), "when": when, "task": self.submission()}

    def schedule(self, **fields: Any) -> str:
        return str(self.post("/api/v1/schedules", self.timed() | fields)["id"])

    def steps(self) -> dict[str, Any]:
        step = {"name": "try", "tasks": [self.submission()]}
        return {"name": self.new("release"), "steps": [step]}

    def plan(self) -> str:
        return str(self.post("/api/v1/plans", self.steps())["id"])

    def ended_plan(self) -> str:
        plan = self.plan()
        self.post(f"/api/v1/plans/{plan}/cancel")
        path = f"/api/v1/plans/{plan}"
        until(lambda: self.api.get(path)["state"] == "CANCELLED", 30, "the end of a plan")
        return plan

    # ---- what is saved

    def script(self) -> str:
        new = {"name": self.new("script"), "script": "true"}
        return str(self.post("/api/v1/scripts", new)["name"])

    def group(self) -> str:
        return str(self.post("/api/v1/groups", {"name": self.new("group"), "hosts": "@*"})["name"])

    def receiver(self) -> dict[str, Any]:
        return {"name": self.new("chat"), "url": "https://hooks.example.org/x", "tasks": "named"}

    def callback(self) -> str:
        """There can be few of them, so the oldest goes."""
        if len(self.callbacks) == MOST_CALLBACKS:
            self.api.call("DELETE", f"/api/v1/callbacks/{self.callbacks.pop(0)}")
        made = self.post("/api/v1/callbacks", self.receiver())
        self.callbacks.append(str(made["callback"]["id"]))
        return self.callbacks[-1]

    def delivery(self) -> str:
        return str(self.post(f"/api/v1/callbacks/{self.callback()}/test")["id"])

    # ---- people

    def person(self) -> str:
        new = {"name": self.new("person"), "role": "viewer", "password": PASSWORD}
        return str(self.post("/api/v1/people", new)["id"])

    def join_token(self) -> str:
        return str(self.post("/api/v1/join-tokens", {"name": "x"})["token"]["id"])

    def token(self, caller: Caller) -> str:
        """One of the caller's own."""
        made = self.peer.call("add_token", caller.session, name=self.new("t"), role="viewer")
        return str(made["token"]["id"])

    def session(self, caller: Caller) -> str:
        """The id of another session of the caller's."""
        before = self._sessions(caller)
        self.peer.call("log_in_by_token", caller.token)
        (new,) = self._sessions(caller) - before
        return new

    def _sessions(self, caller: Caller) -> set[str]:
        return {one["id"] for one in self.peer.call("get_sessions", caller.session)["items"]}
