"""Does everything that a script writes arrive, byte by byte, and burden nobody else?"""

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet
from tests.support import until
from tests.witness import Witness

MakeFleet = Callable[..., Fleet]

MIB = 1 << 20
HEAD_BYTES, TAIL_BYTES = 8 * MIB, 2 * MIB


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def printed(content: bytes) -> bytes:
    """A script that writes exactly this."""
    if not content:
        return b":"
    octal = "".join(f"\\{byte:03o}" for byte in content)
    return b"".join(
        f"printf '{octal[at : at + 4000]}'\n".encode() for at in range(0, len(octal), 4000)
    )


def submit_bytes(api: Api, script: bytes, targets: str = "web01", **fields: Any) -> str:
    body = {"script_base64": base64.b64encode(script).decode(), "targets": targets, **fields}
    answer = api.call("POST", "/api/v1/tasks", body)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def read_range(api: Api, task: str, run: str, header: str) -> tuple[int, bytes, str | None]:
    path = f"/api/v1/tasks/{task}/runs/{run}/output"
    answer = api.call("GET", path, headers={"Range": header})
    return answer.status, answer.body, answer.headers.get("content-range")


# ---- byte by byte


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"no last newline",
        b"\r\nfirst\r\nsecond\rthird\r\n",
        b"\xff\xfe\x80 no UTF-8 \xc3\x28 \xed\xa0\x80",
        b"<script>alert(1)</script>\x1b[31m\n",
        bytes(range(256)) * 40,
    ],
    ids=["nothing", "NUL", "no newline", "CRLF", "invalid UTF-8", "markup", "all bytes"],
)
def test_it_keeps_every_byte(api: Api, content: bytes):
    task = submit_bytes(api, printed(content))

    assert api.finished(task)["state"] == "SUCCEED"
    run = api.run(task)
    assert api.output(task, run["id"]) == content
    assert run["output_bytes"] == run["output_stored"] == len(content)
    assert run["output_sha256"] == hashlib.sha256(content).hexdigest()
    assert run["output_gap"] is None


def test_a_script_may_be_any_bytes(api: Api):
    task = submit_bytes(api, b"printf %s '\xff\xfe\r'; echo \xc3\xa4")

    api.finished(task)
    assert api.output(task, api.run(task)["id"]) == b"\xff\xfe\r\xc3\xa4\n"


def test_it_serves_ranges(api: Api):
    content = bytes(range(256)) * 8000
    task = submit_bytes(api, b"for n in $(seq 8000); do\n" + printed(bytes(range(256))) + b"done")
    api.finished(task)
    run = api.run(task)["id"]
    until(lambda: api.run(task)["output_stored"] == len(content), what="all output")

    size = len(content)
    assert read_range(api, task, run, "bytes=0-0") == (206, b"\0", f"bytes 0-0/{size}")
    for first, last in [(5, 300), (MIB - 3, MIB + 3), (size - 1, size - 1), (100, size - 1)]:
        status, body, said = read_range(api, task, run, f"bytes={first}-{last}")
        assert (status, said) == (206, f"bytes {first}-{last}/{size}")
        assert body == content[first : last + 1]
    assert read_range(api, task, run, "bytes=-7")[1] == content[-7:]
    assert read_range(api, task, run, f"bytes={size - 2}-")[1] == content[-2:]
    assert read_range(api, task, run, f"bytes={size}-")[0] == 416


def test_it_keeps_stdout_and_stderr_in_their_order(api: Api):
    task = api.submit("for n in $(seq 200); do echo out $n; echo err $n >&2; done", "web01")

    api.finished(task)
    lines = api.output(task, api.run(task)["id"]).decode().splitlines()
    assert lines == [f"{where} {n}" for n in range(1, 201) for where in ("out", "err")]


def test_it_loses_nothing_when_a_script_opens_dev_stderr(api: Api):
    script = "echo before; echo x > /dev/stderr; echo y > /dev/stdout; echo after"
    task = api.submit(script, "web01")

    assert api.finished(task)["state"] == "SUCCEED"
    assert api.output(task, api.run(task)["id"]) == b"before\nx\ny\nafter\n"


# ---- while the script runs


def test_the_first_output_is_there_while_the_script_runs(api: Api, witness: Witness):
    task = api.submit(f"echo first\n{witness.wait()}\necho last", "web01")
    run = until(lambda: api.runs(task, state="RUNNING"), what="the start")[0]["id"]

    until(lambda: api.output(task, run) == b"first\n", what="the first output")
    assert api.run(task)["state"] == "RUNNING"
    assert api.run(task)["ended_at"] is None

    witness.open()
    api.finished(task)
    assert api.output(task, run) == b"first\nlast\n"


def test_one_byte_more_can_be_read_by_range_as_it_comes(api: Api, witness: Witness):
    script = "\n".join(f"printf {n}; {witness.wait(f'step{n}')}" for n in range(4))
    task = api.submit(script, "web01")
    run = until(lambda: api.runs(task, state="RUNNING"), what="the start")[0]["id"]

    def has_byte(n: int) -> bool:
        return read_range(api, task, run, f"bytes={n}-")[1] == b"%d" % n

    for n in range(4):
        until(partial(has_byte, n))
        witness.open(gate=f"step{n}")

    api.finished(task)
    assert api.output(task, run) == b"0123"


def test_a_service_that_is_left_running_may_go_on_writing(api: Api, witness: Witness):
    # Given a script that leaves a service behind, which holds its output
    service = f"{witness.say('up')}; {witness.wait('write')}; seq 100000; {witness.say('wrote')}; "
    service += f"echo more; {witness.wait('end')}; {witness.say('end')}"
    task = api.submit(f"( {service} ) &\n{witness.wait('started')}\necho started", "web01")
    witness.wait_for("up", 1)
    witness.open(gate="started")

    # Then the run ends with its script, and says that something was left
    assert api.finished(task)["state"] == "SUCCEED"
    run = api.run(task)
    assert (run["code"], run["killed"]) == (0, False)
    assert run["left_running"] in (1, 2)  # the service, and maybe the sleep it is at
    assert api.output(task, run["id"]) == b"started\n"

    # And what is left finds a reader for what it writes, though that is of no run any more
    witness.open(gate="write")
    witness.wait_for("wrote", 1)
    witness.open(gate="end")
    witness.wait_for("end", 1)
    assert api.run(task) == run
    assert api.output(task, run["id"]) == b"started\n"


# ---- too much of it


def flood(witness: Witness) -> str:
    """100 MiB, and then more for as long as the gate is closed; says how much at the end."""
    gate = f"{witness.folder}/go"
    return "\n".join(
        [
            witness.say("start"),
            f"n=0; while [ $n -lt 100 ] || [ ! -e {gate} ]; do",
            "head -c 1048576 /dev/zero | tr '\\0' x; n=$((n+1)); done",
            f"echo $n > {witness.folder}/written",
        ]
    )


def peak_bytes(pid: int) -> int:
    """The most memory a process has ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("no VmHWM")


def test_a_flood_of_output_burdens_nobody_else(make_fleet: MakeFleet, witness: Witness):
    # Given a run that writes 100 MB and does not end before we say so
    fleet = make_fleet(["web01", "web02"])
    api = fleet.api
    pids = {"master": fleet.master.pid, "web01": fleet.agents["web01"].pid}
    before = {name: peak_bytes(pid) for name, pid in pids.items()}
    task = api.submit(flood(witness), "web01", timeout=0)
    witness.wait_for("start", 1)

    # Then others on this host and on another one run to their ends meanwhile
    for number in range(10):
        other = api.submit(f"echo quick {number}", "web0[1-2]", parallel=0)
        assert api.finished(other)["state"] == "SUCCEED"
        for run in api.runs(other):
            assert api.output(other, run["id"]) == b"quick %d\n" % number
    assert api.run(task)["state"] == "RUNNING"

    # And of it are kept the first 8 MiB and the last 2, with length and sum of all
    witness.open()
    assert api.finished(task, 120)["state"] == "SUCCEED"
    total = int((witness.folder / "written").read_text()) * MIB
    assert total >= 100 * MIB
    run = until(lambda: _if_all_stored(api.run(task)), 60, "the stored output")
    assert run["output_bytes"] == total
    assert run["output_gap"] == [HEAD_BYTES, total - TAIL_BYTES]
    digest = hashlib.sha256()
    for _ in range(total // MIB):
        digest.update(b"x" * MIB)
    assert run["output_sha256"] == digest.hexdigest()
    missing = total - HEAD_BYTES - TAIL_BYTES
    marker = b"\n[mschedule: %d bytes not kept]\n" % missing
    assert api.output(task, run["id"]) == b"x" * HEAD_BYTES + marker + b"x" * TAIL_BYTES

    # And nobody had it all in memory
    for name, pid in pids.items():
        assert peak_bytes(pid) - before[name] < 48 * MIB, name


def _if_all_stored(run: dict[str, Any]) -> dict[str, Any] | None:
    return run if run["output_stored"] == HEAD_BYTES + TAIL_BYTES else None


@pytest.mark.parametrize("extra", [0, 1])
def test_the_gap_begins_with_the_first_byte_too_many(api: Api, extra: int):
    size = HEAD_BYTES + TAIL_BYTES + extra
    task = api.submit(f"head -c {size} /dev/zero | tr '\\0' y", "web01")

    api.finished(task, 60)
    run = until(lambda: _if_all_stored(api.run(task)), 60, "the stored output")
    assert run["output_bytes"] == size
    assert run["output_gap"] == ([HEAD_BYTES, HEAD_BYTES + 1] if extra else None)
    marker = b"\n[mschedule: 1 bytes not kept]\n" if extra else b""
    assert api.output(task, run["id"]) == b"y" * HEAD_BYTES + marker + b"y" * TAIL_BYTES
