"""How do tests and benchmarks get a whole mschedule? The real programs, as real processes."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support import adopt_orphans, descendants, free_port, kill_all, until
from utils import write_private

ROOT = Path(__file__).resolve().parent.parent
ENDED = ("SUCCEED", "FAILED", "CANCELLED")
KEPT_S = 30.0  # a connection that rested for longer may be closed at the other end just now


class Program:
    """One of the programs, with state directory and log; can be killed and started again."""

    def __init__(
        self,
        name: str,
        script: str,
        state_dir: Path,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.state_dir = state_dir
        self.log_path = state_dir.with_name(f"{name}.log")
        self.arguments = [str(ROOT / script), "--state-dir", str(state_dir), *arguments]
        self.environ = dict(environ or {})
        self.prefix: list[str] = []  # a command that becomes the program, as `nice` does
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> None:
        """Start it in a session of its own; `environ` holds for this start only."""
        assert not self.running, f"{self.name} is running"
        (self.state_dir / "port").unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, *self.arguments],
                env=_clean_environ() | self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def port(self, timeout_s: float = 60.0) -> int:
        """The port that it listens on, once it does."""
        file = self.state_dir / "port"
        until(lambda: not self.running or file.exists(), timeout_s, f"the port of {self.name}")
        assert self.running, (
            f"{self.name} ended with {self.process and self.process.returncode}:\n{self.log}"
        )
        return int(file.read_text())

    def signal(self, number: int) -> None:
        """Send a signal to the program alone, as an operator would."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 the program alone; what it started stays."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 30.0) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def restart(self, **environ: str) -> None:
        """SIGTERM and start again."""
        self.terminate()
        self.start(**environ)


@dataclass(frozen=True)
class Answer:
    """What the web said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Api:
    """The HTTP API as a person with `token` sees it. One kept connection; not for threads.

    Close it, or use `Fleet.api` and `Fleet.connect`, which are closed with the fleet.
    """

    port: int
    token: str | None
    timeout_s: float = 60.0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)
    _used_at: float = field(default=0.0, repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. `body` is sent as it is if it is bytes, else as JSON."""
        headers = dict(headers or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            return self._exchange(method, path, body, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            # The web closed the kept connection meanwhile, or was restarted: once more on a
            # new one. Only where a repeat is harmless.
            self.close()
            if method != "GET" and "Idempotency-Key" not in headers:
                raise
            return self._exchange(method, path, body, headers)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        if time.monotonic() - self._used_at > KEPT_S:
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=self.timeout_s
            )
        try:
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            content = response.read()
        except BaseException:
            self.close()
            raise
        self._used_at = time.monotonic()
        received = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        return Answer(response.status, received, content)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        answer = self.call("GET", path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body!r}"
        return answer.json

    def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a list, over its pages."""
        page = self.get(path, **query)
        found: list[dict[str, Any]] = page["items"]
        while page["next"]:
            page = self.get(path, **query, cursor=page["next"])
            found += page["items"]
        return found

    def agents(self) -> list[dict[str, Any]]:
        return self.items("/api/v1/agents", limit=10_000)

    def submit(self, script: str, targets: Any = "@*", **fields: Any) -> str:
        """Submit a task that must be accepted; its id."""
        body = {"script": script, "targets": targets, **fields}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        answer = self.call("POST", "/api/v1/tasks", body, key)
        assert answer.status == 201, f"{answer.status} {answer.body!r}"
        return str(answer.json["id"])

    def task(self, id: str) -> dict[str, Any]:
        return dict(self.get(f"/api/v1/tasks/{id}"))

    def finished(self, id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The task, once it has ended."""
        return until(
            lambda: _if_ended(self.get(f"/api/v1/tasks/{id}", wait=5)),
            timeout_s,
            f"the end of task {id}",
        )

    def runs(self, task: str, **query: Any) -> list[dict[str, Any]]:
        return self.items(f"/api/v1/tasks/{task}/runs", limit=10_000, **query)

    def run(self, task: str, hostname: str | None = None) -> dict[str, Any]:
        """The one run of a task, or its run on a host."""
        found = [run for run in self.runs(task) if hostname in (None, run["hostname"])]
        assert len(found) == 1, found
        return found[0]

    def output(self, task: str, run: str) -> bytes:
        """The stored output of a run."""
        answer = self.call("GET", f"/api/v1/tasks/{task}/runs/{run}/output")
        assert answer.status == 200, f"{answer.status} {answer.body!r}"
        return answer.body

    def cancel(self, task: str, run: str | None = None) -> Answer:
        path = f"/api/v1/tasks/{task}" + (f"/runs/{run}" if run else "")
        return self.call("POST", f"{path}/cancel")


def _if_ended(task: dict[str, Any]) -> dict[str, Any] | None:
    return task if task["state"] in ENDED else None


class Fleet:
    """A master, a web and agents on this machine, each with a state directory under `root`.

    with Fleet(tmp_path, ["web01", "db1"]) as fleet:
        task = fleet.api.submit("echo hello", "web01")
        assert fleet.api.finished(task)["state"] == "SUCCEED"

    At the end every process goes, also what scripts left behind. `environ` holds for all
    programs; `master`, `web` and each of `agents` can be killed, paused and started again.
    """

    def __init__(
        self,
        root: Path,
        agents: Sequence[str] = ("web01",),
        *,
        slots: int = 4,
        heartbeat_s: float = 1.0,
        environ: Mapping[str, str] | None = None,
        master_arguments: Sequence[str] = (),
        master_port: int | None = None,
        web_port: int | None = None,
    ):
        self.root = root
        self.slots = slots
        self.environ = dict(environ or {})
        self.master_port = master_port or free_port()
        self.web_port = web_port or free_port()
        self.master = self._program(
            "master",
            "appserver.py",
            ["--bind", "127.0.0.1", "--port", str(self.master_port)]
            + ["--heartbeat", str(heartbeat_s), *master_arguments],
        )
        self.web = self._program("web", "appwebserver.py", ["--port", str(self.web_port)])
        self.agents: dict[str, Program] = {}
        self.names = list(agents)
        self._api: Api | None = None
        self._connections: list[Api] = []
        self._bystanders: set[int] = set()

    def __enter__(self) -> "Fleet":
        adopt_orphans()
        self._bystanders = set(descendants(os.getpid()))
        try:
            self.master.start()
            self.master.port()
            self._join(self.web, "web")
            self.web.start()
            for name in self.names:
                self.add_agent(name)
            until(self.is_up, 60 + len(self.names), "a fleet that is up")
        except BaseException as error:
            error.add_note(self.logs())
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self.logs())
        self.close()

    @property
    def token(self) -> str:
        return (self.master.state_dir / "admin.token").read_text().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def api(self) -> Api:
        """The API as the admin; always the same connection."""
        if self._api is None:
            self._api = self.connect(self.token)
        return self._api

    def connect(self, token: str | None) -> Api:
        """One more connection to the API, for another person or another thread."""
        self._connections.append(Api(self.web_port, token))
        return self._connections[-1]

    @property
    def programs(self) -> list[Program]:
        return [self.master, self.web, *self.agents.values()]

    def add_agent(self, name: str, *, hostname: str | None = None) -> Program:
        """Start one more agent; `hostname` if it is to bear another name than `name`."""
        agent = self._program(
            name, "app.py", ["--hostname", hostname or name, "--slots", str(self.slots)]
        )
        self._join(agent, "agent")
        self.agents[name] = agent
        agent.start()
        return agent

    def is_up(self) -> bool:
        """Does the web answer, and is every agent that runs online?"""
        for program in self.programs:
            assert program.running, f"{program.name} ended:\n{program.log}"
        try:
            online = [a for a in self.api.agents() if a["state"] == "online"]
        except (OSError, http.client.HTTPException, AssertionError):
            return False
        return len(online) >= len(self.agents)

    def agent_id(self, name: str) -> str:
        """The id of the one agent that bears a hostname."""
        (id,) = (agent["id"] for agent in self.api.agents() if agent["hostname"] == name)
        return str(id)

    def runner_pids(self, agent: str) -> list[int]:
        """The runner of an agent and what lives below it."""
        return descendants(self.agents[agent].pid)

    def logs(self) -> str:
        """The end of every log, for a test that failed."""
        return "\n".join(f"---- {p.name}\n" + p.log[-3000:] for p in self.programs)

    def close(self) -> None:
        """End everything that was started here, and whatever it has left behind."""
        for connection in self._connections:
            connection.close()
        for program in self.programs:
            if program.running:
                program.kill()
        kill_all(self.leftovers())

    def leftovers(self) -> list[int]:
        """What still lives of the fleet. Orphans too: we are their parent now."""
        return [pid for pid in descendants(os.getpid()) if pid not in self._bystanders]

    def _program(self, name: str, script: str, arguments: Sequence[str]) -> Program:
        return Program(name, script, self.root / name, arguments, self.environ)

    def _join(self, program: Program, kind: str) -> None:
        file = self.root / f"{kind}.join"
        if not file.exists():
            write_private(file, self.join_string(kind).encode())
        program.arguments += ["--join-file", str(file)]

    def join_string(self, kind: str) -> str:
        """What the master prints for a new agent, or for a web."""
        printed = subprocess.run(
            [sys.executable, *self.master.arguments, "--print-join", kind]
            + ["--advertise", f"127.0.0.1:{self.master_port}"],
            env=_clean_environ() | self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert printed.returncode == 0, printed.stderr
        return printed.stdout


def _clean_environ() -> dict[str, str]:
    """Ours without what would make the programs differ from installed ones.

    No setting of mschedule from the shell; and compiled files are written and used, since a
    process that compiles its modules itself is slower and larger.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MSCHEDULE_") and name != "PYTHONDONTWRITEBYTECODE"
    }


@contextlib.contextmanager
def paused(program: Program) -> Iterator[None]:
    """A program that is stopped by SIGSTOP for a while."""
    program.pause()
    try:
        yield
    finally:
        program.resume()
