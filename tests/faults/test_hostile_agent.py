"""A stolen key harms its own host only: a real master serves the others, and tells it nothing."""

import gevent
import msgspec
import pytest
import zmq

from tests.fleet import Fleet
from tests.hostile import Mallory, connect
from tests.support import rss_bytes, until
from wire.client import Client
from wire.errors import Busy, Refusal
from wire.keys import make_keys, parse_join
from wire.messages import PROTOCOL, Register, Registered, Result, ResultAnswer
from wire.states import Cause, RunState

SEEDS = (1, 2, 3)
MESSAGES = 4_000
SECRET = "a word of another host"
GROWTH_BYTES = 200 << 20
HER_ID = "f" * 32


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("hostile"), ["web01"]) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def join(fleet):
    return parse_join(fleet.join_string("agent").strip())


@pytest.fixture(scope="module")
def keys():
    return make_keys()


@pytest.fixture
def client(join, keys):
    client = Client(join.endpoint, join.key, keys, timeout_s=20, on_trouble=lambda *_: None)
    yield client
    client.close()


def register(join):
    return Register(
        id=HER_ID,
        hostname="mallory",
        ip=["10.6.6.6"],
        instance="i",
        machine="m",
        slots=4,
        version="1.0",
        protocol=PROTOCOL,
        token=join.token,
    )


def in_session(client, join):
    """She registers; later ones may have to wait for what her flood has used up."""
    answers = []

    def registered():
        try:
            answers.append(client.send("register", register(join), Registered).session)
        except Busy:
            return False
        return True

    until(registered, 60, "a session", gevent.sleep)
    return answers[0]


def others_are_online(fleet):
    return all(agent["state"] == "online" for agent in fleet.api.agents() if agent["id"] != HER_ID)


@pytest.mark.parametrize("seed", SEEDS)
def test_others_are_served_while_she_sends_what_she_likes(fleet, join, keys, client, seed):
    master = fleet.master.pid
    before = rss_bytes(master)
    session = in_session(client, join)
    context = zmq.Context()
    socket = connect(context, join.endpoint, join.key, keys)
    heard = []
    try:
        for number, message in enumerate(Mallory(seed, session, HER_ID).messages()):
            if number == MESSAGES:
                break
            socket.send_multipart(message)
            while socket.poll(0):
                heard.append(socket.recv_multipart()[-1])
            if number % 1_000 == 500:
                task = fleet.api.submit(f"echo {SECRET}", "web01")
                assert fleet.api.finished(task)["state"] == "SUCCEED"
                assert fleet.api.output(task, fleet.api.run(task)["id"]) == f"{SECRET}\n".encode()
    finally:
        context.destroy(linger=0)
    assert fleet.master.running
    assert rss_bytes(master) - before < GROWTH_BYTES
    assert SECRET.encode() not in b"".join(heard)
    until(lambda: others_are_online(fleet), what="web01 to be heard")


def test_she_can_report_for_no_run_but_her_own(fleet, join, client):
    task = fleet.api.submit("sleep 60", "web01")
    until(lambda: fleet.api.run(task)["state"] == "RUNNING", 60, "a run")
    run = fleet.api.run(task)["id"]
    result = Result(
        session=in_session(client, join),
        hw=1,
        free=1,
        run=run,
        attempt=1,
        grant=1,
        state=RunState.SUCCEED,
        cause=Cause.EXIT,
        code=0,
        data=b"forged",
    )
    assert client.send("result", result, ResultAnswer).stray
    assert fleet.api.run(task)["state"] == "RUNNING"
    assert fleet.api.output(task, run) == b""
    fleet.api.cancel(task)
    assert fleet.api.finished(task)["state"] == "CANCELLED"


def test_she_can_call_nothing_of_the_web(join, client):
    for name in ("add_task", "get_tasks", "get_agents", "get_output", "get_audit", "log_in"):
        with pytest.raises(Refusal) as refused:
            client.call(name, {"auth": {}}, dict)
        assert refused.value.code == "forbidden"


def test_the_log_stays_short_whatever_she_sends(fleet):
    assert len(fleet.master.log) < 1 << 20
    assert msgspec.json.encode(fleet.master.log)  # and is text
