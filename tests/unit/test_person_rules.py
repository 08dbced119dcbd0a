"""Which names, passwords and roles are taken?"""

import pytest

from master.person_rules import (
    check_expiry,
    check_limited,
    check_name,
    check_password,
    check_role,
    check_token_name,
)
from wire.errors import InvalidValue

GOOD = "correct horse"


@pytest.mark.parametrize("name", ["a", "alice", "Alice.B_c-d", "alice@example.org", "x" * 63])
def test_it_takes_a_name(name):
    check_name(name)


@pytest.mark.parametrize("name", ["", "x" * 64, "al ice", "alice\n", "ålice", "a/b", "<b>", "\x00"])
def test_it_refuses_a_name_and_says_which_are_taken(name):
    with pytest.raises(InvalidValue, match="it takes 1 to 63 of") as refused:
        check_name(name)
    assert refused.value.field == "name"


@pytest.mark.parametrize("password", ["x" * 10, "x" * 1024, "зима близко", " " * 10])
def test_it_takes_a_password(password):
    check_password(password, "alice")


@pytest.mark.parametrize("password", ["", "x" * 9, "x" * 1025])
def test_it_refuses_a_password_by_its_length_without_repeating_it(password):
    with pytest.raises(InvalidValue, match="it takes 10 to 1024") as refused:
        check_password(password, "alice", field="new")
    assert refused.value.field == "new"
    assert not password or password not in refused.value.message


def test_it_refuses_the_name_as_a_password_in_whatever_case():
    with pytest.raises(InvalidValue, match="is the name"):
        check_password("ALICE@example.org", "alice@example.org")


@pytest.mark.parametrize("role", ["", "root", "Admin", "agent"])
def test_it_refuses_a_role_that_there_is_not(role):
    with pytest.raises(InvalidValue, match="viewer, operator, admin"):
        check_role(role)


def test_it_limits_operators_alone():
    check_limited("operator", "web*")
    check_limited("admin", None)
    for role in ("viewer", "admin"):
        with pytest.raises(InvalidValue) as refused:
            check_limited(role, "web*")
        assert refused.value.field == "hosts"


@pytest.mark.parametrize("name", ["", " deploy", "deploy ", "x" * 101, "a\nb", "\x1b[0m"])
def test_it_refuses_a_name_of_a_token_that_could_not_be_shown(name):
    check_token_name("deploy from the build server, höchstens")
    with pytest.raises(InvalidValue) as refused:
        check_token_name(name)
    assert refused.value.field == "name"


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan"), 1e12])
def test_it_refuses_an_expiry_that_is_none(seconds):
    check_expiry(None)
    check_expiry(3600.0)
    with pytest.raises(InvalidValue) as refused:
        check_expiry(seconds)
    assert refused.value.field == "expires_in"
