"""How do tests play an agent's executor? In a process of its own, which can be killed like one.

As a program this is that process: it holds an Executor and answers one JSON line with another.
A gevent loop reaps every child of its process, which would take them from other tests' hands.
"""

import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from agent import rundir
from tests.support import adopt_orphans, descendants, kill_all, until

ROOT = Path(__file__).resolve().parent.parent
AGENT_ID = "a9" * 16
TASK_ID = "7a51" * 8
Key = tuple[str, int]


class Host:
    """A state directory with an executor over it, and the runs that were started there."""

    _open = 0
    _numbers = itertools.count(1)

    def __init__(self, state_dir: Path, environ: dict[str, str] | None = None) -> None:
        adopt_orphans()
        self.state_dir = state_dir
        self.environ = environ or {}
        Host._open += 1
        self._process: subprocess.Popen[str] | None = None
        self.restart()

    def __enter__(self) -> "Host":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        Host._open -= 1
        # What is left of the runs is ours now; killing one may hand us its children as well.
        while Host._open == 0 and (left := descendants(os.getpid())):
            kill_all(left)

    # ---- the process

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def restart(self) -> None:
        """A new executor over what is there, after the old one was killed."""
        self.kill()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.execution_host", str(self.state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "default", **self.environ},
        )

    def kill(self) -> None:
        """As kill -9 does it; the runner ends by itself, supervisors and scripts go on."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            process.kill()

    def terminate_group(self) -> None:
        """What a terminal or a careless service manager sends."""
        os.killpg(os.getpgid(self.pid), signal.SIGTERM)

    def call(self, method: str, *arguments: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    # ---- runs

    def entry(self, script: str | bytes, **task: Any) -> dict[str, Any]:
        number = next(Host._numbers)
        content = script.encode() if isinstance(script, str) else script
        return {
            "run": f"run{number:013d}{os.getpid()}",
            "attempt": 1,
            "grant": number,
            "instance": "here",
            "start_by": 1e12,
            "void": False,
            "task": {"id": TASK_ID, "script": base64.b64encode(content).decode(), **task},
        }

    def start(self, script: str | bytes, **task: Any) -> Key:
        entry = self.entry(script, **task)
        self.call("start", entry)
        self.watch(entry["run"], 1)
        return entry["run"], 1

    def watch(self, run: str, attempt: int = 1) -> None:
        self.call("watch", run, attempt)

    def ended(self, key: Key) -> bool:
        return bool(self.call("ended", *key))

    def finish(self, key: Key, timeout_s: float = 30.0) -> Any:
        """The exit record, once the executor has told of the end."""
        until(lambda: self.ended(key), timeout_s, what=f"the end of {key}")
        return self.call("exit_of", *key)

    def run(self, script: str | bytes, **task: Any) -> Any:
        """Start it and wait for its exit record, to which the output is added."""
        key = self.start(script, **task)
        record = self.finish(key)
        record["output"] = self.output(key)
        return record

    def output(self, key: Key, limit: int = 256 << 10) -> bytes:
        """All that can be read, without what lies in the gap."""
        return b"".join(data for _, data, _ in self.chunks(key, limit))

    def chunks(self, key: Key, limit: int = 256 << 10) -> list[tuple[int, bytes, int | None]]:
        """The chunks as an agent would send them: offset, bytes, start of the gap before it."""
        found: list[tuple[int, bytes, int | None]] = []
        offset = 0
        while True:
            at, encoded, gap_from = self.call("read_output", *key, offset, limit)
            data = base64.b64decode(encoded)
            if not data and gap_from is None:
                return found
            found.append((at, data, gap_from))
            if offset == at + len(data):
                return found
            offset = at + len(data)

    def failed_items(self, key: Key) -> bytes | None:
        """What the script of a batch has named as failed."""
        encoded = self.call("failed_items", *key)
        return None if encoded is None else base64.b64decode(encoded)

    def directory(self, key: Key) -> Path:
        return self.state_dir / "runs" / f"{key[0]}.{key[1]}"

    def stop(self, key: Key, cause: str = "cancel", grace_s: float = 10.0) -> None:
        self.call("stop", *key, cause, grace_s)

    def look(self, key: Key) -> Any:
        return self.call("look", *key)

    def supervisor(self, key: Key) -> int:
        """Its pid, once it has made its mark."""
        return int(until(lambda: self._link(key, "mark"), what="the mark").split()[1])

    def main(self, key: Key) -> int:
        """The pid of the script's first process."""
        directory = str(self.directory(key))
        return until(lambda: rundir.read_main(directory), what="the script")[0]

    def wait_for(self, path: Path) -> str:
        """What a script wrote into a file, once its line is whole."""
        return until(lambda: _whole_line(path), what=str(path))

    def _link(self, key: Key, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return os.readlink(self.directory(key) / name)
        return ""


def _whole_line(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""


def with_text(text: str) -> list[int]:
    """Living processes that hold `text` in their command line."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if text.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
    return found


# ---- the other side


def serve(state_dir: Path) -> None:
    from gevent.fileobject import FileObjectPosix

    commands = _Commands(state_dir)
    for line in FileObjectPosix(0, "r", close=False):
        method, arguments = json.loads(line)
        try:
            answer = {"value": getattr(commands, method)(*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


class _Commands:
    """The Executor's methods, with arguments and values that JSON can hold."""

    def __init__(self, state_dir: Path) -> None:
        from agent.executor import Executor

        self._executor = Executor(state_dir, AGENT_ID)
        self._executor.start_runner()
        self._ended: list[Key] = []

    def start(self, entry: dict[str, Any]) -> None:
        """As agent/runs.py does it: secrets are put aside, and journalled by name."""
        from msgspec.structs import replace

        started = _entry(entry)
        if started.task is not None and started.task.has_secrets:
            self._executor.keep_secrets(started.run, started.attempt, started.task)
            started = replace(started, task=started.task.without_secrets())
        self._executor.start(started)

    def start_without_secrets(self, entry: dict[str, Any]) -> None:
        """What they were put aside in is gone."""
        self._executor.start(_entry(entry))

    def race(self, entry: dict[str, Any]) -> bool:
        """Start, and at once try to void; did the void win?"""
        started = _entry(entry)
        self._executor.start(started)
        return self._executor.void(started.run, started.attempt)

    def watch(self, run: str, attempt: int) -> None:
        self._executor.watch(run, attempt, lambda: self._ended.append((run, attempt)))

    def ended(self, run: str, attempt: int) -> int:
        """How often the end was told."""
        import gevent

        gevent.sleep(0)
        return self._ended.count((run, attempt))

    def void(self, run: str, attempt: int) -> bool:
        return self._executor.void(run, attempt)

    def stop(self, run: str, attempt: int, cause: str, grace_s: float) -> None:
        from wire.states import Cause

        self._executor.stop(run, attempt, Cause(cause), grace_s)

    def look(self, run: str, attempt: int) -> Any:
        import msgspec

        entry = {"run": run, "attempt": attempt, "grant": 1, "instance": "here", "start_by": 0.0}
        return msgspec.to_builtins(self._executor.look(_entry({**entry, "void": False})))

    def exit_of(self, run: str, attempt: int) -> Any:
        import msgspec

        return msgspec.to_builtins(self._executor.exit_of(run, attempt))

    def read_output(self, run: str, attempt: int, offset: int, limit: int) -> Any:
        chunk = self._executor.read_output(run, attempt, offset, limit)
        return chunk.offset, base64.b64encode(chunk.data).decode(), chunk.gap_from

    def failed_items(self, run: str, attempt: int) -> str | None:
        found = self._executor.failed_items(run, attempt)
        return None if found is None else base64.b64encode(found).decode()

    def output_size(self, run: str, attempt: int) -> int:
        return self._executor.output_size(run, attempt)

    def sweep_clean(self, run: str, attempt: int) -> bool:
        return self._executor.sweep_clean(run, attempt)

    def remove(self, run: str, attempt: int) -> None:
        self._executor.remove(run, attempt)

    def directories(self) -> list[Key]:
        return self._executor.directories()

    def runner_pid(self) -> int | None:
        return self._executor.runner_pid

    def close(self) -> None:
        self._executor.close()


def _entry(fields: dict[str, Any]) -> Any:
    import msgspec

    from agent.records import Entry

    return msgspec.convert(fields, Entry)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
