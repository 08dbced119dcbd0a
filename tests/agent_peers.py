"""A scripted master for one agent: it grants, says words, and loses what it is told to lose."""

import base64
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent

from tests.fleet import Program
from tests.support import descendants, free_port, kill_all, until
from wire.errors import Refusal, RegisterAgain
from wire.keys import Join, KeyPair, make_keys
from wire.messages import (
    PROTOCOL,
    Done,
    Grant,
    Heartbeat,
    HeartbeatAnswer,
    Output,
    OutputAnswer,
    Poll,
    Register,
    Registered,
    Result,
    ResultAnswer,
    TaskSpec,
    Word,
    Work,
)
from wire.server import LATER, Answer, Call, Method, Server, Table
from wire.states import Cause, Stage, WordKind

AGENT = frozenset({"agent"})
TOKEN = "a-join-token"


class FakeMaster:
    """Does what a test scripts; what it saw is in its lists, newest last."""

    def __init__(self) -> None:
        self.keys: KeyPair = make_keys()
        self.heartbeat_s = 5.0
        self.poll_s = 30.0
        self.granted = 0
        self.grants: list[Grant] = []
        self.words: list[Word] = []
        self.session = "no-session"
        self.registers: list[Register] = []
        self.heartbeats: list[Heartbeat] = []
        self.polls: list[Poll] = []
        self.results: list[Result] = []
        self.outputs: list[Output] = []
        self.dones: list[Done] = []
        self.stored: dict[str, bytearray] = {}
        self.gaps: dict[str, tuple[int, int]] = {}
        self.swallow: Counter[str] = Counter()  # how many messages of a type stay unanswered
        self.refuse: dict[str, Refusal] = {}  # what a type is answered with, until taken out
        self.refused_output: set[str] = set()
        self.strays: set[str] = set()
        self.babble = False  # answer every poll with a word about nobody
        self.answer_as: str | None = None  # the session that answers name, if not the right one
        self.parked: Call | None = None
        self.port = free_port()  # which it has again after a stop
        self._server: Server | None = None

    # ---- life

    def start(self) -> None:
        self._server = Server(self.keys, self._methods(), lambda key: ("agent", "web01"))
        self.port = self._server.bind(f"tcp://127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None
        self.parked = None

    @property
    def join(self) -> str:
        return str(Join("127.0.0.1", self.port, self.keys.public, TOKEN))

    def _methods(self) -> Table:
        return {
            "sendmsg": {
                "register": Method(AGENT, Register, self._register),
                "heartbeat": Method(AGENT, Heartbeat, self._heartbeat),
                "output": Method(AGENT, Output, self._output),
                "result": Method(AGENT, Result, self._result),
                "done": Method(AGENT, Done, self._done),
            },
            "take_task": Method(AGENT, Poll, self._take_task),
        }

    # ---- what a test does

    def grant(self, run: str, script: str = "echo hello", **more: Any) -> Grant:
        """Hand out a run; `void`, `cause`, `start_in`, `instance`, `attempt` as in Grant."""
        self.granted += 1
        task = TaskSpec(
            id=f"task-of-{run}",
            script=base64.b64encode(script.encode()).decode(),
            timeout=more.pop("timeout", 0.0),
            grace=more.pop("grace", 1.0),
        )
        grant = Grant(
            run=run,
            attempt=more.pop("attempt", 1),
            grant=self.granted,
            instance=more.pop("instance", self.registers[-1].instance if self.registers else ""),
            start_in=more.pop("start_in", 3600.0),
            task=None if more.get("void") else task,
            **more,
        )
        self.grants.append(grant)
        self.answer()
        return grant

    def say(self, kind: WordKind, run: str | None, **more: Any) -> None:
        self.words.append(Word(kind, run, attempt=more.pop("attempt", 1), **more))
        self.answer()

    def cancel(self, run: str) -> None:
        self.say(WordKind.STOP, run, cause=Cause.CANCEL)

    def answer(self, all_of_it: bool = False) -> None:
        """Answer the parked poll, if there is one and anything to say."""
        if self.parked is None:
            return
        hw = self.polls[-1].hw
        grants = [g for g in self.grants if all_of_it or g.grant > hw]
        if not grants and not self.words:
            return
        call, self.parked = self.parked, None
        words, self.words = self.words, []
        if self.swallow["work"]:
            self.swallow["work"] -= 1
            return
        call.ok(Work(self.answer_as or self.session, grants, words))

    def end_poll(self) -> None:
        """Answer the parked poll empty, as at the end of its wait."""
        if self.parked is not None:
            call, self.parked = self.parked, None
            call.ok(Work(self.session))

    def result_of(self, run: str, timeout_s: float = 60.0) -> Result:
        self.until(lambda: self._results_of(run), timeout_s, f"a result of {run}")
        return self._results_of(run)[-1]

    def output_of(self, run: str) -> bytes:
        return bytes(self.stored.get(run, b""))

    def stage_of(self, run: str) -> Stage | None:
        """As the newest poll has it; None: not held."""
        held = self.polls[-1].held if self.polls else []
        return next((one.stage for one in held if one.run == run), None)

    def until(self, predicate: Callable[[], Any], timeout_s: float = 60.0, what: str = "") -> None:
        until(predicate, timeout_s, what, gevent.sleep)

    def _results_of(self, run: str) -> list[Result]:
        return [result for result in self.results if result.run == run]

    # ---- messages

    def _register(self, call: Call, message: Register) -> Answer:
        self.registers.append(message)
        self._check("register")
        self.session = f"session-{len(self.registers)}"
        self.parked = None
        return Registered(self.session, self.heartbeat_s, self.poll_s, "0", PROTOCOL)

    def _heartbeat(self, call: Call, message: Heartbeat) -> Answer:
        self._speaks(message.session)
        self.heartbeats.append(message)
        self._check("heartbeat")
        return HeartbeatAnswer(self.heartbeat_s, 0.0)

    def _take_task(self, call: Call, message: Poll) -> Answer:
        self._speaks(message.session)
        self.polls.append(message)
        self._check("poll")
        older, self.parked = self.parked, call
        if older is not None:
            older.ok(Work(self.session))
        if self.babble:
            self.words.append(Word(WordKind.STOP, "nobody", attempt=1, cause=Cause.CANCEL))
        self.answer()
        return LATER

    def _output(self, call: Call, message: Output) -> Answer:
        self._speaks(message.session)
        self.outputs.append(message)
        self._check("output")
        stored = self.stored.setdefault(message.run, bytearray())
        if message.run in self.refused_output:
            return OutputAnswer(0, refused=True)
        self._store(message.run, message.offset, message.data, message.gap_from)
        return self._swallowed("output") or OutputAnswer(len(stored))

    def _store(self, run: str, offset: int, data: bytes, gap_from: int | None) -> None:
        """A gap is filled with dots, so that offsets stay those of the output."""
        stored = self.stored.setdefault(run, bytearray())
        if gap_from == len(stored):
            self.gaps[run] = (gap_from, offset)
            stored.extend(b"." * (offset - gap_from))
        if offset <= len(stored):
            stored[offset : offset + len(data)] = data

    def _result(self, call: Call, message: Result) -> Answer:
        self.results.append(message)
        self._check("result")
        if message.run in self.strays:
            return ResultAnswer(0, stray=True)
        self._store(message.run, message.offset, message.data, None)
        refused = message.run in self.refused_output
        answer = ResultAnswer(len(self.stored[message.run]), refused=refused)
        return self._swallowed("result") or answer

    def _done(self, call: Call, message: Done) -> Answer:
        self.dones.append(message)
        return {}

    def _speaks(self, session: str) -> None:
        if session != self.session:
            raise RegisterAgain

    def _check(self, type: str) -> None:
        if type in self.refuse:
            raise self.refuse[type]

    def _swallowed(self, type: str) -> Answer:
        if not self.swallow[type]:
            return None
        self.swallow[type] -= 1
        return LATER


class Host:
    """One agent process beside the fake master."""

    def __init__(self, tmp_path: Path, master: FakeMaster) -> None:
        self.master = master
        self.witness = tmp_path / "witness"
        self.boot_id = tmp_path / "boot-id"
        self.boot_id.write_text("boot-1\n")
        self.state = tmp_path / "agent"
        self.agent = Program(
            "agent",
            "app.py",
            self.state,
            environ={
                "MSCHEDULE_JOIN": master.join,
                "MSCHEDULE_BOOT_ID_FILE": str(self.boot_id),
                "MSCHEDULE_HOSTNAME": "web01",
            },
        )

    def start(self, **environ: str) -> None:
        polls = len(self.master.polls)
        self.agent.start(**environ)
        self.master.until(
            lambda: len(self.master.polls) > polls or not self.agent.running, 60, "the first poll"
        )
        assert self.agent.running, self.agent.log

    def kill(self) -> None:
        self.agent.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        assert self.agent.process is not None
        self.master.until(lambda: not self.agent.running, 60, "the end of the agent")
        return int(self.agent.process.returncode)

    def reboot(self, name: str = "boot-2") -> None:
        """As far as the agent can tell."""
        self.boot_id.write_text(name + "\n")

    def scripts_ran(self) -> list[str]:
        return self.witness.read_text().split() if self.witness.exists() else []

    def log_has(self, text: str) -> None:
        self.master.until(lambda: text in self.agent.log, 60, f"a log line with {text!r}")

    def directories(self) -> list[str]:
        folder = self.state / "runs"
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    def is_idle(self) -> bool:
        return not self.directories()


@contextmanager
def master_and_host(tmp_path: Path) -> Iterator[tuple[FakeMaster, Host]]:
    """Both, not started yet but for the master; nothing is left of them afterwards."""
    master = FakeMaster()
    master.start()
    host = Host(tmp_path, master)
    try:
        yield master, host
    finally:
        if host.agent.running:
            below = descendants(host.agent.pid)
            host.agent.kill()
            kill_all(below)
        kill_all(_leftovers(host.state))
        master.stop()


def _leftovers(state: Path) -> list[int]:
    """Supervisors and scripts whose agent is gone: they name the state directory."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                where = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(state).encode() in where:
                found.append(int(process.name))
    return found


def settle(seconds: float) -> None:
    """Let pass what would have happened by then; only to show that nothing does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        gevent.sleep(0.01)
