"""Is docs/protocol.md right? Its examples are these records, encoded as the wire would.

MSCHEDULE_WRITE_DOCS=1 writes them anew.
"""

import os
import re
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from wire import messages as m
from wire.states import Cause, RunState, Stage, WordKind

PAGE = Path(__file__).resolve().parents[2] / "docs/protocol.md"
WRITE = os.environ.get("MSCHEDULE_WRITE_DOCS") == "1"
AGENT = "5be2ac6f0a0f4a70a6f0b7e3c2d1e9f8"
TASK = "01a1fd6c739927d43920c35013b490f7"
RUN = "01a1fd6c73999c4408d5f872b56dd66b"
INSTANCE = "2d0db862f257749d7cf9951e09ee2bb8"
SESSION = "8b1f4c6a2e907d35"

HELLO = m.TaskSpec(id=TASK, script="ZWNobyBoZWxsbwo=", name="greet", timeout=3600.0)
EXAMPLES: dict[str, Struct] = {
    "register": m.Register(
        id=AGENT, hostname="web01", ip=["10.0.0.7"], instance=INSTANCE, machine="9d3b0c5e",
        slots=4, version="0.1.0", protocol=m.PROTOCOL, facts={"os": "Debian GNU/Linux 12"},
        token="a token from the join string, the first time", nonce="c41d9e6b7a20f835", queues=[],
    ),
    "registered": m.Registered(SESSION, 5.0, 30.0, "0.1.0", m.PROTOCOL),
    "heartbeat": m.Heartbeat(SESSION, AGENT, "web01", ["10.0.0.7"], 1, 1795253105.5),
    "heartbeat answer": m.HeartbeatAnswer(5.0, -0.001),
    "poll": m.Poll(SESSION, INSTANCE, 41, 3, [m.Held(RUN, 1, Stage.LIVE)]),
    "work": m.Work(
        SESSION,
        [m.Grant(RUN, 1, 42, INSTANCE, 86400.0, task=HELLO)],
        [m.Word(WordKind.STOP, "01a1fd6c73995f41b9cb68402d23ac65", 1, Cause.CANCEL)],
    ),
    "output": m.Output(SESSION, RUN, 1, 0, b"hello\n"),
    "output answer": m.OutputAnswer(6),
    "result": m.Result(
        SESSION, 42, 4, RUN, 1, 42, RunState.SUCCEED, Cause.EXIT, 0,
        started_at=1795253105.52, ended_at=1795253105.53, output_bytes=6,
        output_sha256="5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        data=b"hello\n",
    ),
    "result answer": m.ResultAnswer(6),
    "done": m.Done(SESSION, 42, 0, [m.DoneRecord(RUN, 1, 42, RunState.SUCCEED, 0)], [RUN]),
}  # fmt: skip


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- example: {name} -->\n```json\n)(.*?)(\n```)", re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_shows_the_message_as_it_is(name: str) -> None:
    text = PAGE.read_text()
    encoded = msgspec.json.format(msgspec.json.encode(EXAMPLES[name]), indent=2).decode()
    shown = block(name).search(text)
    assert shown is not None, f"docs/protocol.md has no example of {name}"
    if WRITE:
        PAGE.write_text(block(name).sub(lambda found: found[1] + encoded + found[3], text))
    else:
        assert shown[2] == encoded
