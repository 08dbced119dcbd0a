"""Do the files of a run's directory say what was written, and nothing when they are torn?"""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import launch, rundir, tree
from agent.evidence import ExitRecord, read_exit, write_broken
from wire.states import Cause

values = st.binary(max_size=50).map(lambda value: value.replace(b"\0", b""))
names = st.text("ABC_x1", min_size=1).map(str.encode)


@given(
    args=st.lists(values),
    env=st.dictionaries(names, values),
    user=st.none() | values,
    cwd=st.none() | values,
    timeout_s=st.floats(0, 1e9),
    attempt=st.integers(1, 1000),
    item=st.none() | values,
    batch=st.booleans(),
)
def test_a_spec_comes_back_as_it_was_written(args, env, user, cwd, timeout_s, attempt, item, batch):
    spec = rundir.Spec(
        task=b"t",
        run=b"r",
        agent=b"a",
        args=args,
        env=list(env.items()),
        timeout_s=timeout_s,
        grace_s=2.5,
        head_bytes=3,
        tail_bytes=0,
        user=user,
        cwd=cwd,
        attempt=attempt,
        item=item,
        batch=batch,
    )

    assert vars(rundir.decode_spec(rundir.encode_spec(spec))) == vars(spec)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_it_writes_json_that_others_read(value):
    written = rundir.to_json(value)

    assert written.isascii()
    assert msgspec.json.decode(written) == value


def test_it_writes_bytes_that_are_no_text_as_replacements():
    assert msgspec.json.decode(rundir.to_json(os.fsdecode(b"a\xffb"))) == "a�b"


def test_only_the_first_mark_counts(tmp_path: Path):
    directory = str(tmp_path)
    assert rundir.read_mark(directory) is None

    assert rundir.make_mark(directory, rundir.VOID)
    assert not rundir.make_mark(directory, rundir.STARTED, 1, 2)

    assert rundir.read_mark(directory) == (rundir.VOID, 0, 0)


@pytest.mark.parametrize("text", ["started", "strange 1 2", "x"])
def test_a_mark_that_reads_as_nothing_counts_as_started(tmp_path: Path, text: str):
    (tmp_path / "mark").symlink_to(text)

    assert rundir.read_mark(str(tmp_path)) == (rundir.STARTED, 0, 0)


def test_a_later_stop_only_shortens_the_grace_of_the_first(tmp_path: Path):
    directory = str(tmp_path)
    assert rundir.read_stop(directory) is None

    rundir.write_stop(directory, "limit", 10.0)
    rundir.write_stop(directory, "cancel", 0.5)
    rundir.write_stop(directory, "cancel", 20.0)

    assert rundir.read_stop(directory) == ("limit", 0.5)


def test_a_lock_is_seen_while_it_is_held(tmp_path: Path):
    directory = str(tmp_path)
    assert not rundir.is_locked(directory)
    (tmp_path / "spec").touch()
    assert not rundir.is_locked(directory)
    lock = rundir.take_lock(directory)
    assert rundir.is_locked(directory)
    assert rundir.is_locked(directory)  # looking did not disturb it

    rundir.free_lock(lock)

    assert not rundir.is_locked(directory)


def test_an_exit_record_comes_back_as_it_was_written(tmp_path: Path):
    directory = str(tmp_path)
    record = ExitRecord(
        cause=Cause.TIMEOUT,
        code=137,
        reason='the "reason"\n',
        killed=True,
        survivors=[7, 8],
        output_gap=(3, 9),
    )
    rundir.reserve_exit(directory)
    assert read_exit(directory) is None

    rundir.write_exit(directory, msgspec.to_builtins(record))

    assert read_exit(directory) == record


def test_a_run_that_was_decided_elsewhere_is_not_broken_afterwards(tmp_path: Path):
    directory = str(tmp_path)
    rundir.make_mark(directory, rundir.VOID)

    assert not write_broken(directory, ExitRecord(cause=Cause.BROKEN, code=None))
    assert read_exit(directory) is None


@pytest.mark.parametrize(
    ("start", "interpreter"),
    [
        (b"", [b"/bin/sh"]),
        (b"echo #!", [b"/bin/sh"]),
        (b" #!/bin/x", [b"/bin/sh"]),
        (b"#!", [b"/bin/sh"]),
        (b"#! \t\n", [b"/bin/sh"]),
        (b"#!/bin/x", [b"/bin/x"]),
        (b"#!/bin/x -a -b \n-c", [b"/bin/x", b"-a -b"]),
        (b"#!\t/bin/x\t-a\tb\n", [b"/bin/x", b"-a\tb"]),
        (b"#!/bin/x\r\n", [b"/bin/x\r"]),
        (b"#!/bin/x -a\0b\n", [b"/bin/x", b"-a"]),
    ],
)
def test_it_finds_the_interpreter(start: bytes, interpreter: list[bytes]):
    assert launch.interpreter(start) == interpreter


def test_it_reads_a_process_whose_name_looks_like_a_table_line():
    stat = b"12 (a) S (b) R 1 12 13" + b" 0" * 15 + b" 4711 0\n"

    process = tree.Process(12, stat)

    assert (process.parent, process.group, process.session) == (1, 12, 13)
    assert (process.zombie, process.born) == (False, 4711)


def test_it_spares_the_agent_with_what_is_its_own_only_inside_the_run():
    table = {
        pid: tree.Process(pid, b"%d (x) S %d 1 1" % (pid, parent) + b" 0" * 15 + b" 5")
        for pid, parent in [(2, 1), (3, 2), (4, 3), (5, 4), (6, 2)]
    }

    assert tree.descendants(2, table) == {3, 4, 5, 6}
    assert tree.without_agent({3, 4, 5, 6}, 4, table) == {3, 6}
    assert tree.without_agent({5, 6}, 4, table) == {5, 6}


@pytest.mark.parametrize(
    ("path", "outside"),
    [
        ("/", ""),
        ("/system.slice/mschedule-agent.service", "/system.slice/mschedule-agent.service"),
        ("/a/mschedule-0af1.1", "/a"),
        ("/a/mschedule-0af1.1/mschedule-77.2/x", "/a"),
    ],
)
def test_cgroups_of_runs_are_never_made_inside_one_another(path: str, outside: str):
    assert tree.outside_runs(path) == outside
