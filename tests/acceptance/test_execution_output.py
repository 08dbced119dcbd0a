"""Is the output of a script kept as it was written, and how did it end?"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution_host import Host
from tests.support import alive, rss_bytes, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host")) as started:
        yield started


@pytest.mark.parametrize(
    "written",
    [b"", b"no last newline", b"a\r\nb\r\n", b"\0\x01\0", b"\xff\xfe\xc3(", bytes(range(256)) * 50],
    ids=["empty", "no-newline", "crlf", "nul", "invalid-utf8", "all-bytes"],
)
def test_it_keeps_every_byte(host: Host, tmp_path: Path, written: bytes):
    (tmp_path / "bytes").write_bytes(written)

    record = host.run(f"cat {tmp_path}/bytes")

    assert record["output"] == written
    assert record["output_bytes"] == len(written)
    assert record["output_sha256"] == hashlib.sha256(written).hexdigest()
    assert record["output_gap"] is None


def test_it_keeps_stdout_and_stderr_in_the_order_in_which_they_were_written(host: Host):
    record = host.run("for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done")

    expected = "".join(f"out {i}\nerr {i}\n" for i in range(1, 6))
    assert record["output"] == expected.encode()


def test_it_loses_nothing_when_the_script_opens_dev_stderr(host: Host):
    record = host.run("echo one; echo two > /dev/stderr; echo three > /dev/stdout; echo four")

    assert record["output"] == b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("nosuchcommand", 127),
        ("", 0),
    ],
)
def test_it_reports_the_code_as_a_shell_would(host: Host, script: str, code: int):
    record = host.run(script)

    assert (record["cause"], record["code"], record["killed"]) == ("exit", code, False)


def test_it_reads_nothing_from_stdin(host: Host):
    assert host.run("cat; echo $?")["output"] == b"0\n"


def test_it_shows_output_while_the_script_runs(host: Host, tmp_path: Path):
    key = host.start(f"echo early; until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo late")

    until(lambda: host.output(key) == b"early\n")
    assert host.call("output_size", *key) == 6
    (tmp_path / "go").touch()

    assert host.finish(key)["code"] == 0
    assert host.output(key) == b"early\nlate\n"


def test_it_reads_any_piece_of_the_output(host: Host):
    key = host.start("seq 1 2000", head_bytes=1000, tail_bytes=500)
    record = host.finish(key)
    everything = b"".join(b"%d\n" % i for i in range(1, 2001))
    start, end = record["output_gap"]

    kept = {(at, data, gap) for at, data, gap in host.chunks(key, limit=7)}

    assert (start, end) == (1000, len(everything) - 500)
    assert all(everything[at : at + len(data)] == data for at, data, _ in kept)
    assert [(at, gap) for at, _, gap in sorted(kept) if gap is not None] == [(end, start)]
    assert host.output(key) == everything[:start] + everything[end:]


@pytest.mark.parametrize("size", [999, 1000, 1001, 1499, 1500, 1501, 2600])
def test_it_marks_a_gap_exactly_when_one_is_needed(host: Host, size: int):
    key = host.start(f"head -c {size} /dev/urandom | tee /tmp/$MSCHEDULE_RUN_ID",
                     head_bytes=1000, tail_bytes=500)  # fmt: skip
    record = host.finish(key)
    path = Path("/tmp") / key[0]
    written = path.read_bytes()
    path.unlink()

    gap = record["output_gap"]
    assert gap == ([1000, size - 500] if size > 1500 else None)
    start, end = gap or (size, size)
    assert host.output(key, limit=333) == written[:start] + written[end:]
    assert record["output_sha256"] == hashlib.sha256(written).hexdigest()


def test_it_keeps_no_tail_where_none_is_wanted(host: Host):
    record = host.run("seq 1 2000", head_bytes=100, tail_bytes=0)

    assert record["output_gap"] == [100, record["output_bytes"]]
    assert len(record["output"]) == 100


def test_it_caps_huge_output_in_bounded_memory_and_still_counts_all_of_it(
    host: Host, tmp_path: Path
):
    # Given 100 MB whose every byte tells its place
    block = hashlib.sha256(b"seed").digest() * (MIB // 32)
    (tmp_path / "block").write_bytes(block)
    key = host.start(
        f"for i in $(seq 100); do cat {tmp_path}/block; echo $i; done;"
        f"touch {tmp_path}/written; until [ -e {tmp_path}/go ]; do sleep 0.01; done"
    )
    supervisor = host.supervisor(key)
    until(lambda: (tmp_path / "written").exists(), timeout_s=60)
    memory = rss_bytes(supervisor)
    (tmp_path / "go").touch()

    record = host.finish(key, timeout_s=60)

    written = b"".join(block + b"%d\n" % i for i in range(1, 101))
    start, end = record["output_gap"]
    assert record["output_bytes"] == len(written)
    assert record["output_sha256"] == hashlib.sha256(written).hexdigest()
    assert (start, end) == (8 * MIB, len(written) - 2 * MIB)
    assert host.output(key) == written[:start] + written[end:]
    assert memory < 16 * MIB
    assert rss_bytes(host.pid) < 64 * MIB


def test_a_service_left_running_is_counted_left_alone_and_can_go_on_writing(
    host: Host, tmp_path: Path
):
    # Given a service that inherits the output and writes more than a pipe holds
    service = (
        "while [ ! -e go ]; do sleep 0.01; done; "
        "head -c 300000 /dev/zero; echo $? > written; sleep 60"
    )
    key = host.start(f"sh -c '{service}' & echo $! > pid; echo started", cwd=str(tmp_path))

    # When its script has ended
    record = host.finish(key)
    (tmp_path / "go").touch()

    # Then it outlives the run, and its writes succeed
    assert (record["code"], record["killed"]) == (0, False)
    assert record["left_running"] in (1, 2)  # the service, and maybe the sleep it is at
    assert host.output(key) == b"started\n"
    assert host.look(key)["locked"] is False
    assert host.call("sweep_clean", *key)
    assert host.wait_for(tmp_path / "written") == "0\n"
    assert alive(int((tmp_path / "pid").read_text()))


def test_a_writer_left_running_does_not_prolong_the_run(host: Host):
    record = host.run("yes & echo done")

    assert (record["code"], record["left_running"]) == (0, 1)
