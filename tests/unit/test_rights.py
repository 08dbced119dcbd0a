"""What does a role allow, and what is a credential worth?"""

import pytest

from master.rights import (
    ROLES,
    Owner,
    Person,
    covers,
    limit_of,
    lower,
    person_of_token,
)


def test_it_lets_each_role_do_what_those_before_it_may():
    may = {role: [least for least in ROLES if covers(role, least)] for role in ROLES}
    assert may == {
        "viewer": ["viewer"],
        "operator": ["viewer", "operator"],
        "admin": ["viewer", "operator", "admin"],
    }


@pytest.mark.parametrize(
    ("own", "persons", "worth"),
    [
        ("admin", "viewer", "viewer"),
        ("viewer", "admin", "viewer"),
        ("operator", "admin", "operator"),
        ("admin", "operator", "operator"),
        ("admin", "admin", "admin"),
    ],
)
def test_it_takes_the_lower_role_of_a_token_and_its_owner(own, persons, worth):
    assert lower(own, persons) == worth
    person = person_of_token("t1", "deploy", own, "p1", "alice", persons, None)
    assert (person.name, person.role, person.kind) == ("alice", worth, "token")


def test_it_takes_over_the_limit_of_an_owner_who_is_an_operator():
    acting = person_of_token("t1", "deploy", "operator", "p1", "otto", "operator", "@env:staging")
    assert acting.hosts == "@env:staging"
    seeing = person_of_token("t1", "look", "viewer", "p1", "otto", "operator", "@env:staging")
    assert seeing.hosts is None


def test_it_limits_operators_alone():
    assert [limit_of(role, "web*") for role in ROLES] == [None, "web*", None]


def test_it_takes_a_token_of_nobody_at_its_word():
    person = person_of_token("t1", "demo", "admin", None, "", "", None)
    assert (person.name, person.role, person.person) == ("demo", "admin", None)
    assert person.owner == Owner(token="t1")


def test_it_owns_as_a_person_whatever_credential_they_came_by():
    alice = Person("alice", "viewer", kind="session", credential="s1", person="p1")
    by_token = person_of_token("t1", "deploy", "viewer", "p1", "alice", "viewer", None)
    assert alice.owner == by_token.owner == Owner(person="p1")
