"""What is refused of secrets, how are they sealed, and what if their key is another?"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.keyring import Keyring
from master.secrets import Values, Vault
from master.submission import check
from master.submission_secrets import MAX_SECRETS, secrets_of
from utils import StartError
from wire.errors import InvalidValue, Refusal, SecretsUnreadable
from wire.messages import TaskSpec
from wire.requests import Submission

VALUE = "correct-horse"
VAULT = Vault(bytes(32))

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


def make(**fields: Any) -> Submission:
    return Submission(script="echo\n", targets="@*", **fields)


# ---- what is taken


def test_it_takes_variables_and_files():
    given = secrets_of(make(secrets={"A": VALUE}, secret_files={"_b1": "x" * 65536}))
    assert given == Values({"A": VALUE}, {"_b1": "x" * 65536})


def test_it_takes_as_many_and_as_large_as_it_says():
    assert secrets_of(make(secrets={f"S{n}": "x" * 4096 for n in range(MAX_SECRETS)}))


@pytest.mark.parametrize("field", ["secrets", "secret_files"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"": VALUE}, "is no name"),
        ({"1A": VALUE}, "is no name"),
        ({"A-B": VALUE}, "is no name"),
        ({"Ä": VALUE}, "is no name"),
        ({"A" * 129: VALUE}, "is no name"),
        ({"MSCHEDULE_X": VALUE}, "MSCHEDULE_"),
        ({"IN_ENV": VALUE}, "also in env"),
        ({"A": "abc"}, "shorter than 4 bytes"),
        ({"A": "\r\nabc\n\n"}, "shorter than 4 bytes"),
        ({"A": VALUE + "\0"}, "NUL"),
        ({"A": VALUE + "\ud800"}, "surrogate"),
        ({"A": VALUE + "x" * 65536}, "65536 are taken"),
    ],
)
def test_it_names_what_is_wrong_and_never_the_value(field, given, said):
    with pytest.raises(Refusal, match=said) as caught:
        secrets_of(make(env={"IN_ENV": "1"}, **{field: given}))
    assert caught.value.field == field
    (value,) = given.values()
    assert value not in str(caught.value)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"secrets": {f"S{n}": VALUE for n in range(65)}}, "65 are given; at most 64"),
        ({"secrets": {f"S{n}": "x" * 65536 for n in range(5)}}, "at most 262144"),
        ({"secrets": {"S": "line\n" * 1001}}, "at most 1000"),
        ({"secrets": {"A": VALUE}, "secret_files": {"A": VALUE}}, "given once"),
    ],
)
def test_it_bounds_all_of_them_together(fields, said):
    with pytest.raises(Refusal, match=said) as caught:
        secrets_of(make(**fields))
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("field", ["secrets", "secret_files"])
def test_it_takes_none_for_what_does_not_seal_them(field):
    with pytest.raises(InvalidValue, match="not taken here") as caught:
        check(make(**{field: {"A": VALUE}}))
    assert (caught.value.field, VALUE in str(caught.value)) == (field, False)
    assert check(make(**{field: {"A": VALUE}}), takes_secrets=True)


# ---- what is sealed


@given(st.dictionaries(names, texts), st.dictionaries(names.map("f_".__add__), texts))
def test_it_opens_what_it_sealed(variables, files):
    values = Values(variables, files)
    assert VAULT.open("t1", VAULT.seal("t1", values)) == values


def test_it_never_shows_a_value():
    (sealed,) = VAULT.seal("t1", Values({"A": VALUE}))
    assert VALUE.encode() not in sealed.content
    assert VALUE not in repr(Values({"A": VALUE}))


def test_it_seals_the_same_value_differently_each_time():
    first, second = (VAULT.seal("t1", Values({"A": VALUE}))[0].content for _ in range(2))
    assert first != second


@pytest.mark.parametrize("change", ["task", "name", "kind", "content", "short"])
def test_it_opens_nothing_that_was_moved_or_changed(change):
    (sealed,) = VAULT.seal("t1", Values({"A": VALUE}))
    flipped = bytes([sealed.content[-1] ^ 1])
    changes: dict[str, dict[str, Any]] = {
        "task": {},
        "name": {"name": "B"},
        "kind": {"kind": "file"},
        "content": {"content": sealed.content[:-1] + flipped},
        "short": {"content": b""},
    }
    moved = msgspec.structs.replace(sealed, **changes[change])
    with pytest.raises(SecretsUnreadable, match="is damaged") as caught:
        VAULT.open("t2" if change == "task" else "t1", [moved])
    assert VALUE not in str(caught.value)


def test_it_names_both_keys_when_another_one_sealed_it():
    other = Vault(b"1" * 32)
    with pytest.raises(SecretsUnreadable, match=f"{VAULT.key_id}.*{other.key_id}"):
        other.open("t1", VAULT.seal("t1", Values({"A": VALUE})))


def test_it_tells_bodies_apart_only_with_the_key():
    assert VAULT.digest(b"body") == Vault(bytes(32)).digest(b"body")
    assert VAULT.digest(b"body") != Vault(b"1" * 32).digest(b"body")


# ---- the key's file


@pytest.mark.parametrize("content", ["", "00", "zz" * 32, "00" * 33])
def test_it_does_not_start_with_a_damaged_key_and_leaves_it_be(tmp_path, content):
    path = tmp_path / "secrets.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StartError, match="64 hexadecimal digits"):
        Keyring(path)
    assert path.read_text() == content


def test_it_does_not_start_with_a_key_that_others_may_read(tmp_path):
    path = tmp_path / "secrets.key"
    path.write_text("00" * 32)
    path.chmod(0o640)
    with pytest.raises(StartError, match="mode 0600"):
        Keyring(path)


# ---- what is journalled and shown


def test_it_leaves_the_names_where_the_values_are_not_to_be():
    spec = TaskSpec("t1", "", secrets={"A": VALUE}, secret_files={"B": VALUE})
    bare = spec.without_secrets()
    assert (bare.secrets, bare.secret_files) == ({"A": ""}, {"B": ""})
    assert bare.has_secrets
    assert VALUE not in repr(bare)
