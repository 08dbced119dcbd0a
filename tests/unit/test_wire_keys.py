"""Keys stay as they were made, and a join string says what is wrong with it, never its token."""

import stat
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.keys import Join, is_key, load_or_make_keys, make_keys, parse_join

KEY = make_keys().public
TOKEN = "s3cr3t-token"


def test_it_makes_keys_once_and_keeps_them(tmp_path):
    path = tmp_path / "keys"
    made = load_or_make_keys(path)
    assert is_key(made.public) and is_key(made.secret)
    assert load_or_make_keys(path) == made
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


def test_it_writes_keys_for_the_owner_only(tmp_path):
    path = tmp_path / "keys"
    load_or_make_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_refuses_a_key_file_that_others_can_read(tmp_path):
    path = tmp_path / "keys"
    load_or_make_keys(path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="0600"):
        load_or_make_keys(path)


@pytest.mark.parametrize("content", ["", "{}", '{"public":"a","secret":"b"}', "\0" * 80])
def test_it_never_overwrites_a_damaged_key_file(tmp_path, content):
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(ValueError, match="keys"):
        load_or_make_keys(path)
    assert path.read_text() == content


def test_it_refuses_two_halves_of_different_pairs(tmp_path):
    path = tmp_path / "keys"
    one, other = load_or_make_keys(path), make_keys()
    path.write_text(path.read_text().replace(one.public, other.public))
    with pytest.raises(ValueError, match="not a pair"):
        load_or_make_keys(path)


def test_it_leaves_nothing_behind_when_keys_cannot_be_written(tmp_path, monkeypatch):
    def no_room(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wire.keys.os.fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        load_or_make_keys(tmp_path / "keys")
    assert list(tmp_path.iterdir()) == []


def test_it_shows_no_secret_in_a_repr():
    keys = make_keys()
    assert keys.secret not in repr(keys)
    assert TOKEN not in repr(Join("db1", 9000, KEY, TOKEN))


hosts = st.sampled_from(["master", "10.0.0.1", "fd00::1", "::1", "m.example.org"])
tokens = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)


@given(hosts, st.integers(0, 65535), tokens)
def test_it_reads_every_join_string_that_it_writes(host, port, token):
    join = Join(host, port, make_keys().public, token)
    assert parse_join(f" {join}\n") == join


def test_it_brackets_ipv6_hosts_in_the_endpoint():
    assert Join("fd00::1", 9000, KEY, TOKEN).endpoint == "tcp://[fd00::1]:9000"
    assert Join("db1", 9000, KEY, TOKEN).endpoint == "tcp://db1:9000"


def test_it_takes_the_usual_port_where_none_is_given():
    assert parse_join(f"mschedule://db1?key={quote(KEY, safe='')}&token=t").port == 9000


@pytest.mark.parametrize(
    "text, sentence",
    [
        (f"http://db1:9000?key={{key}}&token={TOKEN}", "mschedule://"),
        (f"mschedule://:9000?key={{key}}&token={TOKEN}", "no host"),
        (f"mschedule://db1:99999?key={{key}}&token={TOKEN}", "HOST:PORT"),
        (f"mschedule://db1:x?key={{key}}&token={TOKEN}", "HOST:PORT"),
        (f"mschedule://[db1:9000?key={{key}}&token={TOKEN}", "HOST:PORT"),
        (f"mschedule://db1:9000?token={TOKEN}", "key=… exactly once"),
        ("mschedule://db1:9000?key={key}", "token=… exactly once"),
        (f"mschedule://db1:9000?key={{key}}&token={TOKEN}&token={TOKEN}", "token=… exactly once"),
        (f"mschedule://db1:9000?key=short&token={TOKEN}", "40 characters"),
        (f"mschedule://db1:9000?key={'é' * 40}&token={TOKEN}", "40 characters"),
        (f"mschedule://db1:9000/x?key={{key}}&token={TOKEN}", "damaged"),
        (f"mschedule://db1:9000?key={{key}}&token={TOKEN}#rest", "damaged"),
        ("mschedule://db1:9000?key={key}&token=" + "&a=b" * 40, "exactly once"),
        ("", "mschedule://"),
    ],
)
def test_it_says_what_is_wrong_with_a_join_string(text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_join(text.replace("{key}", quote(KEY, safe="")))
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
