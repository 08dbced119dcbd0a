"""What does a call cost the server? Small calls over CURVE, from another process.

`us_per_call` is the server process's CPU time a call, encryption included. The load is
written straight to DEALER sockets, so that it can keep up; the stock zerorpc client is
then measured by itself, both its own CPU and the round trip.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import gevent
import zmq
from msgspec import Struct, msgpack

from wire import frames
from wire.client import Client
from wire.keys import KeyPair, make_keys
from wire.server import Call, Method, Server

WINDOW = 32  # calls under way on each connection


class Ping(Struct):
    """A small argument, and its answer."""

    session: str
    hw: int
    free: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=40_000, help="calls of the load (%(default)s)")
    parser.add_argument("--connections", type=int, default=20, help="of the load (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures, as one flat object")
    options = parser.parse_args()
    figures = measure(options.calls, options.connections)
    print(
        f"{platform.python_version()}, {os.cpu_count()} cores, libzmq {zmq.zmq_version()}, CURVE,"
    )
    print(
        f"{options.calls} calls over {options.connections} connections, {WINDOW} under way on each"
    )
    for name, value in figures.items():
        print(f"{name:>24}  {value:,.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures) + "\n")


def measure(calls: int, connections: int) -> dict[str, float]:
    """Serve in this process, load from another."""
    keys = make_keys()
    server = Server(keys, {"ping": Method(frozenset({"agent"}), Ping, _pong)}, _everyone)
    port = server.bind("tcp://127.0.0.1:0")
    server.start()
    endpoint = f"tcp://127.0.0.1:{port}"
    wall_s, cpu_s, _ = _against(server, _raw_load, endpoint, keys.public, calls, connections)
    quick_calls = max(1, calls // 10)
    _, stock_cpu_s, stock = _against(server, _client_load, endpoint, keys.public, quick_calls, 1)
    server.stop()
    return {
        "calls_per_s": calls / wall_s,
        "us_per_call": cpu_s / calls * 1e6,
        "us_per_call_one_at_a_time": stock_cpu_s / quick_calls * 1e6,
        "client_us_per_call": stock["cpu_s"] / quick_calls * 1e6,
        "client_p50_ms": stock["p50_s"] * 1e3,
    }


def _everyone(key: str) -> tuple[str, str]:
    return "agent", key[:8]


def _pong(call: Call, ping: Ping) -> Ping:
    return ping


Load = Callable[[str, str, int, int, Callable[[], None]], dict[str, float]]


def _against(
    server: Server, load: Load, endpoint: str, key: str, calls: int, connections: int
) -> tuple[float, float, dict[str, float]]:
    """Wall and own CPU seconds from the load's first call to its last, and what it says."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(
        target=_run_load, args=(there, load, (endpoint, key, calls, connections))
    )
    process.start()
    _await(here)  # connected
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    here.send("go")
    said = _await(here)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    process.join()
    return wall_s, cpu_s, said


def _await(pipe: Connection) -> dict[str, float]:
    """The next message of the pipe, while the hub serves."""
    gevent.get_hub().wait(gevent.get_hub().loop.io(pipe.fileno(), 1))
    said: dict[str, float] = pipe.recv()
    return said


def _run_load(pipe: Connection, load: Load, args: tuple[str, str, int, int]) -> None:
    """In the load's process: say when connected, wait for the word, say how it went."""

    def ready() -> None:
        pipe.send({})
        pipe.recv()

    pipe.send(load(*args, ready))


def _raw_load(
    endpoint: str, key: str, calls: int, connections: int, ready: Callable[[], None]
) -> dict[str, float]:
    """Keep a window of calls under way on each connection."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    poller = zmq.Poller()
    unsent: dict[zmq.Socket[bytes], int] = {}
    for _ in range(connections):
        socket = _dealer(context, make_keys(), key, endpoint)
        socket.send_multipart(_request(0))
        socket.recv_multipart()
        poller.register(socket, zmq.POLLIN)
        unsent[socket] = calls // connections
    ready()
    for socket in unsent:
        _send(socket, unsent, WINDOW)
    answered = 0
    while answered < calls // connections * connections:
        for socket, _ in poller.poll():
            answers = _drain(socket)
            _send(socket, unsent, answers)
            answered += answers
    context.destroy(linger=0)
    return {}


def _send(socket: "zmq.Socket[bytes]", unsent: dict["zmq.Socket[bytes]", int], most: int) -> None:
    for _ in range(min(most, unsent[socket])):
        socket.send_multipart(_request(unsent[socket]))
        unsent[socket] -= 1


def _drain(socket: "zmq.Socket[bytes]") -> int:
    """Take the answers that are there; how many."""
    answers = 0
    while int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        event = frames.decode(socket.recv_multipart()[1])
        assert event.name == frames.OK, event.name
        answers += 1
    return answers


def _dealer(
    context: "zmq.Context[zmq.Socket[bytes]]", keys: KeyPair, server_key: str, endpoint: str
) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.DEALER)
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()
    socket.curve_serverkey = server_key.encode()
    socket.connect(endpoint)
    return socket


def _request(number: int) -> tuple[bytes, bytes]:
    header = {"message_id": b"%012d" % number, "v": 3}
    return b"", msgpack.encode((header, "ping", (Ping("a-session-of-32-characters", number, 4),)))


def _client_load(
    endpoint: str, key: str, calls: int, connections: int, ready: Callable[[], None]
) -> dict[str, float]:
    """One call after another through the client that agents use."""
    client = Client(endpoint, key, make_keys())
    ping = Ping("a-session-of-32-characters", 1, 4)
    client.call("ping", ping, Ping)
    ready()
    took_s = []
    cpu_s = time.process_time()
    for _ in range(calls):
        begun = time.perf_counter()
        client.call("ping", ping, Ping)
        took_s.append(time.perf_counter() - begun)
    cpu_s = time.process_time() - cpu_s
    client.close()
    return {"cpu_s": cpu_s, "p50_s": statistics.median(took_s)}


if __name__ == "__main__":
    main()
