"""Is a message that comes again, or late, answered as it was, without any effect?

All that a host has said while it ran tasks of every kind is said again, by another connection
with its key: each message twice, in any order.
"""

import base64
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.faults.breakable import BreakableFleet
from tests.faults.checker import check
from tests.faults.history import Play
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.support import until
from wire.keys import load_or_make_keys, parse_join

RECORDING = str(Path(__file__).with_name("recording.py"))
encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode

AT_ONCE = 16  # calls; a key may have 64 under way
ANSWER_MS = 60_000
AGAIN = "register_again"

Call = tuple[str, Any, Any]  # method, argument, answer


class Echo:
    """One more connection under the key of a host."""

    def __init__(self, scene: Scene, name: str) -> None:
        fleet = scene.fleet
        join = parse_join((fleet.root / "agent.join").read_text())
        keys = load_or_make_keys(fleet.agents[name].state_dir / "keys")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.rcvtimeo = ANSWER_MS
        self._socket.curve_publickey = keys.public.encode()
        self._socket.curve_secretkey = keys.secret.encode()
        self._socket.curve_serverkey = join.key.encode()
        self._socket.connect(join.endpoint)

    def __enter__(self) -> "Echo":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def say(self, method: str, argument: Any) -> Any:
        """The answer, or the code of the refusal."""
        return self.say_all([(method, argument)])[0]

    def say_all(self, calls: list[tuple[str, Any]]) -> list[Any]:
        """Some at once; their answers, in the order of the calls."""
        batches = [calls[at : at + AT_ONCE] for at in range(0, len(calls), AT_ONCE)]
        return [answer for batch in batches for answer in self._say_batch(batch)]

    def _say_batch(self, calls: list[tuple[str, Any]]) -> list[Any]:
        for number, (method, argument) in enumerate(calls):
            header = {"message_id": b"%08d" % number, "v": 3}
            self._socket.send_multipart([b"", encode((header, method, (argument,)))])
        answers: dict[int, Any] = {}
        while len(answers) < len(calls):
            _, body = self._socket.recv_multipart()
            header, kind, values = decode(body)
            answers[int(header["response_to"])] = values[0] if kind in ("OK", "ERR") else None
        return [answers[number] for number in range(len(calls))]


def recorded(file: Path) -> list[Call]:
    lines = file.read_bytes().splitlines()
    return [tuple(decode(base64.b64decode(line))) for line in lines]


def kind_of(call: Call) -> str:
    return str(call[1]["type"]) if call[0] == "sendmsg" else call[0]


def payload_of(call: Call) -> dict[str, Any]:
    return dict(call[1]["payload"]) if call[0] == "sendmsg" else dict(call[1])


def under(session: str, call: Call) -> tuple[str, Any]:
    """The same message, as of this session."""
    payload = payload_of(call) | {"session": session}
    argument = call[1] | {"payload": payload} if call[0] == "sendmsg" else payload
    return call[0], argument


def in_store(fleet: BreakableFleet) -> dict[str, list[Any]]:
    """All that is known of tasks, and what was handed out to whom."""
    tables = {
        name: f"SELECT * FROM {name} ORDER BY 1, 2"
        for name in ("tasks", "runs", "outputs", "run_history")
    }
    tables["agents"] = "SELECT id, granted, acked, instance, standing FROM agents ORDER BY id"
    store = fleet.master.state_dir / "store.sqlite"
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return {name: connection.execute(query).fetchall() for name, query in tables.items()}


def is_quiet(fleet: BreakableFleet) -> bool:
    """Has the host let go of all its runs, so that it has nothing more to say of them?"""
    return not any((fleet.agents["web01"].state_dir / "runs").glob("*.*/"))


@pytest.mark.parametrize("seed", [1])
def test_what_was_said_once_may_be_said_twice_and_in_any_order(tmp_path: Path, seed: int):
    file = tmp_path / "record"
    (tmp_path / "fleet").mkdir()
    fleet = BreakableFleet(
        tmp_path / "fleet",
        ["web01"],
        launcher={"app.py": RECORDING},
        environ={"RECORD": str(file)},
    )
    with fleet, Scene(fleet) as scene, scene.client() as client:
        # Given all that a host has said while it ran tasks of every kind
        until(file.exists)
        client.submit(Wish(Play(), ["web01"]))
        client.submit(Wish(Play(failing=16), ["web01"]))
        client.submit(Wish(Play(lines=30_000), ["web01"]))
        client.submit(Wish(Play(hangs=True), ["web01"], timeout_s=1))
        hanging = client.submit(Wish(Play(hangs=True), ["web01"]))
        client.cancel(hanging.task)
        fleet.master.restart()  # some of it to another master, with another session
        assert check(scene.collect(time.monotonic() + 60)) == []
        until(lambda: is_quiet(fleet), 60, "a host that has let go of its runs")
        kinds = {"register", "take_task", "heartbeat", "output", "result"}
        until(lambda: kinds <= {*map(kind_of, recorded(file))}, 60, "messages of every kind")
        calls = recorded(file)
        before = in_store(fleet)

        # When each is said twice more, shuffled, in the session that there is
        session = [call[2]["session"] for call in calls if kind_of(call) == "register"][-1]
        again = [call for call in calls if kind_of(call) != "register"] * 2
        random.Random(seed).shuffle(again)
        with Echo(scene, "web01") as echo:
            answers = echo.say_all([under(session, call) for call in again])
            for call, answer in zip(again, answers, strict=True):
                assert is_as_before(call, answer), (kind_of(call), call[2], answer)

            # And in the sessions that were, with its registrations among the rest
            random.Random(seed).shuffle(calls)
            for call in calls * 2:
                answer = echo.say(call[0], call[1]) if kind_of(call) != "take_task" else AGAIN
                assert answer == AGAIN or is_as_before(call, answer), (kind_of(call), answer)

        # Then nothing has changed, and the host goes on
        assert in_store(fleet) == before
        client.submit(Wish(Play(), ["web01"]))
        history = scene.collect(time.monotonic() + 60)
    assert check(history) == []
    assert history.tasks[-1].state == "SUCCEED"


def is_as_before(call: Call, answer: Any) -> bool:
    """The same answer, but for what is of another moment: sessions, clocks, more output."""
    if not isinstance(answer, dict):
        return False
    then, now = dict(call[2]), dict(answer)
    for moment in ("session", "skew_s"):
        then.pop(moment, None)
        now.pop(moment, None)
    if kind_of(call) == "take_task":  # nothing is handed out any more
        return not now.get("grants")
    if "offset" in then:  # the master may have got more of the output since
        return bool(now.pop("offset") >= then.pop("offset")) and then == now
    return then == now
