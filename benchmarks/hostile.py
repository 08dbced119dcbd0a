"""What can a stolen agent key do to the others? A real master, beside it a peer that sends at will.

One enrolled key floods the master over several connections, from a process of its own, with
messages that are random, malformed, too large, repeated and too many, and reads no answer in
half of them. Meanwhile another agent's messages are timed, each of which waits for a commit.

python benchmarks/hostile.py --seconds 20 --json out.json
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gevent
import zmq

from benchmarks.common import Value, conditions, parser, report, workplace
from tests.fleet import Fleet
from tests.hostile import CONNECTIONS, Mallory, connect
from tests.support import cpu_s, rss_bytes
from wire.client import Client
from wire.keys import Join, KeyPair, make_keys, parse_join
from wire.messages import PROTOCOL, Output, OutputAnswer, Register, Registered

PAUSE_S = 0.02  # between two messages of the agent that is timed


def main() -> None:
    options = _options()
    if options.attack is not None:
        endpoint, server_key, public, secret, session = options.attack
        _attack(endpoint, server_key, KeyPair(public, secret), session, options.seconds)
        return
    around = conditions(options.dir)
    with workplace(options.dir) as folder, Fleet(folder, []) as fleet:
        report(_measure(fleet, options.seconds), around, options.json)


def _measure(fleet: Fleet, seconds: float) -> dict[str, Value]:
    join = parse_join(fleet.join_string("agent").strip())
    alice, mallory = make_keys(), make_keys()
    session = _register(join, mallory, "mallory", "f" * 32)
    client = _client(join, alice)
    mine = _registered(client, join, "alice", "a" * 32)
    master = fleet.master.pid
    found: dict[str, Value] = {}
    found["alone_p50_ms"] = round(statistics.median(_answers_ms(client, mine, 3.0)), 2)
    before, peak = rss_bytes(master), 0
    cpu_before = cpu_s(master)
    attacker = subprocess.Popen(
        [sys.executable, __file__, "--seconds", str(seconds), "--attack"]
        + [join.endpoint, join.key, mallory.public, mallory.secret, session],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        answers: list[float] = []
        while attacker.poll() is None:
            answers += _answers_ms(client, mine, 0.5)
            peak = max(peak, rss_bytes(master))
    finally:
        attacker.kill()
    sent = int(attacker.communicate()[0].strip() or 0)
    answers.sort()
    found["sent_per_s"] = round(sent / seconds)
    found["master_cpu"] = round((cpu_s(master) - cpu_before) / seconds, 2)
    found["timed"] = len(answers)
    found["answer_p50_ms"] = round(statistics.median(answers), 2)
    found["answer_p99_ms"] = round(answers[len(answers) * 99 // 100], 2)
    found["rss_growth_mb"] = round((peak - before) / 1e6, 1)
    client.close()
    return found


def _answers_ms(client: Client, session: str, seconds: float) -> list[float]:
    until, times = time.monotonic() + seconds, []
    while time.monotonic() < until:
        began = time.perf_counter()
        client.send("output", Output(session, "no such run", 1, 0, b"hello\n"), OutputAnswer)
        times.append((time.perf_counter() - began) * 1000)
        gevent.sleep(PAUSE_S)
    return times


def _client(join: Join, keys: KeyPair) -> Client:
    return Client(join.endpoint, join.key, keys, timeout_s=30, on_trouble=lambda *_: None)


def _register(join: Join, keys: KeyPair, hostname: str, id: str) -> str:
    client = _client(join, keys)
    try:
        return _registered(client, join, hostname, id)
    finally:
        client.close()


def _registered(client: Client, join: Join, hostname: str, id: str) -> str:
    register = Register(
        id=id,
        hostname=hostname,
        ip=["10.0.0.1"],
        instance="i",
        machine=id,
        slots=4,
        version="1.0",
        protocol=PROTOCOL,
        token=join.token,
    )
    return client.send("register", register, Registered).session


def _attack(endpoint: str, server_key: str, keys: KeyPair, session: str, seconds: float) -> None:
    """Sends for so long; prints how many messages left."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = [connect(context, endpoint, server_key, keys) for _ in range(CONNECTIONS)]
    until, sent = time.monotonic() + seconds, 0
    for message in Mallory(1, session, "f" * 32).messages():
        if time.monotonic() > until:
            break
        socket = sockets[sent % CONNECTIONS]
        try:
            socket.send_multipart(message, zmq.DONTWAIT)
            sent += 1
        except zmq.Again:
            time.sleep(0.001)
        if sent % 2:
            while socket.poll(0):
                socket.recv_multipart()
    print(sent)
    context.destroy(linger=0)


def _options() -> argparse.Namespace:
    made = parser((__doc__ or "").split("\n")[0])
    made.add_argument("--seconds", type=float, default=20.0, help="how long the attack lasts")
    made.add_argument("--attack", nargs=5, help=argparse.SUPPRESS)
    return made.parse_args()


if __name__ == "__main__":
    main()
