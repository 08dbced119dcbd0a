"""Does a script get its secrets, and nobody else: not by arguments, files or output?"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution_host import Host, Key
from tests.support import until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes users")

SECRET = "correct-horse battery"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
SLOW = "printf %.7s \"$TOKEN\"; touch half; until [ -e go ]; do sleep 0.01; done; printf '%s' "


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    with Host(tmp_path / "state") as started:
        yield started


def directory(host: Host, key: Key) -> Path:
    return host.state_dir / "runs" / f"{key[0]}.{key[1]}"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_on_disk(folder: Path, secret: str) -> bool:
    return any(secret.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_it_gives_a_secret_as_a_variable_and_hides_it_in_the_output(host: Host):
    script = 'echo "<$TOKEN>"; printf %s "$TOKEN" | sha256sum'
    record = host.run(script, secrets={"TOKEN": SECRET})

    assert record["output"].decode() == f"<***>\n{sha256(SECRET)}  -\n"
    assert record["output_bytes"] == len(record["output"])


def test_it_gives_a_secret_as_a_private_file_until_the_run_ends(host: Host):
    script = 'stat -c %a "$KEY"; echo "$KEY"; cat "$KEY"; sha256sum < "$KEY"'
    record = host.run(script, secret_files={"KEY": KEY})

    mode, path, content, digest = record["output"].decode().splitlines()
    assert (mode, content) == ("600", "***")
    assert digest == f"{sha256(KEY)}  -"
    assert not os.path.exists(path)


@as_root
def test_it_gives_the_file_to_the_user_of_the_run(host: Host):
    script = 'id -un; stat -c %U "$KEY"; head -n 1 "$KEY"; (cat "$KEY")'
    record = host.run(script, secret_files={"KEY": KEY}, user="nobody")

    assert record["output"] == b"nobody\nnobody\n***\n***\n"


@as_root
def test_it_gives_the_file_where_the_user_may_not_pass_through_the_folders(tmp_path: Path):
    tmp_path.chmod(0o700)
    with Host(tmp_path / "state") as host:
        record = host.run('(cat "$KEY") | wc -c', secret_files={"KEY": KEY}, user="nobody")

    assert record["output"].strip() == str(len(KEY)).encode()


def test_it_hides_a_secret_that_is_written_in_two_pieces(host: Host, tmp_path: Path):
    script = f'{SLOW} "${{TOKEN#???????}}!"'
    key = host.start(script, secrets={"TOKEN": SECRET}, cwd=str(tmp_path))
    until((tmp_path / "half").exists, what="the first half")
    assert host.output(key) == b""

    (tmp_path / "go").touch()
    host.finish(key)

    assert host.output(key) == b"***!"


def test_it_loses_nothing_of_what_only_began_like_a_secret(host: Host):
    record = host.run('printf "%.12s" "$TOKEN"', secrets={"TOKEN": SECRET})

    assert record["output"] == SECRET[:12].encode()


def test_it_keeps_secrets_out_of_every_command_line_and_in_private_files(
    host: Host, tmp_path: Path
):
    script = "touch half; until [ -e go ]; do sleep 0.01; done"
    key = host.start(
        script, secrets={"TOKEN": SECRET}, secret_files={"KEY": KEY}, cwd=str(tmp_path)
    )
    until((tmp_path / "half").exists, what="the script")

    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert SECRET.encode() not in path.read_bytes(), path
        except (FileNotFoundError, ProcessLookupError):
            pass
    holders = [p for p in directory(host, key).iterdir() if p.is_file()]
    holders = [path for path in holders if SECRET.encode() in path.read_bytes()]
    assert [path.name for path in holders] == ["secrets"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600

    (tmp_path / "go").touch()
    host.finish(key)
    assert not is_on_disk(host.state_dir, SECRET)
    assert not is_on_disk(host.state_dir, "MIIEvQIBADANBgkq")


def test_it_goes_on_hiding_when_the_agent_is_killed(host: Host, tmp_path: Path):
    script = f'{SLOW} "${{TOKEN#???????}}!"; echo "$TOKEN"'
    key = host.start(script, secrets={"TOKEN": SECRET}, cwd=str(tmp_path))
    until((tmp_path / "half").exists, what="the first half")
    host.restart()
    host.watch(*key)
    (tmp_path / "go").touch()
    host.finish(key)

    assert host.output(key) == b"***!***\n"
    assert not is_on_disk(host.state_dir, SECRET)


def test_it_does_not_start_without_the_secrets_that_were_handed_out(host: Host, tmp_path: Path):
    entry = host.entry("touch started", cwd=str(tmp_path), secrets={"TOKEN": SECRET})
    host.call("start_without_secrets", entry)
    host.watch(entry["run"])
    record = host.finish((entry["run"], 1))

    assert record["cause"] == "broken"
    assert record["reason"] == "the secrets of the run are no longer on this host"
    assert not (tmp_path / "started").exists()


def test_it_does_not_start_what_the_master_says_is_broken(host: Host):
    record = host.run("echo no", broken="its secrets cannot be read")

    assert (record["cause"], record["output"]) == ("broken", b"")
    assert record["reason"] == "its secrets cannot be read"


def test_it_hides_secrets_in_the_reason_of_a_failed_start(host: Host):
    record = host.run(f"#!/no/{SECRET}\n", secrets={"TOKEN": SECRET.split()[0]})

    assert record["reason"].startswith("script: the interpreter '/no/***'")


def test_it_keeps_up_with_much_output(host: Host):
    """As much as is written is counted, whatever is hidden of it."""
    script = 'yes "token $TOKEN and more" | head -c 30000000'
    record = host.run(script, secrets={"TOKEN": SECRET})

    line = len("token *** and more\n")
    whole, rest = divmod(30_000_000, len(f"token {SECRET} and more\n"))
    assert whole * line <= record["output_bytes"] <= whole * line + rest
    assert SECRET.encode() not in record["output"]
