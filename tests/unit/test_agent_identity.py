"""Who the agent is: made once, kept, private, and never guessed."""

import pytest

from agent.identity import (
    Host,
    Master,
    choose_master,
    load_identity,
    read_host,
    remember_master,
)
from utils import StartError
from wire.keys import Join, make_keys

KEY = make_keys().public
JOIN = str(Join("master.example", 9000, KEY, "secret-token"))


@pytest.fixture
def boot_id_file(tmp_path):
    path = tmp_path / "boot-id"
    path.write_text("boot-1\n")
    return path


def host_of(tmp_path, boot_id_file, machine_id="machine-1\n"):
    path = tmp_path / "etc-machine-id"
    if machine_id is not None:
        path.write_text(machine_id)
    return read_host(tmp_path, path, boot_id_file)


# ---- id and keys


def test_it_makes_an_identity_once_and_keeps_it(tmp_path):
    first = load_identity(tmp_path)
    assert len(first.id) == 32
    assert load_identity(tmp_path) == first


def test_two_agents_are_two(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert load_identity(tmp_path / "a").id != load_identity(tmp_path / "b").id


def test_its_files_are_its_own(tmp_path):
    load_identity(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_its_secret_key_is_not_in_its_repr(tmp_path):
    identity = load_identity(tmp_path)
    assert identity.keys.secret not in repr(identity)


@pytest.mark.parametrize("content", ["", "short", "g" * 32, "a" * 33, "\xff" * 32])
def test_a_damaged_id_is_refused_and_not_replaced(tmp_path, content):
    load_identity(tmp_path)
    (tmp_path / "id").write_text(content)
    with pytest.raises(StartError, match="id is damaged"):
        load_identity(tmp_path)
    assert (tmp_path / "id").read_text() == content


def test_damaged_keys_are_refused(tmp_path):
    load_identity(tmp_path)
    (tmp_path / "keys").write_text("{}")
    with pytest.raises(StartError, match="not a key file"):
        load_identity(tmp_path)


# ---- machine and boot


def test_the_instance_changes_with_machine_boot_and_journal():
    seen = {
        Host("m", "b").instance("j"),
        Host("m2", "b").instance("j"),
        Host("m", "b2").instance("j"),
        Host("m", "b").instance("j2"),
        Host("mb", "").instance("j"),
    }
    assert len(seen) == 5
    assert Host("m", "b").instance("j") in seen


def test_the_raw_machine_id_is_not_told(tmp_path, boot_id_file):
    host = host_of(tmp_path, boot_id_file)
    assert "machine-1" not in host.machine and len(host.machine) == 32


@pytest.mark.parametrize("content", [None, "", "uninitialized\n"])
def test_a_machine_without_an_id_gets_one_that_stays(tmp_path, boot_id_file, content):
    first = host_of(tmp_path, boot_id_file, content)
    assert host_of(tmp_path, boot_id_file, content) == first
    assert host_of(tmp_path, boot_id_file, "machine-1\n") == first


def test_it_does_not_start_without_a_boot_id(tmp_path):
    with pytest.raises(StartError, match="a reboot can't be noticed"):
        host_of(tmp_path, tmp_path / "missing")


# ---- the master


def test_a_join_string_names_master_key_and_token(tmp_path):
    master = choose_master(tmp_path, JOIN)
    assert master.endpoint == "tcp://master.example:9000"
    assert (master.key, master.token) == (KEY, "secret-token")


def test_the_master_is_remembered_without_the_token(tmp_path):
    remember_master(tmp_path, choose_master(tmp_path, JOIN))
    assert "secret-token" not in (tmp_path / "master").read_text()
    assert choose_master(tmp_path, None) == Master("master.example", 9000, KEY)


def test_a_join_string_wins_over_what_is_remembered(tmp_path):
    remember_master(tmp_path, Master("old.example", 9000, KEY))
    assert choose_master(tmp_path, JOIN).host == "master.example"


def test_the_same_master_is_not_written_again(tmp_path):
    remember_master(tmp_path, Master("a.example", 9000, KEY))
    inode = (tmp_path / "master").stat().st_ino
    keep = (tmp_path / "master").open()  # an inode in use is not given to another file
    remember_master(tmp_path, Master("a.example", 9000, KEY, "token"))
    keep.close()
    assert (tmp_path / "master").stat().st_ino == inode


def test_without_any_master_it_says_how_to_join(tmp_path):
    with pytest.raises(StartError, match="--join-file"):
        choose_master(tmp_path, None)


def test_a_bad_join_string_is_refused_without_showing_its_token(tmp_path):
    with pytest.raises(StartError) as refused:
        choose_master(tmp_path, "mschedule://host:9000?key=short&token=secret-token")
    assert "secret-token" not in str(refused.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"host": "a", "port": 1, "key": "short"}', '{"host": 1}']
)
def test_a_damaged_memory_of_the_master_is_refused(tmp_path, content):
    (tmp_path / "master").write_text(content)
    with pytest.raises(StartError, match="join string again"):
        choose_master(tmp_path, None)
