"""The client fails truthfully, leaves nothing behind to be run later, and comes back by itself."""

import errno
import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import msgspec
import pytest
import zerorpc
import zmq
from msgspec import Struct

from tests.support import free_port, until
from tests.wire_peers import House, Word, client_of, house_of
from wire.client import Client, Trouble
from wire.errors import Internal, NotFound, Unavailable
from wire.keys import make_keys
from wire.states import RunState


@pytest.fixture
def house() -> Iterator[House]:
    with house_of() as house:
        yield house


class Tagged(Struct):
    text: RunState
    number: float


def test_it_returns_records_and_keeps_bytes(house):
    with client_of(house) as client:
        word = Word(text="a", blob=bytes(range(256)), anything={"b": [b"\xff", 1.5, None]})
        assert client.call("echo", word, Word) == word
        assert client.call("echo", {"text": "FAILED", "number": 2}, Tagged) == Tagged(
            RunState.FAILED, 2.0
        )


def test_it_raises_the_refusal_that_the_master_sent(house):
    with client_of(house) as client, pytest.raises(NotFound, match="no run abc") as caught:
        client.call("missing", {}, dict)
    assert (caught.value.field, caught.value.details) == ("run", {"id": "abc"})


def test_it_says_when_an_answer_has_another_form(house):
    with client_of(house) as client, pytest.raises(Internal, match="echo has another form"):
        client.call("echo", {"text": "NOT A STATE"}, Tagged)


def test_it_serves_many_greenlets_at_once(house):
    with client_of(house) as client:
        calls = [gevent.spawn(client.call, "echo", {"number": n}, Word) for n in range(100)]
        gevent.joinall(calls, timeout=60)
        assert [call.value.number for call in calls] == list(range(100))


def test_it_gives_a_call_up_in_time_and_goes_on_with_the_others(house):
    with client_of(house) as client:
        parked = gevent.spawn(client.call, "keep", {"text": "patient"}, dict)
        until(lambda: house.seen == ["patient"], sleep=gevent.sleep)
        with pytest.raises(Unavailable, match=r"no answer to keep .* within 0.2 s"):
            client.call("keep", {"text": "hasty"}, dict, timeout_s=0.2)
        assert client.call("echo", {"number": 1}, Word).number == 1
        for call in house.kept:
            call.ok({"number": 2})
        assert parked.get(timeout=60) == {"number": 2}


def test_it_leaves_the_time_limits_of_its_caller_alone(house):
    with client_of(house) as client:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
            client.call("keep", {}, dict)
        assert client.call("echo", {"number": 1}, Word).number == 1


def test_it_keeps_no_connection_that_nobody_uses(house):
    with client_of(house) as client:
        for _ in range(3):
            with pytest.raises(Unavailable):
                client.call("keep", {}, dict, timeout_s=0.1)
            client.call("echo", {}, Word)
        assert not client._retired


def test_it_leaves_no_greenlets_behind_when_calls_are_given_up(house):
    with client_of(house) as client:
        client.call("echo", {}, Word)
        before = greenlets()
        for _ in range(10):
            with pytest.raises(Unavailable):
                client.call("keep", {}, dict, timeout_s=0.02)
        client.call("echo", {}, Word)
        until(lambda: greenlets() <= before, sleep=gevent.sleep)


def greenlets() -> int:
    gc.collect()
    return sum(isinstance(each, gevent.Greenlet) for each in gc.get_objects())


def test_it_says_that_nothing_answers():
    troubles: list[tuple[Trouble, str]] = []
    client = Client(
        f"tcp://127.0.0.1:{free_port()}",
        make_keys().public,
        make_keys(),
        on_trouble=lambda *trouble: troubles.append(trouble),
    )
    try:
        with pytest.raises(Unavailable, match=r"cannot be reached.*echo was not sent"):
            client.call("echo", {}, Word, timeout_s=2.0)
    finally:
        client.close()
    assert [trouble for trouble, _ in troubles] == [Trouble.UNREACHABLE]
    assert "127.0.0.1" in troubles[0][1]


def test_it_tells_a_wrong_master_key_from_an_outage(house):
    troubles: list[Trouble] = []
    with client_of(house, server_key=make_keys().public, troubles=troubles) as client:
        with pytest.raises(Unavailable, match=r"its key is not the one.*echo was not sent"):
            client.call("echo", {}, Word, timeout_s=1.0)
        assert troubles == [Trouble.WRONG_MASTER_KEY]
        assert client._failures < 10  # it backs off, where libzmq would not


def test_it_says_that_it_was_refused(house, monkeypatch):
    refusal = [b"400", b"no", b"", b""]
    monkeypatch.setattr("wire.zap.answer", lambda request: [*request[:2], *refusal])
    troubles: list[Trouble] = []
    with client_of(house, troubles=troubles) as client:
        with pytest.raises(Unavailable, match=r"refuses this key"):
            client.call("echo", {}, Word, timeout_s=2.0)
        assert troubles == [Trouble.REFUSED]
        monkeypatch.undo()
        client.call("echo", {}, Word)
        assert troubles == [Trouble.REFUSED, Trouble.RECOVERED]


def test_it_tells_a_server_that_stands_still_from_one_with_another_key(monkeypatch):
    monkeypatch.setattr("wire.line.HANDSHAKE_MS", 200)
    troubles: list[Trouble] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = Client(
            f"tcp://127.0.0.1:{port}",
            make_keys().public,
            make_keys(),
            on_trouble=lambda trouble, sentence: troubles.append(trouble),
        )
        try:
            with pytest.raises(Unavailable, match="does not answer"):
                client.call("echo", {}, Word, timeout_s=3.0)
        finally:
            client.close()
    assert troubles == [Trouble.UNREACHABLE]


def test_it_comes_back_by_itself_when_the_master_does():
    port, keys, agent = free_port(), make_keys(), make_keys()
    troubles: list[Trouble] = []
    with house_of(keys, port) as first:
        first.roles[agent.public] = ("agent", "web01")
        with client_of(first, agent, troubles=troubles) as client:
            client.call("echo", {}, Word)
            parked = gevent.spawn(client.call, "keep", {}, dict, timeout_s=60)
            until(lambda: first.kept, sleep=gevent.sleep)
            first.server.stop()
            with pytest.raises(Unavailable, match="lost before keep was answered"):
                parked.get(timeout=60)
            with pytest.raises(Unavailable, match="was not sent"):
                client.call("echo", {}, Word, timeout_s=0.5)
            with house_of(keys, port) as second:
                second.roles[agent.public] = ("agent", "web01")
                assert client.call("echo", {"number": 5}, Word).number == 5
            assert troubles == [Trouble.UNREACHABLE, Trouble.RECOVERED]


def test_it_tries_as_often_as_it_is_told_where_nothing_listens(monkeypatch):
    pauses_ms: list[int] = []

    def note(event: zmq.Event, value: int) -> None:
        if event == zmq.Event.CONNECT_RETRIED:
            pauses_ms.append(value)

    monkeypatch.setattr("wire.client.trouble_of", note)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    client = Client(endpoint, make_keys().public, make_keys(), retry_max_s=0.15)
    try:
        waiting = gevent.spawn(client.call, "echo", {}, Word, timeout_s=60)
        until(lambda: len(pauses_ms) >= 6, sleep=gevent.sleep)
        waiting.kill()
    finally:
        client.close()
    assert pauses_ms[0] == 100
    assert set(pauses_ms[2:]) == {pauses_ms[2]} and 100 < pauses_ms[2] <= 150


def test_it_connects_at_the_next_call_when_there_were_no_descriptors_for_it(house, monkeypatch):
    def lack(*_: object) -> None:
        raise zmq.ZMQError(errno.EMFILE)

    with client_of(house) as client:
        monkeypatch.setattr("wire.line.Monitor", lack)
        with pytest.raises(zmq.ZMQError):
            client.call("echo", {}, Word)
        monkeypatch.undo()
        assert client.call("echo", {"number": 3}, Word).number == 3


def test_it_leaves_nothing_to_be_run_after_its_caller_gave_up():
    port, keys, agent = free_port(), make_keys(), make_keys()
    with house_of(keys, port) as first, client_of(first, agent) as client:
        first.roles[agent.public] = ("agent", "web01")
        client.call("whoami", {"text": "first"}, dict)
        first.server.stop()
        for _ in range(5):
            with pytest.raises(Unavailable):
                client.call("whoami", {"text": "given up"}, dict, timeout_s=0.1)
        with house_of(keys, port) as second:
            second.roles[agent.public] = ("agent", "web01")
            client.call("whoami", {"text": "wanted"}, dict)
            client.call("whoami", {"text": "last"}, dict)
            assert second.seen == ["wanted", "last"]


def test_it_ends_its_calls_when_it_is_closed(house):
    with client_of(house) as client:
        parked = gevent.spawn(client.call, "keep", {}, dict)
        until(lambda: house.kept, sleep=gevent.sleep)
        client.close()
        with pytest.raises(Unavailable):
            parked.get(timeout=60)
        with pytest.raises(Unavailable, match="closed"):
            client.call("echo", {}, Word)


def test_it_can_be_closed_in_the_moment_in_which_a_call_was_given_up(house):
    """The end of the context waits, in libzmq, for each socket that is open."""

    def give_up() -> None:
        with client_of(house) as client, pytest.raises(Unavailable):
            client.call("keep", {}, dict, timeout_s=0.2)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=give_up, daemon=True)
    thread.start()
    until(lambda: not thread.is_alive(), sleep=gevent.sleep)


def test_it_lets_a_greenlet_be_killed_in_a_call(house):
    with client_of(house) as client:
        parked = gevent.spawn(client.call, "keep", {}, dict)
        until(lambda: house.kept, sleep=gevent.sleep)
        parked.kill(timeout=10)
        assert client.call("echo", {"number": 1}, Word).number == 1


def test_it_works_in_a_thread_with_a_hub_of_its_own(house):
    """The web process is not patched: one thread calls, while others do as they like."""
    said: list[object] = []

    def bridge() -> None:
        with client_of(house) as client:
            calls = [gevent.spawn(client.call, "echo", {"number": n}, Word) for n in range(20)]
            gevent.joinall(calls)
            said.extend(call.value.number for call in calls)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=bridge)
    thread.start()
    until(lambda: not thread.is_alive(), sleep=gevent.sleep)
    thread.join()
    assert said == list(range(20))


def test_it_calls_a_server_of_zerorpc_as_it_comes():
    keys = make_keys()
    context = zerorpc.Context()
    server = zerorpc.Server({"echo": lambda word: word}, context=context, heartbeat=None)
    server._events.setsockopt(zmq.CURVE_SERVER, 1)
    server._events.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    server.bind(endpoint)
    serving = gevent.spawn(server.run)
    client = Client(endpoint, keys.public, make_keys())
    try:
        word = Word(text="ä", blob=b"\xff\x00", anything=[1, {"b": None}])
        assert client.call("echo", word, Word) == word
        with pytest.raises(Internal, match="nope"):
            client.call("nope", {}, dict)
    finally:
        client.close()
        server.stop()
        serving.join(timeout=5)
        server.close()
        context.term()


@pytest.mark.parametrize(
    "garbage",
    [
        [b""],
        [b"", b"\xc1"],
        [b"", msgspec.msgpack.encode("not a message")],
        [b"", msgspec.msgpack.encode(({}, "OK", [{}]))],
        [b"", msgspec.msgpack.encode(({"response_to": [1]}, "OK", [{}]))],
        [b"", msgspec.msgpack.encode(({"response_to": b"another"}, "OK", [{}]))],
        [b"one", b"too", b"many", b"frames"],
    ],
)
def test_it_passes_over_what_is_no_answer(garbage):
    with peer_in_place_of_a_master() as (router, client):
        calling = gevent.spawn(client.call, "echo", {}, dict)
        caller, id = next_call(router)
        router.send_multipart([caller, *garbage])
        router.send_multipart([caller, b"", answer_to(id, "OK", [{"right": True}])])
        assert calling.get(timeout=60) == {"right": True}


@pytest.mark.parametrize("name, args", [("OK", []), ("OK", {}), ("ERR", ["alone"]), ("ERR", 7)])
def test_it_says_that_an_answer_is_not_zerorpcs(name, args):
    with peer_in_place_of_a_master() as (router, client):
        calling = gevent.spawn(client.call, "echo", {}, dict)
        caller, id = next_call(router)
        router.send_multipart([caller, b"", answer_to(id, name, args)])
        with pytest.raises(Internal, match="echo in a form that is not zerorpc's"):
            calling.get(timeout=60)


def test_it_waits_for_room_where_the_master_reads_nothing():
    with peer_in_place_of_a_master() as (router, client):
        word = Word(blob=bytes(1 << 20))
        calls = [gevent.spawn(client.call, "echo", word, dict) for _ in range(100)]
        gevent.sleep(0.2)  # more than any queue on the way takes
        for number in range(len(calls)):
            caller, id = next_call(router)
            router.send_multipart([caller, b"", answer_to(id, "OK", [{"number": number}])])
        gevent.joinall(calls, timeout=60)
        assert sorted(call.value["number"] for call in calls) == list(range(100))


@contextmanager
def peer_in_place_of_a_master() -> Iterator[tuple["zmq.Socket[bytes]", Client]]:
    keys = make_keys()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.curve_server = True
        router.curve_secretkey = keys.secret.encode()
        port = router.bind_to_random_port("tcp://127.0.0.1")
        client = Client(f"tcp://127.0.0.1:{port}", keys.public, make_keys())
        try:
            yield router, client
        finally:
            client.close()


def next_call(router: "zmq.Socket[bytes]") -> tuple[bytes, bytes]:
    """Who calls, and the id of the call."""
    until(lambda: router.poll(0), sleep=gevent.sleep)
    caller, _, body = router.recv_multipart()
    header, *_ = msgspec.msgpack.decode(body)
    return caller, header["message_id"]


def answer_to(id: bytes, name: str, args: object) -> bytes:
    return msgspec.msgpack.encode(({"message_id": b"a", "v": 3, "response_to": id}, name, args))
