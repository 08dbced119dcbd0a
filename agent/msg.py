"""What does this agent say? Every message that it sends is built here, from facts and journal."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.decide import Verdict
from agent.executor import OutputChunk
from agent.identity import Host, Identity
from agent.records import DoneRecord, Entry
from utils import VERSION
from wire.messages import PROTOCOL, Done, Heartbeat, Held, Output, Poll, Register, Result


@dataclass(frozen=True)
class Snapshot:
    """The journal at one moment, as a poll tells it."""

    hw: int
    free: int
    held: tuple[Held, ...]


class Message:
    """Builds messages; holds what is the same in all of them."""

    def __init__(
        self,
        identity: Identity,
        host: Host,
        journal: str,
        hostname: str,
        slots: int,
        queues: Sequence[str] = (),
    ) -> None:
        """`journal` is the identity of the journal; `hostname` what is to be shown."""
        self.id = identity.id
        self.instance = host.instance(journal)
        self._machine = host.machine
        self._hostname = hostname
        self._slots = slots
        self._queues = list(queues)
        self._facts = facts()
        self._nonce = os.urandom(8).hex()  # of this process
        self.ip: list[str] = []

    def register(self, token: str | None) -> Register:
        return Register(
            id=self.id,
            hostname=self._hostname,
            ip=self.ip,
            instance=self.instance,
            machine=self._machine,
            slots=self._slots,
            version=VERSION,
            protocol=PROTOCOL,
            facts=self._facts,
            token=token,
            nonce=self._nonce,
            queues=self._queues,
        )

    def heartbeat(self, session: str, busy: int) -> Heartbeat:
        return Heartbeat(session, self.id, self._hostname, self.ip, busy, time.time())

    def poll(self, session: str, snapshot: Snapshot) -> Poll:
        return Poll(session, self.instance, snapshot.hw, snapshot.free, list(snapshot.held))

    def output(self, session: str, entry: Entry, chunk: OutputChunk) -> Output:
        return Output(session, entry.run, entry.attempt, chunk.offset, chunk.data, chunk.gap_from)

    def result(
        self, session: str, entry: Entry, verdict: Verdict, snapshot: Snapshot, last: OutputChunk
    ) -> Result:
        """`last` is the end of the output if it fits, else empty, at the offset sent so far."""
        result = Result(
            session=session,
            hw=snapshot.hw,
            free=snapshot.free,
            run=entry.run,
            attempt=entry.attempt,
            grant=entry.grant,
            state=verdict.state,
            cause=verdict.cause,
            code=None,
            reason=verdict.reason,
            offset=last.offset,
            data=last.data,
            failed_items=list(verdict.failed_items),
        )
        if (exit := verdict.exit) is not None:
            result.code = exit.code
            result.started_at, result.ended_at = exit.started_at, exit.ended_at
            result.killed, result.survivors = exit.killed, exit.survivors
            result.left_running = exit.left_running
            result.output_bytes, result.output_sha256 = exit.output_bytes, exit.output_sha256
            result.output_gap = exit.output_gap
        return result

    def done(
        self,
        session: str,
        hw: int,
        floor: int,
        records: Sequence[DoneRecord],
        asked: Sequence[str] | None,
    ) -> Done:
        return Done(session, hw, floor, list(records), None if asked is None else list(asked))


def facts() -> dict[str, Any]:
    """What this host says of itself. Cheap reads only; a fact that can't be had is left out."""
    system = os.uname()
    found: dict[str, Any] = {
        "os": _pretty_name(),
        "kernel": system.release,
        "arch": system.machine,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    return {name: value for name, value in found.items() if value is not None}


def _pretty_name() -> str | None:
    """The distribution, as os-release(5) words it for people."""
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition("=")
            if name == "PRETTY_NAME":
                return value.strip("\"'")
    return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
