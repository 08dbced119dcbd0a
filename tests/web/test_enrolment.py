"""How the web comes to its master, and what it keeps."""

import stat

import pytest

from utils import StartError
from webserver.enrolment import enrol
from wire.keys import Join, make_keys

MASTER_KEY = make_keys().public
JOIN = str(Join("master.example", 9000, MASTER_KEY, "secret-token"))


def test_it_keeps_the_address_and_its_key_but_not_the_token(tmp_path):
    first = enrol(tmp_path, JOIN)
    assert first.token == "secret-token"
    again = enrol(tmp_path, None)
    assert again.token is None
    assert (again.address, again.keys) == (first.address, first.keys)
    assert again.address.endpoint == "tcp://master.example:9000"
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"secret-token" not in path.read_bytes()


def test_it_takes_another_master_from_a_new_join_string(tmp_path):
    keys = enrol(tmp_path, JOIN).keys
    moved = enrol(tmp_path, str(Join("other.example", 9001, MASTER_KEY, "t2")))
    assert moved.address.endpoint == "tcp://other.example:9001"
    assert moved.keys == keys


def test_it_says_how_to_get_a_join_string(tmp_path):
    with pytest.raises(StartError, match="--print-join web"):
        enrol(tmp_path, None)


def test_it_never_shows_the_token_of_a_bad_join_string(tmp_path):
    with pytest.raises(StartError) as refused:
        enrol(tmp_path, "http://x?key=short&token=secret-token")
    assert "secret-token" not in str(refused.value)


def test_it_does_not_guess_from_a_damaged_file(tmp_path):
    enrol(tmp_path, JOIN)
    (tmp_path / "master.json").write_bytes(b"{")
    with pytest.raises(StartError, match="damaged"):
        enrol(tmp_path, None)


def test_it_hides_the_token_in_its_own_description(tmp_path):
    assert "secret-token" not in repr(enrol(tmp_path, JOIN))
