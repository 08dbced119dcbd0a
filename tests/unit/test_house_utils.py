import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import utils
from utils import StartError, failpoint, iso, state_dir, write_private

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ---- times


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1795251000.1234, "2026-11-21T08:50:00.123Z"),
        (1.001, "1970-01-01T00:00:01.001Z"),
        (0.9999, "1970-01-01T00:00:01.000Z"),
    ],
)
def test_it_shows_times_in_utc_with_milliseconds(ts, text):
    assert iso(ts) == text


@pytest.mark.parametrize("ts", [1795302000.0205001, 1795302000.0204999, 1795302000.0215002])
def test_a_time_is_shown_the_same_after_it_was_stored(ts):
    assert iso(float(f"{ts:.15g}")) == iso(ts)


# ---- logging


@pytest.fixture
def logged(capsys):
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def lines() -> list[str]:
        return str(capsys.readouterr().err).splitlines()

    yield lines
    root.handlers[:], level = before
    root.setLevel(level)


def test_it_logs_one_line_with_time_level_and_room(logged):
    utils.set_up_logging("info")
    utils.getLogger("agent.cm").warning("web01 is away; trying again in 3 s")
    utils.getLogger("agent.cm").debug("not shown")
    (line,) = logged()
    time, level, rest = line.split(" ", 2)
    assert time.endswith("Z") and "T" in time
    assert (level, rest) == ("WARNING", "agent.cm: web01 is away; trying again in 3 s")


def test_it_keeps_what_a_stranger_sent_on_one_line(logged):
    utils.set_up_logging("info")
    utils.getLogger("x").info("hostname a\nb\r\x1b[2Jc\u2028é")
    (line,) = logged()
    assert line.endswith(r"hostname a | b\r\x1b[2Jc\u2028é")


def test_it_logs_a_traceback_on_the_same_line(logged):
    utils.set_up_logging("info")
    try:
        raise ValueError("broken")
    except ValueError:
        utils.getLogger("x").exception("reference 42")
    (line,) = logged()
    assert "reference 42 | Traceback" in line
    assert line.endswith("ValueError: broken")


# ---- state directories


def test_it_makes_a_state_directory_that_only_its_owner_reads(tmp_path):
    with state_dir(tmp_path / "a" / "b") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_it_refuses_a_state_directory_that_another_process_holds(tmp_path):
    code = "import sys, pathlib, utils\nwith utils.state_dir(pathlib.Path(sys.argv[1])): pass"
    with state_dir(tmp_path) as path:
        second = run(code, str(path))
        assert f"{path} is in use by process {os.getpid()}; stop it" in second.stderr
    assert run(code, str(tmp_path)).returncode == 0


def test_it_does_not_leave_the_lock_to_a_child(tmp_path):
    with state_dir(tmp_path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with state_dir(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_it_says_why_a_state_directory_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    held = state_dir(tmp_path / "file")
    with pytest.raises(StartError, match=r"file cannot be used: .*; choose another with"), held:
        pass


# ---- private files


def test_it_replaces_a_private_file_wholly(tmp_path):
    path = tmp_path / "key"
    write_private(path, b"one, which is longer")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_it_keeps_the_old_file_when_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "key"
    write_private(path, b"one")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["key"]


def test_it_is_not_stopped_by_what_a_killed_process_left(tmp_path):
    (tmp_path / f".key.{os.getpid()}").write_bytes(b"half")
    write_private(tmp_path / "key", b"whole")
    assert (tmp_path / "key").read_bytes() == b"whole"


def test_it_syncs_file_and_directory_in_the_right_order(tmp_path, monkeypatch):
    done: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        done.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real_fsync(descriptor)

    def rename(old: Path, new: Path) -> None:
        done.append("rename")
        real_rename(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    write_private(tmp_path / "key", b"x")
    assert done == [f"sync .key.{os.getpid()}", "rename", f"sync {tmp_path.name}"]


# ---- failpoints


@pytest.fixture
def armed():
    yield utils.arm_failpoints
    utils._armed.clear()


def test_it_does_nothing_at_a_failpoint_that_is_not_armed(armed):
    failpoint("claimed")
    armed("other=raise")
    failpoint("claimed")


def test_it_raises_at_the_nth_hit_and_not_before_nor_after(armed):
    armed("claimed=raise:2")
    failpoint("claimed")
    with pytest.raises(OSError, match="failpoint claimed"):
        failpoint("claimed")
    failpoint("claimed")


def test_it_names_armed_failpoints_in_the_log(armed, caplog):
    armed("claimed=kill:3,settled=stop")
    assert [record.message for record in caplog.records] == [
        "failpoint claimed is armed: kill at hit 3",
        "failpoint settled is armed: stop at hit 1",
    ]


@pytest.mark.parametrize("text", ["claimed", "claimed=explode", "=kill", "claimed=kill:soon"])
def test_it_refuses_failpoints_that_it_does_not_understand(armed, text):
    with pytest.raises(StartError, match="MSCHEDULE_FAILPOINTS"):
        armed(text)


def test_it_kills_its_own_process_at_a_failpoint():
    ended = run("import utils; utils.arm_failpoints('x=kill'); utils.failpoint('x')")
    assert ended.returncode == -signal.SIGKILL


# ---- launching


LAUNCH = """
import utils
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    '''Set.'''
    port: int = utils.setting(1, 'port')

def run(settings):
    if settings.port == 2:
        raise utils.StartError('port 2 is taken; give another with --port')
    return settings.port

raise SystemExit(utils.launch(Settings, 'example', run))
"""


def test_it_ends_with_the_exit_code_of_the_program():
    assert run(LAUNCH, "--port", "7").returncode == 7


def test_it_shows_a_start_that_failed_as_one_line():
    ended = run(LAUNCH, "--port", "2")
    assert ended.returncode == 1
    assert ended.stderr == "example: port 2 is taken; give another with --port\n"


def test_it_refuses_bad_failpoints_at_the_start():
    ended = run(LAUNCH, MSCHEDULE_FAILPOINTS="x=explode")
    assert ended.returncode == 1
    assert ended.stderr.startswith("example: MSCHEDULE_FAILPOINTS has 'x=explode'")


def test_it_is_free_of_gevent_and_cheap_to_import():
    loaded = run("import sys, utils; print(*sys.modules)").stdout.split()
    heavy = {"gevent", "zerorpc", "zmq", "msgspec", "asyncio", "ssl", "tomllib", "psutil"}
    assert not heavy & set(loaded)
