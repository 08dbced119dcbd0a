"""What becomes of an agent's runs when two of its greenlets get to one of them together."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import gevent
import pytest
from gevent.event import AsyncResult

from agent.executor import Executor
from agent.identity import Host, Identity
from agent.journal import Journal
from agent.msg import Message
from agent.runs import Runs
from tests.support import until
from wire.keys import make_keys
from wire.messages import Grant, Result, TaskSpec, Word, Work
from wire.states import Cause, RunState, WordKind

SESSION = "session"

T = TypeVar("T")


class SlowRunner:
    """Takes every request, and has not come to any yet."""

    pid = None

    def start(self) -> None:
        pass

    def ask(self, directory: str) -> None:
        pass

    def close(self) -> None:
        pass


class Link:
    """Keeps the results that are sent, and answers none."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def send(self, type: str, build: Callable[[str], Any], reply: type[T]) -> T:
        self.results.append(build(SESSION))
        answered: AsyncResult[T] = AsyncResult()
        answer: T = answered.get()
        return answer


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    monkeypatch.setattr("agent.executor.RunnerLink", lambda *_: SlowRunner())
    executor = Executor(tmp_path, "a" * 32)
    executor.start_runner()
    message = Message(Identity("a" * 32, make_keys()), Host("m", "b"), "journal", "web01", 4)
    lost: list[BaseException] = []
    runs = Runs(
        journal=Journal(tmp_path / "journal"),
        executor=executor,
        message=message,
        slots=4,
        directory=tmp_path,
        on_change=lambda: None,
        on_lost=lost.append,
    )
    link = Link()
    runs.recover(link)
    yield SimpleNamespace(runs=runs, link=link, instance=message.instance)
    runs.stop_couriers()
    executor.close()
    assert not lost


def test_a_run_that_is_cancelled_before_its_script_starts_is_told_as_cancelled(agent):
    grant = Grant("r1", 1, 1, agent.instance, 60.0, task=TaskSpec("t" * 32, "ZXhpdA=="))
    agent.runs.apply(Work(SESSION, [grant]), SESSION)
    gevent.sleep(0)
    agent.runs.apply(Work(SESSION, [], [Word(WordKind.STOP, "r1", 1, Cause.CANCEL)]), SESSION)
    until(lambda: agent.link.results, sleep=gevent.sleep)
    (result,) = agent.link.results
    assert (result.state, result.cause) == (RunState.CANCELLED, Cause.CANCEL)
