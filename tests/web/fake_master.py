"""A master small enough to read: it knows who may call, records calls, answers as it is told."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wire.errors import Forbidden, NotFound, Refusal, Unauthenticated
from wire.people import Doors, NewSession, NewToken, PersonView, SessionView, TokenView
from wire.queues import QueueView, ResultView
from wire.views import (
    Added,
    AgentView,
    EventsAnswer,
    GridView,
    GroupsView,
    GroupView,
    OutputView,
    Page,
    RunView,
    StatusView,
    TargetsView,
    TaskView,
    WhoAmI,
)

T = TypeVar("T")

ALICE = "alice-admin-token"  # admin
OTTO = "otto-operator-token"  # operator
BOB = "bob-viewer-token"  # viewer

PEOPLE = {
    ALICE: WhoAmI("alice", "admin"),
    OTTO: WhoAmI("otto", "operator"),
    BOB: WhoAmI("bob", "viewer"),
}

WEB01 = "0123456789abcdef0123456789abcdef"
DB1 = "fedcba9876543210fedcba9876543210"
TASK = "t0123456789abcdef"
RUN = "r0123456789abcdef"
NOW = "2026-11-21T08:50:00.123Z"

PASSWORD = "correct horse battery"
PERSON = "p0123456789abcdef"
TOKEN = "k0123456789abcdef"
SESSION = "s0123456789abcdef"

FOR_ANYONE = {"get_doors", "log_in", "set_up"}
OPERATORS_ONLY = {
    "add_task",
    "retry_task",
    "cancel_task",
    "cancel_run",
    "pause_task",
    "resume_task",
    "change_task",
    "add_items",
    "close_queue",
    "put_back",
    "add_schedule",
    "change_schedule",
    "pause_schedule",
    "resume_schedule",
    "remove_schedule",
    "run_schedule",
    "ping_agents",
}
ADMINS_ONLY = {
    "set_labels",
    "release_handouts",
    "get_audit",
    "get_people",
    "get_person",
    "add_person",
    "change_person",
    "remove_person",
}


def make_agent(id: str = WEB01, hostname: str = "web01", **changes: Any) -> AgentView:
    values: dict[str, Any] = {
        "id": id,
        "hostname": hostname,
        "ip": ["10.0.0.1"],
        "labels": {"env": "prod"},
        "facts": {"os": "linux"},
        "state": "online",
        "standing": "enrolled",
        "busy": 0,
        "slots": 4,
        "last_seen": NOW,
        "version": "0.1.0",
    }
    return AgentView(**(values | changes))


def make_task(id: str = TASK, **changes: Any) -> TaskView:
    values: dict[str, Any] = {
        "id": id,
        "name": "say hello",
        "state": "RUNNING",
        "reason": "",
        "created_by": "alice",
        "created_at": NOW,
        "started_at": NOW,
        "ended_at": None,
        "total": 1,
        "counts": {"RUNNING": 1},
        "settings": {"parallel": 1, "timeout": 3600.0},
        "script_base64": "ZWNobyBoZWxsbwo=",
    }
    return TaskView(**(values | changes))


def make_run(id: str = RUN, **changes: Any) -> RunView:
    values: dict[str, Any] = {
        "id": id,
        "task": TASK,
        "agent": WEB01,
        "hostname": "web01",
        "attempt": 1,
        "state": "SUCCEED",
        "reason": "",
        "code": 0,
        "created_at": NOW,
        "started_at": NOW,
        "ended_at": NOW,
        "output_bytes": 0,
        "output_stored": 0,
        "output_sha256": None,
        "output_gap": None,
        "killed": False,
        "survivors": [],
        "left_running": 0,
    }
    return RunView(**(values | changes))


def make_queue(**changes: Any) -> QueueView:
    values: dict[str, Any] = {
        "queue": "default",
        "open": False,
        "batch": 1,
        "rate": None,
        "burst": 1,
        "per_agent": 0,
        "agents_max": 0,
        "max_attempts": 3,
        "retry_pause": 1.0,
        "retry_codes": None,
        "items": 1,
        "untaken": 0,
        "retrying": 0,
        "dead": 0,
    }
    return QueueView(**(values | changes))


def make_result(**changes: Any) -> ResultView:
    values: dict[str, Any] = {
        "seq": 0,
        "items": ["10.0.0.1"],
        "run": RUN,
        "state": "SUCCEED",
        "attempt": 1,
        "reason": "",
        "code": 0,
        "agent": WEB01,
        "hostname": "web01",
        "started_at": NOW,
        "ended_at": NOW,
        "seconds": 0.25,
        "output_bytes": 6,
    }
    return ResultView(**(values | changes))


def make_group(**changes: Any) -> GroupView:
    values: dict[str, Any] = {
        "state": "SUCCEED",
        "code": 0,
        "output_sha256": "e3b0c442",
        "output_bytes": 6,
        "reason": "",
        "count": 1,
        "nodeset": "web01",
        "runs": [RUN],
        "hosts": ["web01"],
    }
    return GroupView(**(values | changes))


def make_status(**changes: Any) -> StatusView:
    values: dict[str, Any] = {
        "version": "0.1.0",
        "held": None,
        "held_since": None,
        "online": 2,
        "stale": 0,
        "offline": 0,
        "tasks_active": 1,
    }
    return StatusView(**(values | changes))


def make_person(**changes: Any) -> PersonView:
    values: dict[str, Any] = {
        "id": PERSON,
        "name": "otto",
        "role": "operator",
        "hosts": "@env:staging",
        "disabled": False,
        "created_at": NOW,
        "last_login": None,
        "sessions": 1,
    }
    return PersonView(**(values | changes))


def make_session(**changes: Any) -> SessionView:
    values: dict[str, Any] = {
        "id": SESSION,
        "address": "192.0.2.7",
        "created_at": NOW,
        "last_used": NOW,
        "expires_at": NOW,
        "current": False,
    }
    return SessionView(**(values | changes))


def make_token(**changes: Any) -> TokenView:
    values: dict[str, Any] = {
        "id": TOKEN,
        "name": "nightly",
        "role": "operator",
        "acts_as": "operator",
        "owner": "otto",
        "created_at": NOW,
        "expires_at": None,
        "last_used": None,
        "revoked_at": None,
        "state": "active",
    }
    return TokenView(**(values | changes))


class FakeMaster:
    """Answers are set by method: a value, a Refusal, or a function of the payload."""

    def __init__(self) -> None:
        self.away = False
        self.people = dict(PEOPLE)  # by the secret of a token or a session
        self.calls: list[tuple[str, Any]] = []
        self.timeouts: list[tuple[str, float | None]] = []
        self.answers: dict[str, Any] = {
            "get_agents": Page([make_agent(), make_agent(DB1, "db1")]),
            "get_tasks": Page([make_task()]),
            "get_task": self._task,
            "get_runs": Page([make_run()]),
            "get_run": make_run(),
            "get_agent": make_agent(),
            "get_grid": GridView(0, 1, "r0123456789", ["abcdef"], ["web01"], "S", "m-1"),
            "get_groups": GroupsView([make_group()], 1),
            "get_output": OutputView(b"hello\n", 0, 6, True),
            "get_runs_of_agent": Page([make_run(task_name="say hello")]),
            "get_status": make_status(),
            "get_targets": TargetsView("db1,web01", 2, "d1", 0, [WEB01, DB1]),
            "get_task_targets": TargetsView("web01", 1, "d2", 0, [WEB01]),
            "retry_task": Added("t2", True),
            "changes": EventsAnswer("m-1", []),
            "get_doors": Doors(False),
            "log_in": self._log_in,
            "log_in_by_token": self._log_in_by_token,
            "log_out": self._log_out,
            "log_out_everywhere": {},
            "change_password": {},
            "end_session": {},
            "revoke_token": {},
            "remove_person": {},
            "get_sessions": Page([make_session(current=True), make_session(id="s2")]),
            "get_tokens": Page([make_token()]),
            "get_people": Page([make_person()]),
            "get_person": make_person(),
            "add_person": make_person(),
            "change_person": make_person(),
            "add_token": NewToken("mst_" + "x" * 43, make_token()),
        }

    def answer(self, method: str, answer: object) -> None:
        self.answers[method] = answer

    def asked(self, method: str) -> list[Any]:
        """The payloads of all calls of a method."""
        return [payload for name, payload in self.calls if name == method]

    async def call(
        self, method: str, payload: Struct, reply_type: type[T], timeout_s: float | None = None
    ) -> T:
        self.calls.append((method, payload))
        self.timeouts.append((method, timeout_s))
        who = self._judge(method, payload)
        answer: Any = who if method == "whoami" else await self._answer(method, payload)
        return msgspec.convert(msgspec.to_builtins(answer, builtin_types=(bytes,)), reply_type)

    def _judge(self, method: str, payload: Any) -> WhoAmI:
        if method in FOR_ANYONE:
            return WhoAmI("", "")
        if isinstance(self.answers.get("whoami"), Refusal):
            raise self.answers["whoami"]
        who = self.people.get(payload.auth.token)
        if who is None:
            raise Unauthenticated("no valid token")
        if method in ADMINS_ONLY and who.role != "admin":
            raise Forbidden(f"{method} is for admins")
        if method in OPERATORS_ONLY and who.role == "viewer":
            raise Forbidden(f"{method} is for operators")
        return who

    async def _answer(self, method: str, payload: Any) -> Any:
        answer = self.answers[method]
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(payload)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _task(self, payload: Any) -> TaskView | Refusal:
        return make_task() if payload.id == TASK else NotFound(f"there is no task {payload.id}")

    def _log_in(self, payload: Any) -> NewSession | Refusal:
        for who in PEOPLE.values():
            if (who.name, PASSWORD) == (payload.name, payload.password):
                self.people.pop(payload.auth.token, None)
                return self._open(replace(who, kind="session", person=PERSON))
        return Unauthenticated("name or password is wrong")

    def _log_in_by_token(self, payload: Any) -> NewSession:
        return self._open(self.people[payload.auth.token])

    def _log_out(self, payload: Any) -> dict[str, str]:
        self.people.pop(payload.auth.token, None)
        return {}

    def _open(self, who: WhoAmI) -> NewSession:
        secret = "mss_" + secrets.token_urlsafe(32)
        self.people[secret] = who
        return NewSession(secret, who)
