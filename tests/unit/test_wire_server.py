"""The server speaks zerorpc to anyone, and does for a key only what its role may."""

import logging
from collections.abc import Iterator

import gevent
import pytest
import zerorpc

from tests.support import until
from tests.wire_peers import (
    AGENT,
    House,
    Word,
    bare_peer_of,
    client_of,
    house_of,
    stock_client_of,
)
from wire.errors import Busy, Forbidden, Internal, Malformed, NotFound, TooLarge
from wire.keys import make_keys
from wire.probe import probe
from wire.server import LIMITS, STRANGER, Method, Server


@pytest.fixture
def house() -> Iterator[House]:
    with house_of() as house:
        yield house


def refused(client, method: str, *args: object) -> zerorpc.RemoteError:
    with pytest.raises(zerorpc.RemoteError) as caught:
        client(method, *args)
    return caught.value


# ---- a stock zerorpc client


def test_it_answers_a_stock_client(house):
    with stock_client_of(house) as client:
        answer = client.echo({"text": "grüße", "number": 3, "blob": b"\0\xff"})
        assert answer == {"text": "grüße", "number": 3, "blob": b"\0\xff", "anything": None}
        assert client.nothing({}) is None


def test_it_answers_many_calls_of_a_stock_client_at_once(house):
    with stock_client_of(house) as client:
        calls = [gevent.spawn(client.echo, {"number": n}) for n in range(200)]
        gevent.joinall(calls, timeout=60)
        assert [call.value["number"] for call in calls] == list(range(200))


def test_it_sends_a_refusal_with_its_field_and_no_traceback(house):
    with stock_client_of(house) as client:
        error = refused(client, "missing", {})
    assert (error.name, error.msg) == ("not_found", "there is no run abc")
    assert error.traceback == '{"field":"run","details":{"id":"abc"}}'


def test_it_hides_what_broke_behind_a_reference(house, caplog):
    with stock_client_of(house) as client:
        error = refused(client, "broken", {})
    assert error.name == "internal"
    assert "secret" not in error.msg + error.traceback
    reference = error.msg.rpartition(" ")[2]
    record = next(record for record in caplog.records if reference in record.getMessage())
    assert record.levelno == logging.ERROR
    assert "a secret of the inside" in caplog.text


def test_it_answers_when_a_handler_returns_what_cannot_be_sent(house, caplog):
    with stock_client_of(house) as client:
        assert refused(client, "unsendable", {}).name == "internal"
        assert client.echo({"number": 1})["number"] == 1
    assert "unsendable" in caplog.text


@pytest.mark.parametrize("name", ["nope", "", "stop", "__init__", "_zerorpc_list"])
def test_it_forbids_every_name_that_is_not_in_its_table(house, name):
    with stock_client_of(house) as client:
        assert refused(client, name, {}).name == "forbidden"
        assert refused(client, name).name == "forbidden"


@pytest.mark.parametrize("args", [(), ({}, {}), ("text",), (None,), ({"number": "x"},)])
def test_it_says_how_arguments_do_not_fit(house, args):
    with stock_client_of(house) as client:
        error = refused(client, "echo", *args)
    assert error.name == "malformed"
    assert error.msg.startswith("echo: Expected")


def test_it_ignores_keys_that_it_does_not_know(house):
    with stock_client_of(house) as client:
        assert client.echo({"number": 1, "newer": [1, {}]})["number"] == 1


def test_it_answers_heartbeats_of_a_parked_call(house):
    """A stock client gives its remote up after two heartbeats without an answer."""
    with stock_client_of(house, heartbeat=2) as client:
        parked = gevent.spawn(client.keep, {})
        until(lambda: house.kept, sleep=gevent.sleep)
        assert not parked.ready()
        gevent.spawn_later(5, house.kept[0].ok, {"late": True})
        assert parked.get(timeout=60) == {"late": True}


def test_it_lets_a_client_without_answered_heartbeats_lose_its_remote(house):
    """The control of the test above: without answers the call would not survive."""
    house.server._follow_up = lambda *args: None
    with stock_client_of(house, heartbeat=1) as client, pytest.raises(zerorpc.LostRemote):
        client.keep({})


# ---- who may do what


def test_it_lets_a_stranger_register_and_nothing_else(house):
    with client_of(house, make_keys()) as client:
        said = client.send("register", {}, dict)
        assert said == {
            "role": STRANGER,
            "id": "",
            "method": "sendmsg(register)",
            "address": "127.0.0.1",
        }
        with pytest.raises(Forbidden):
            client.send("heartbeat", {}, dict)
        with pytest.raises(Forbidden):
            client.call("echo", {}, Word)


def test_it_checks_the_role_before_it_decodes_the_payload(house):
    with client_of(house, make_keys()) as client, pytest.raises(Forbidden):
        client.call("echo", {"number": "not a number"}, Word)


def test_it_knows_the_caller_by_key_and_not_by_what_it_says(house):
    alice, bob = house.enrol(id="alice"), house.enrol("web", id="bob")
    with client_of(house, alice) as first, client_of(house, bob) as second:
        for client, id in ((first, "alice"), (second, "bob")) * 3:
            assert client.call("whoami", {"id": "mallory"}, dict)["id"] == id


def test_it_keeps_methods_of_one_role_from_another(house):
    with client_of(house, house.enrol("web")) as client:
        assert client.call("whoami", {}, dict)["role"] == "web"
        with pytest.raises(Forbidden, match="web may not call 'keep'"):
            client.call("keep", {}, dict)


def test_it_revokes_a_key_on_the_next_call_of_an_open_connection(house):
    keys = house.enrol()
    with client_of(house, keys) as client:
        client.call("echo", {}, Word)
        del house.roles[keys.public]
        with pytest.raises(Forbidden, match="stranger"):
            client.call("echo", {}, Word)
        house.roles[keys.public] = ("agent", "web01")
        client.call("echo", {}, Word)


def test_it_refuses_a_message_type_that_it_does_not_know(house):
    with client_of(house) as client:
        with pytest.raises(Forbidden):
            client.send("nope", {}, dict)
        with pytest.raises(Malformed):
            client.call("sendmsg", {"payload": {}}, dict)
        with pytest.raises(Malformed, match=r"sendmsg\(heartbeat\)"):
            client.send("heartbeat", {"number": "x"}, dict)


def test_it_is_seen_by_a_probe_to_be_locked_but_for_registering(house):
    open_to_strangers = probe(house.endpoint, house.keys.public, house.server.names)
    assert open_to_strangers == {"sendmsg(register)"}
    assert len(house.server.names) == 9


def test_it_is_seen_by_a_probe_to_be_open_where_it_is():
    class Careless(House):
        def methods(self):
            return {"wipe": Method(AGENT | {STRANGER}, Word, lambda call, word: {})}

    house = Careless()
    try:
        assert probe(house.endpoint, house.keys.public, house.server.names) == {"wipe"}
    finally:
        house.server.stop()


# ---- answering later


def test_it_sends_exactly_one_answer(house):
    with client_of(house) as client:
        parked = gevent.spawn(client.call, "keep", {}, dict)
        until(lambda: house.kept, sleep=gevent.sleep)
        (call,) = house.kept
        assert not call.answered
        call.ok({"number": 1})
        assert call.answered
        call.ok({"number": 2})
        call.fail(NotFound())
        assert parked.get(timeout=60) == {"number": 1}
        assert client.call("echo", {"number": 3}, Word).number == 3
    assert house.server.in_flight == 0


def test_it_can_refuse_later(house):
    with client_of(house) as client:
        parked = gevent.spawn(client.call, "keep", {}, dict)
        until(lambda: house.kept, sleep=gevent.sleep)
        house.kept[0].fail(NotFound("gone", field="run"))
        with pytest.raises(NotFound, match="gone"):
            parked.get(timeout=60)


def test_it_drops_an_answer_for_a_peer_that_is_gone(house):
    with bare_peer_of(house) as peer:
        peer.call(b"1", "keep")
        until(lambda: house.kept, sleep=gevent.sleep)
    house.kept[0].ok({"number": 1})
    assert house.kept[0].answered
    assert house.server.in_flight == 0
    assert house.answers_others()


def test_it_ignores_answers_after_it_stopped(house):
    with bare_peer_of(house) as peer:
        peer.call(b"1", "keep")
        until(lambda: house.kept, sleep=gevent.sleep)
        house.server.stop()
        house.kept[0].ok({})
        house.server.stop()


# ---- limits


def test_it_bounds_the_calls_of_a_key_and_serves_others(house):
    keys = house.enrol()
    with client_of(house, keys) as client, client_of(house, keys) as second:
        most = LIMITS["agent"].calls
        parked = [gevent.spawn(client.call, "keep", {}, dict) for _ in range(most)]
        until(lambda: len(house.kept) == most, sleep=gevent.sleep)
        with pytest.raises(Busy, match=f"{most} calls"):
            second.call("echo", {}, Word)
        assert house.answers_others()
        for call in house.kept:
            call.ok({})
        gevent.joinall(parked, timeout=60)
        assert second.call("echo", {"number": 1}, Word).number == 1
    assert house.server.in_flight == 0


def test_it_bounds_the_bytes_of_a_call_by_role(house):
    big = {"text": "x" * LIMITS[STRANGER].args_bytes}
    with client_of(house) as client:
        assert client.call("echo", big, Word).text == big["text"]
        with pytest.raises(TooLarge):
            client.call("echo", {"text": "x" * LIMITS["agent"].args_bytes}, Word)
    with client_of(house, make_keys()) as client, pytest.raises(TooLarge):
        client.send("register", big, dict)


# ---- listening


def test_it_says_which_address_is_taken(house):
    other = Server(make_keys(), {}, house.role_of)
    try:
        with pytest.raises(OSError, match=f"cannot listen on .*:{house.port}: Address"):
            other.bind(house.endpoint)
    finally:
        other.stop()


def test_it_listens_on_ipv6_too():
    server = Server(make_keys(), {}, lambda key: (STRANGER, ""))
    try:
        assert server.bind("tcp://[::1]:0") > 0
    finally:
        server.stop()


def test_it_answers_internal_when_the_role_cannot_be_looked_up(house, caplog):
    def broken(key: str) -> tuple[str, str]:
        raise KeyError(key)

    with client_of(house) as client:
        house.server._role_of = broken
        with pytest.raises(Internal):
            client.call("echo", {}, Word)
