"""Whatever a peer sends, the server goes on to answer the others, and stays small.

Mallory's key is enrolled: she may speak, and says what she likes.
"""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import until
from tests.wire_peers import (
    Bare,
    House,
    Word,
    bare_peer_of,
    client_of,
    house_of,
)
from wire.keys import make_keys
from wire.server import LIMITS, MAX_MESSAGE_BYTES

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
EMPTY_ARRAY = b"\x90"


@pytest.fixture
def house() -> Iterator[House]:
    with house_of() as house:
        yield house


@pytest.fixture(scope="module")
def besieged() -> Iterator[tuple[House, Bare]]:
    """One house and one hostile peer for many examples: what they leave behind adds up."""
    with house_of() as house, bare_peer_of(house) as mallory:
        yield house, mallory


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def settle(mallory: Bare) -> None:
    """Until the server has dealt with all that Mallory sent: it answers a peer in order."""
    mallory.call(b"settle", "echo")
    until(lambda: settled(mallory), sleep=gevent.sleep)


def settled(mallory: Bare) -> bool:
    while mallory.socket.poll(0):
        header, _, _ = msgspec.msgpack.decode(mallory.socket.recv_multipart()[-1])
        if header["response_to"] == b"settle":
            return True
    return False


# ---- anything at all

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
headers = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.binary(max_size=80) | anything,
        "v": st.integers(-1, 4) | anything,
        "response_to": st.binary(max_size=80) | st.lists(st.binary()) | anything,
    },
)
names = st.sampled_from(["echo", "keep", "sendmsg", "OK", "ERR", "_zpc_hb", "_zpc_more", "STREAM"])

siege = settings(
    max_examples=200,
)


@siege
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=6))
def test_it_survives_random_frames(besieged, frames):
    _, mallory = besieged
    mallory.send(*frames)
    settle(mallory)


@siege
@given(st.binary(max_size=400))
def test_it_survives_a_random_body(besieged, body):
    _, mallory = besieged
    mallory.send(b"", body)
    settle(mallory)


@siege
@given(headers | anything, names | anything, anything)
def test_it_survives_messages_of_any_form(besieged, header, name, args):
    _, mallory = besieged
    mallory.event(header, name, args)
    settle(mallory)


@siege
@given(names, anything)
def test_it_survives_arguments_of_any_form(besieged, name, args):
    house, mallory = besieged
    mallory.event({"message_id": b"1", "v": 3}, name, args)
    settle(mallory)
    for call in house.kept:
        call.ok({})
    house.kept.clear()


def test_it_answers_others_after_the_siege(besieged):
    house, _ = besieged
    assert house.answers_others()
    assert house.server.in_flight == 0


# ---- known attacks on zerorpc's servers, one by one


def a_list_as_response_to(mallory: Bare) -> None:
    mallory.event({"message_id": b"1", "v": 3, "response_to": [b"x"]}, "echo", [{}])


def a_flood_on_one_channel(mallory: Bare) -> None:
    mallory.call(b"channel", "keep")
    for n in range(300):
        header = {"message_id": b"%d" % n, "v": 3, "response_to": b"channel"}
        mallory.event(header, "more", [n])


def a_flood_of_heartbeats_that_nobody_reads(mallory: Bare) -> None:
    mallory.call(b"channel", "keep")
    for n in range(5000):
        header = {"message_id": b"%d" % n, "v": 3, "response_to": b"channel"}
        mallory.event(header, "_zpc_hb", [0])


def old_versions(mallory: Bare) -> None:
    for version in (0, 1, 2, None, "3", 3.0, True):
        mallory.event({"message_id": b"1", "v": version}, "echo", [{}])
    mallory.event({"message_id": b"1"}, "echo", [{}])


def repeated_ids(mallory: Bare) -> None:
    for _ in range(200):
        mallory.call(b"the same", "keep")


def too_many_calls(mallory: Bare) -> None:
    for n in range(1000):
        mallory.call(b"%d" % n, "keep")


def broken_frames(mallory: Bare) -> None:
    mallory.send(b"")
    mallory.send(b"no delimiter")
    mallory.send(b"x", b"y", b"z")
    mallory.send(*[b""] * 5000)


def deep_nesting(mallory: Bare) -> None:
    prefix = b"\x93\x82\xaamessage_id\xc4\x011\xa1v\x03\xa4echo"
    mallory.send(b"", prefix + b"\x91" * 1_000_000)
    mallory.send(b"", b"\x91" * 1_000_000)
    mallory.send(b"", b"\x81" * 1_000_000)
    mallory.send(b"", prefix + b"\x91\x81\xa8anything" + b"\x91" * 100_000 + EMPTY_ARRAY)


ATTACKS: list[Callable[[Bare], None]] = [
    a_list_as_response_to,
    a_flood_on_one_channel,
    a_flood_of_heartbeats_that_nobody_reads,
    old_versions,
    repeated_ids,
    too_many_calls,
    broken_frames,
    deep_nesting,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_it_answers_others_after(house, attack):
    with bare_peer_of(house) as mallory, client_of(house) as alice:
        assert alice.call("echo", {"number": 1}, Word).number == 1
        attack(mallory)
        assert alice.call("echo", {"number": 2}, Word).number == 2
        assert house.answers_others()
        assert house.server.in_flight <= LIMITS["agent"].calls


def test_it_runs_a_call_once_however_often_its_id_is_repeated(house):
    with bare_peer_of(house) as mallory:
        repeated_ids(mallory)
        settle(mallory)
    assert len(house.kept) == 1
    assert house.server.dropped["a message id used twice"] == 199


def test_it_lets_nobody_feed_the_channel_of_another(house):
    with bare_peer_of(house) as alice, bare_peer_of(house) as mallory:
        alice.call(b"channel", "keep", text="alice")
        until(lambda: house.kept, sleep=gevent.sleep)
        header = {"message_id": b"1", "v": 3, "response_to": b"channel"}
        mallory.event(header, "_zpc_hb", [0])
        mallory.event(header, "OK", [{"text": "forged"}])
        mallory.call(b"channel", "keep", text="mallory")  # the same id, on a connection of her own
        until(lambda: len(house.kept) == 2, sleep=gevent.sleep)
        house.kept[0].ok({"text": "for alice"})
        house.kept[1].ok({"text": "for mallory"})
        assert alice.receive()[2] == [{"text": "for alice"}]
        assert mallory.receive()[2] == [{"text": "for mallory"}]
        assert not alice.socket.poll(0)


def test_it_knows_a_peer_by_its_key_whatever_routing_id_it_chooses(house):
    """A routing id that starts with NUL looks like one that the server gave out."""
    with bare_peer_of(house) as alice:
        alice.call(b"1", "keep")
        until(lambda: house.kept, sleep=gevent.sleep)
        routing_id = house.kept[0].caller.peer
    assert routing_id.startswith(b"\0")
    keys = make_keys()
    with bare_peer_of(house, keys, routing_id) as mallory:
        mallory.call(b"2", "echo")
        _, name, args = mallory.receive()
    assert (name, args[0]) == ("ERR", "forbidden")


def test_it_keeps_answering_a_peer_that_reads_nothing(house):
    with bare_peer_of(house) as mallory:
        for n in range(20_000):
            mallory.call(b"%d" % n, "echo", text="x" * 1000)
        assert house.answers_others()


# ---- memory


def bombs() -> dict[str, bytes]:
    head = b"\x93\x82\xaamessage_id\xc4\x011\xa1v\x03"
    filling = MAX_MESSAGE_BYTES - 100
    many = b"\xdd" + filling.to_bytes(4, "big") + EMPTY_ARRAY * filling
    return {
        "as the message": many,
        "as the header": b"\x93" + many + b"\xa4echo\x90",
        "in the header": b"\x93\x83\xaamessage_id\xc4\x011\xa1v\x03\xa1x" + many + b"\xa4echo\x90",
        "as the arguments": head + b"\xa4echo" + many,
        "as the argument": head + b"\xa4echo\x91" + many,
        "in the argument": head + b"\xa4echo\x91\x81\xa8anything" + many,
        "in an unknown key": head + b"\xa4echo\x91\x81\xa5other" + many,
        "as a payload": head + b"\xa7sendmsg\x91\x82\xa4type\xa8register\xa7payload" + many,
    }


@pytest.mark.parametrize("where", bombs())
@pytest.mark.parametrize("role", ["agent", "stranger"])
def test_it_stays_small_when_millions_of_empty_arrays_come(house, where, role):
    bomb = bombs()[where]
    assert len(bomb) <= MAX_MESSAGE_BYTES
    with client_of(house) as alice:
        with bare_peer_of(house, house.enrol(role)) as mallory:
            alice.call("echo", {}, Word)
            gc.collect()
            before = resident_bytes()
            for _ in range(3):
                mallory.send(b"", bomb)
            dropped = house.server.dropped
            answered = bombs_dealt_with(mallory, lambda: sum(dropped.values()))
            until(lambda: answered() >= 3, sleep=gevent.sleep)
        assert resident_bytes() - before < 12 * MAX_MESSAGE_BYTES
        assert alice.call("echo", {"number": 1}, Word).number == 1


def bombs_dealt_with(mallory: Bare, dropped: Callable[[], int]) -> Callable[[], int]:
    answers: list[Any] = []

    def number() -> int:
        while mallory.socket.poll(0):
            answers.append(mallory.socket.recv_multipart())
        return len(answers) + dropped()

    return number


def test_it_cuts_off_who_sends_more_than_a_message_may_have(house):
    with bare_peer_of(house) as mallory, client_of(house) as alice:
        mallory.call(b"1", "echo")
        mallory.receive()
        watch = mallory.socket.get_monitor_socket(zmq.Event.DISCONNECTED)
        mallory.send(b"", b"\0" * (MAX_MESSAGE_BYTES + 1))
        until(lambda: watch.poll(0), sleep=gevent.sleep)
        mallory.socket.disable_monitor()
        watch.close()
        assert alice.call("echo", {"number": 1}, Word).number == 1
    assert not house.seen


def test_it_says_that_it_drops_but_not_for_every_message(house, caplog):
    with bare_peer_of(house) as mallory:
        for _ in range(500):
            mallory.send(b"nonsense")
        settle(mallory)
    lines = [record for record in caplog.records if "dropped messages" in record.getMessage()]
    assert sum(house.server.dropped.values()) == 500
    assert len(lines) == 1
