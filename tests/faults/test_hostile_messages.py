"""Whatever an enrolled key says of runs and hosts, also mutated and again: it harms its own host.

The real methods over a real store, in this process. What is drawn are messages that an agent
might send, about its own run, another host's, or none; then some of their bytes are others, and
what was sent before comes once more. tests/faults/test_hostile_agent.py does as much to a master
that is a process of its own, by numbers.
"""

import gc
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.refusals import MOST_OF_ONE
from tests.faults.test_hostile_frames import resident_bytes, settle
from tests.storage.company import Company
from tests.wire_peers import Bare
from utils import state_dir
from wire.client import Client
from wire.keys import KeyPair, make_keys
from wire.messages import Heartbeat, HeartbeatAnswer, Output, OutputAnswer

SECRET = "a word of another host"
GROWTH_BYTES = 100 << 20
KEPT = 50  # messages that may come again


class Siege:
    """A master; alice, whose run has said something; and mallory, who has a run as well."""

    def __init__(self, company: Company):
        self.company = company
        self.keys = company.master._keys
        server = company.master._server
        port = server.bind("tcp://127.0.0.1:0")
        server.start()
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.alice_id, alice_keys, self.alice_session = self._host("alice")
        self.alice = self._client(alice_keys)
        self.alice_run = self._run(self.alice_id, self.alice_session, self.alice)
        said = Output(self.alice_session, self.alice_run, 1, 0, SECRET.encode())
        assert self.alice.send("output", said, OutputAnswer).offset == len(SECRET)
        self.id, keys, self.session = self._host("mallory")
        client = self._client(keys)
        self.run = self._run(self.id, self.session, client)
        client.close()
        self.mallory = Bare(self, keys)  # type: ignore[arg-type]
        self.key = keys.public
        self.size_before = resident_bytes()
        self.heard: list[bytes] = []
        self.sent: list[bytes] = []
        self.numbers = itertools.count(1)

    def _host(self, hostname: str) -> tuple[str, KeyPair, str]:
        keys = make_keys()
        id, register = self.company.host()
        register["hostname"] = hostname
        return id, keys, self.company.register(keys.public, **register)["session"]

    def _client(self, keys: KeyPair) -> Client:
        return Client(self.endpoint, self.keys.public, keys, on_trouble=lambda *_: None)

    def _run(self, host: str, session: str, client: Client) -> str:
        """A run that was handed out to the host."""
        task = {"script": "cat", "targets": [host]}
        self.company.call("add_task", self.company.alice, submission=task)
        poll = {"session": session, "instance": "i", "hw": 0, "free": 4}
        return str(client.call("take_task", poll, dict[str, Any])["grants"][0]["run"])

    def send(self, body: bytes) -> None:
        self.sent = [*self.sent, body][-KEPT:]
        self.mallory.send(b"", body)

    def message(self, name: str, argument: object) -> bytes:
        header = {"message_id": b"%d" % next(self.numbers), "v": 3}
        return msgspec.msgpack.encode((header, name, (argument,)))

    def check(self) -> None:
        """Alice is served, her run is as it was, and mallory has heard nothing of it."""
        beat = Heartbeat(self.alice_session, self.alice_id, "alice", [], 0, 0.0)
        assert self.alice.send("heartbeat", beat, HeartbeatAnswer).heartbeat_s > 0
        while self.mallory.socket.poll(0):
            self.heard.append(self.mallory.socket.recv_multipart()[-1])
        heard = b"".join(self.heard[-200:])
        assert SECRET.encode() not in heard
        assert b"something broke" not in heard
        record = self.company.storage.run_record(self.alice_run).wait()
        assert (record.state, record.want) == ("RUNNING", None)
        kept = self.company.storage.output(self.alice_run, 0, 1 << 20).wait().data
        assert kept == SECRET.encode()

    def close(self) -> None:
        self.mallory.close()
        self.alice.close()


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with state_dir(tmp_path_factory.mktemp("siege") / "master") as folder:
        company = Company(folder)
        siege = Siege(company)
        yield siege
        siege.close()
        company.close()


# ---- what she sends

MINE, HERS, NOBODYS = "mine", "hers", "0" * 32
whose = st.sampled_from([MINE, HERS, NOBODYS])
numbers = st.sampled_from([0, 1, 2, -1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1, -(1 << 63)])
sessions = st.sampled_from(["mine", "hers", ""])
states = st.sampled_from(["SUCCEED", "FAILED", "UNKNOWN", "CANCELLED", "SKIPPED", "RUNNING", "x"])
stages = st.sampled_from(["ready", "live", "stopping", "ended"])
chunks = st.binary(max_size=300)

heartbeats = st.fixed_dictionaries(
    {
        "session": sessions,
        "id": whose,
        "hostname": st.sampled_from(["mallory", "alice", "x" * 300, ""]),
        "ip": st.lists(st.text(max_size=20), max_size=4),
        "busy": numbers,
        "clock": st.floats(),
    }
)
held = st.fixed_dictionaries({"run": whose, "attempt": numbers, "stage": stages})
polls = st.fixed_dictionaries(
    {
        "session": sessions,
        "instance": st.just("i"),
        "hw": numbers,
        "free": numbers,
        "held": st.lists(held, max_size=4),
    }
)
outputs = st.fixed_dictionaries(
    {"session": sessions, "run": whose, "attempt": numbers, "offset": numbers, "data": chunks},
    optional={"gap_from": numbers},
)
results = st.fixed_dictionaries(
    {
        "session": sessions,
        "hw": numbers,
        "free": numbers,
        "run": whose,
        "attempt": numbers,
        "grant": numbers,
        "state": states,
        "cause": st.sampled_from(["exit", "cancel", "timeout", "x"]),
        "code": st.none() | numbers,
    },
    optional={"output_bytes": numbers, "offset": numbers, "data": chunks, "reason": st.text()},
)
record = st.fixed_dictionaries(
    {"run": whose, "attempt": numbers, "grant": numbers, "state": states, "code": st.none()}
)
dones = st.fixed_dictionaries(
    {
        "session": sessions,
        "hw": numbers,
        "floor": numbers,
        "records": st.lists(record, max_size=4),
        "asked": st.none() | st.lists(whose, max_size=3),
    }
)
typed = st.one_of(
    *(
        st.tuples(st.just(kind), payloads)
        for kind, payloads in [
            ("heartbeat", heartbeats),
            ("output", outputs),
            ("result", results),
            ("done", dones),
        ]
    )
).map(lambda drawn: ("sendmsg", {"type": drawn[0], "payload": drawn[1]}))
messages = typed | polls.map(lambda poll: ("take_task", poll))
mutations = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=3)
steps = st.lists(st.tuples(messages, mutations) | st.integers(0, KEPT - 1), min_size=1, max_size=8)


def meant(value: Any, siege: Siege) -> Any:
    """With the ids and sessions that the words stand for."""
    match value:
        case dict():
            known = {
                "run": {MINE: siege.run, HERS: siege.alice_run},
                "id": {MINE: siege.id, HERS: siege.alice_id},
                "session": {"mine": siege.session, "hers": siege.alice_session},
            }
            return {
                name: known[name].get(one, one)
                if name in known and isinstance(one, str)
                else meant(one, siege)
                for name, one in value.items()
            }
        case list():
            return [meant(one, siege) for one in value]
    return value


def mutated(body: bytes, changes: list[tuple[int, int]]) -> bytes:
    found = bytearray(body)
    for place, byte in changes:
        found[place % len(found)] = byte
    return bytes(found)


@settings(max_examples=150)
@given(steps)
def test_no_message_of_hers_touches_another_host(siege, drawn):
    for step in drawn:
        if isinstance(step, int):
            if siege.sent:
                siege.send(siege.sent[step % len(siege.sent)])
            continue
        (name, argument), changes = step
        siege.send(mutated(siege.message(name, meant(argument, siege)), changes))
    siege.check()


def test_hand_outs_went_on_though_she_said_that_the_store_was_older(siege):
    assert siege.company.storage.held().wait() is None
    assert siege.company.master._live.held is None


def test_she_was_heard_to_the_end(siege):
    """Nothing of it has put her in quarantine, in which no message of hers would be looked at."""
    assert siege.company.master._roster.role_of(siege.key)[0] == "agent"


def test_what_is_for_people_is_written_down_when_a_host_calls_it_but_not_without_end(siege):
    company = siege.company
    before = company.last_act()
    for _ in range(50):
        siege.send(siege.message("add_task", {"auth": {"token": None}}))
    settle(siege.mallory)
    acts = company.acts_since(before)
    assert set(acts) == {(siege.id, "agent.overreach", "forbidden")}
    assert len(acts) <= MOST_OF_ONE


def test_what_she_has_sent_takes_no_room(siege):
    gc.collect()
    assert resident_bytes() - siege.size_before < GROWTH_BYTES
    assert siege.company.master._server.in_flight <= 2  # her poll that waits, and one beside it
