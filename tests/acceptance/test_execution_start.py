"""As whom, where, with what, by which interpreter does a script run, and what if it cannot?"""

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.execution_host import AGENT_ID, TASK_ID, Host
from tests.support import until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes users or mounts")

PRINT_ENVIRONMENT = '#!/usr/bin/perl\nprint "$_=$ENV{$_}\\0" for keys %ENV;'
PRINT_ARGUMENTS = '#!/bin/sh\nfor argument; do printf "<%s>\\n" "$argument"; done\n'


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host"), {"SECRET_OF_THE_AGENT": "1"}) as started:
        yield started


@pytest.fixture
def open_host(tmp_path: Path) -> Iterator[Host]:
    """One whose state directory every user may pass through."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    with Host(tmp_path / "state") as started:
        yield started


# ---- interpreter


def test_it_runs_a_script_without_a_shebang_in_the_shell(host: Host):
    assert host.run('echo "$0" | grep -c /script')["output"] == b"1\n"


def test_it_runs_a_script_in_the_interpreter_of_its_first_line(host: Host):
    record = host.run("#!/usr/bin/env perl\nprint 6 * 7, qq(\\n);")

    assert record["output"] == b"42\n"


@pytest.mark.parametrize(
    "first_line",
    [
        "#!{0}",
        "#!{0} one",
        "#! \t{0}\t one two  three \t",
        "#!{0}  -a   -b ",
        "#!{0} tab\there",
        '#!{0} quo\'ted "words"',
    ],
)
def test_it_splits_the_first_line_as_the_kernel_does(host: Host, tmp_path: Path, first_line: str):
    # Given an interpreter that prints what it is called with
    interpreter = tmp_path / "interpreter"
    interpreter.write_text(PRINT_ARGUMENTS)
    interpreter.chmod(0o755)
    script = first_line.format(interpreter) + "\nnot read\n"
    direct = tmp_path / "direct"
    direct.write_text(script)
    direct.chmod(0o755)

    # When the kernel runs the script, and when we do
    by_kernel = subprocess.run([direct, "a b", ""], capture_output=True, check=True).stdout
    by_us = host.run(script, args=["a b", ""])["output"]

    # Then it is called with the same, but for the script's own path
    assert [line for line in by_us.splitlines() if not line.endswith(b"/script>")] == [
        line for line in by_kernel.splitlines() if not line.endswith(b"/direct>")
    ]


@pytest.mark.parametrize("interpreter", ["/no/such/shell", "/usr/bin/no-such-shell"])
def test_it_says_which_interpreter_is_missing(host: Host, interpreter: str):
    record = host.run(f"#!{interpreter} -e\necho hello")

    assert (record["cause"], record["code"]) == ("broken", None)
    assert f"script: the interpreter {interpreter!r} named in the first line" in record["reason"]
    assert "No such file or directory" in record["reason"]


def test_it_says_so_when_windows_line_ends_hide_the_interpreter(host: Host):
    assert "carriage return" in host.run("#!/bin/sh\r\necho hello\r\n")["reason"]


@as_root
def test_it_runs_scripts_that_lie_on_a_file_system_mounted_noexec(tmp_path: Path):
    mounted = tmp_path / "noexec"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", mounted], check=True)
    try:
        with Host(mounted / "state") as host:
            assert host.run("#!/bin/sh\necho from sh")["output"] == b"from sh\n"
            assert host.run("#!/usr/bin/perl\nprint 1;")["output"] == b"1"
            assert host.run("echo plain")["output"] == b"plain\n"
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)


# ---- user, folder, environment


def test_it_gives_the_script_a_clean_environment(host: Host):
    key = host.start(PRINT_ENVIRONMENT, env={"A": "1=2", "B": "ü\n"})
    host.finish(key)

    account = pwd.getpwuid(os.geteuid())
    variables = dict(item.split("=", 1) for item in host.output(key).decode().split("\0") if item)
    assert variables == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell,
        "LANG": "C.UTF-8",
        "A": "1=2",
        "B": "ü\n",
        "MSCHEDULE_TASK_ID": TASK_ID,
        "MSCHEDULE_RUN_ID": key[0],
        "MSCHEDULE_AGENT_ID": AGENT_ID,
        "MSCHEDULE_ATTEMPT": "1",
    }


def test_env_may_replace_what_is_set_but_not_who_the_run_is(host: Host):
    record = host.run(
        "echo $LANG $PATH $MSCHEDULE_TASK_ID",
        env={"LANG": "de_DE", "PATH": "/bin", "MSCHEDULE_TASK_ID": "another"},
    )

    assert record["output"].decode() == f"de_DE /bin {TASK_ID}\n"


def test_it_passes_arguments_as_they_are(host: Host):
    args = ["", "two words", "$HOME;`id`", "ünï", "-x", "a\nb"]

    assert host.run(PRINT_ARGUMENTS, args=args)["output"].decode() == "".join(
        f"<{argument}>\n" for argument in args
    )


def test_it_runs_in_a_session_and_group_of_its_own_with_default_signals_and_umask(host: Host):
    record = host.run(
        "umask; ps -o pid=,pgid=,sid= -p $$ | tr -s ' ' '\\n' | sort -u | grep -c .;"
        # Read by the shell itself, which blocks signals while it starts another program.
        "while read -r name mask; do case $name in SigBlk:|SigIgn:) echo $mask; esac;"
        "done < /proc/$$/status; ls /proc/self/fd"
    )

    umask, ids, blocked, ignored, *descriptors = record["output"].decode().split()
    assert (umask, ids) == ("0022", "1")
    assert int(blocked, 16) == 0
    # 32 and 33 are glibc's own, which its posix_spawn ignores until somebody needs them.
    assert int(ignored, 16) & ~(0b11 << 31) == 0
    assert descriptors == ["0", "1", "2", "3"]  # ls itself has opened 3


def test_it_starts_in_the_home_of_the_user_unless_told_otherwise(host: Host, tmp_path: Path):
    home = pwd.getpwuid(os.geteuid()).pw_dir

    assert host.run("pwd")["output"].decode() == f"{os.path.realpath(home)}\n"
    assert host.run("pwd", cwd=str(tmp_path))["output"].decode() == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"cwd": "/no/such/folder"}, "cwd: '/no/such/folder' cannot be entered by"),
        ({"cwd": "/etc/passwd"}, "Not a directory"),
        ({"cwd": "a\0b"}, "cwd: 'a\\x00b' holds a NUL"),
        ({"user": "nosuchuser"}, "user: there is no user 'nosuchuser' on this host"),
        ({"args": ["a\0b"]}, "args: 'a\\x00b' holds a NUL"),
        ({"env": {"A=B": "1"}}, "env: 'A=B' is no name"),
        ({"env": {"": "1"}}, "env: '' is no name"),
        ({"args": ["x" * 300_000]}, "args, env: together they are longer"),
        ({"script": "***"}, "script: is not base64"),
    ],
)
def test_it_says_why_a_script_cannot_be_started(host: Host, task: dict[str, Any], said: str):
    record = host.run("echo hello", **task) if "script" not in task else _run_raw(host, task)

    assert (record["cause"], record["code"], record["killed"]) == ("broken", None, False)
    assert said in record["reason"]
    assert record["output_bytes"] == 0


def _run_raw(host: Host, task: dict[str, Any]) -> Any:
    entry = host.entry("")
    entry["task"].update(task)
    host.call("start", entry)
    host.watch(entry["run"])
    return host.finish((entry["run"], 1))


@as_root
def test_it_becomes_the_user_with_its_groups_and_home(open_host: Host):
    # Given a user with a supplementary group
    expected = subprocess.run(["id", "nobody"], capture_output=True, text=True, check=True).stdout

    key = open_host.start('id; pwd; echo "$HOME $USER $SHELL $0"', user="nobody")
    open_host.finish(key)

    account = pwd.getpwnam("nobody")
    script = open_host.directory(key) / "script"
    assert open_host.output(key).decode().splitlines() == [
        expected.strip(),
        "/",  # its home does not exist
        f"{account.pw_dir} nobody {account.pw_shell} {script}",
    ]
    assert script.stat().st_mode & 0o777 == 0o700
    assert script.stat().st_uid == account.pw_uid


@as_root
def test_the_user_reads_its_script_and_nothing_else_of_the_agent(open_host: Host):
    record = open_host.run(
        'cd "$(dirname "$0")"; for f in spec lock output ../../runner.log; do cat $f && exit 9;'
        " done 2>/dev/null; ls . && exit 9; ls .. && exit 9; touch x && exit 9; exit 0",
        user="nobody",
    )

    assert record["code"] == 0


@as_root
def test_the_user_reads_its_script_below_a_folder_that_is_closed_to_it(tmp_path: Path):
    tmp_path.chmod(0o700)
    with Host(tmp_path / "state") as host:
        assert host.run("id -un", user="nobody")["output"] == b"nobody\n"
        perl = host.run("#!/usr/bin/perl\nprint getpwuid($<) . qq(\\n);", user="nobody")
        assert perl["output"] == b"nobody\n"


@as_root
def test_it_enters_the_folder_as_the_user(host: Host, tmp_path: Path):
    (tmp_path / "private").mkdir(mode=0o700)

    record = host.run("pwd", user="nobody", cwd=str(tmp_path / "private"))

    assert "cannot be entered by nobody: Permission denied" in record["reason"]


# ---- directories


def test_it_lists_and_removes_directories(host: Host):
    key = host.start("echo hello")
    host.finish(key)
    assert list(key) in host.call("directories")

    host.call("remove", *key)

    assert list(key) not in host.call("directories")
    assert not host.directory(key).exists()
    assert host.call("exit_of", *key) is None


def test_it_leaves_no_process_and_no_descriptor_behind(host: Host):
    host.run("true")
    descriptors = len(os.listdir(f"/proc/{host.pid}/fd"))

    keys = [host.start("echo hello; exit 7") for _ in range(20)]

    assert all(host.finish(key)["code"] == 7 for key in keys)
    until(lambda: len(os.listdir(f"/proc/{host.pid}/fd")) <= descriptors)
    runner = host.call("runner_pid")
    until(lambda: not Path(f"/proc/{runner}/task/{runner}/children").read_text())


@pytest.mark.parametrize("run", ["../../etc", "a/b", "", "x\0y", "a" * 200])
def test_it_refuses_an_id_that_is_no_name(host: Host, run: str):
    entry = host.entry("echo hello")
    with pytest.raises(AssertionError, match="is no id"):
        host.call("start", {**entry, "run": run})
