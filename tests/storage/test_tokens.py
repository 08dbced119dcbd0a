"""API tokens: made, judged, listed, expired and revoked."""

import hashlib
import sqlite3

import pytest

from master.people import Change
from master.tokens import ENDED_KEPT_S
from tests.storage.cast import by
from tests.storage.crowd import DAY, HOUR, Crowd
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound, Unauthenticated
from wire.people import AddToken, ListTokens
from wire.requests import Auth, ById, JustAuth


@pytest.fixture
def crowd(house, tmp_path):
    crowd = Crowd(house, tmp_path)
    crowd.add("alice", "admin")
    crowd.add("otto", "operator", "@env:staging")
    crowd.add("bob", "viewer")
    return crowd


def add(crowd, person, name="deploy", role="viewer", expires_in=None):
    return crowd.accounts.add_token(person, AddToken(Auth(), name, role, expires_in), by())


def listed(crowd, person, **asked):
    return crowd.accounts.get_tokens(person, ListTokens(Auth(), **asked)).items


def test_it_shows_the_secret_once_and_keeps_its_hash(crowd, house):
    made = add(crowd, crowd.here("otto"), "build server", "operator")
    assert made.secret.startswith("mst_")
    assert len(made.secret) == 47
    assert made.secret not in str(house.sql("SELECT * FROM tokens"))
    token = made.token
    assert (token.name, token.role, token.acts_as) == ("build server", "operator", "operator")
    assert (token.owner, token.state, token.last_used) == ("otto", "active", None)


def test_it_acts_in_the_name_and_within_the_limit_of_its_owner(crowd):
    person = crowd.by_token(add(crowd, crowd.here("otto"), role="operator").secret)
    assert (person.name, person.role, person.hosts) == ("otto", "operator", "@env:staging")
    looking = crowd.by_token(add(crowd, crowd.here("otto"), role="viewer").secret)
    assert (looking.role, looking.hosts) == ("viewer", None)


def test_it_makes_no_token_of_a_higher_role_than_ones_own(crowd):
    for role in ("operator", "admin"):
        with pytest.raises(Forbidden):
            add(crowd, crowd.here("bob"), role=role)
    assert add(crowd, crowd.here("alice"), role="admin").token.role == "admin"


def test_it_falls_with_the_role_of_its_owner_and_rises_no_higher_than_its_own(crowd):
    secret = add(crowd, crowd.here("alice"), role="admin").secret
    crowd.add("carol", "admin")
    alice = crowd.account("alice").id
    crowd.store.change(alice, Change(role="viewer"), act=by()).wait()
    crowd.gate.forget()
    assert crowd.by_token(secret).role == "viewer"
    (token,) = listed(crowd, crowd.here("alice"))
    assert (token.role, token.acts_as) == ("admin", "viewer")
    low = add(crowd, crowd.here("alice"), "low", "viewer").secret
    crowd.store.change(alice, Change(role="admin"), act=by()).wait()
    crowd.gate.forget()
    assert crowd.by_token(low).role == "viewer"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": ""}),
        ("role", {"role": "root"}),
        ("expires_in", {"expires_in": 0.0}),
        ("expires_in", {"expires_in": -5.0}),
    ],
)
def test_it_refuses_a_token_and_names_the_field(crowd, field, values):
    with pytest.raises(InvalidValue) as refused:
        add(crowd, crowd.here("alice"), **values)
    assert refused.value.field == field


def test_it_lets_only_an_admins_token_make_tokens(crowd):
    """A token that leaked shall not live on in one that it has made."""
    for name, role in (("otto", "operator"), ("bob", "viewer")):
        made = add(crowd, crowd.here(name), role=role)
        by_token = crowd.by_token(made.secret)
        session = crowd.accounts.log_in_by_token(by_token, JustAuth(Auth()), by()).secret
        for person in (by_token, crowd.by_token(session)):
            with pytest.raises(Forbidden):
                add(crowd, person, role="viewer")
    assert add(crowd, crowd.root, "another", "admin").token.owner is None


def test_it_ends_at_its_expiry(crowd, clock):
    made = add(crowd, crowd.here("bob"), expires_in=2 * HOUR)
    assert made.token.expires_at == "2027-01-15T10:00:00.000Z"
    clock.now += 2 * HOUR - 1
    crowd.by_token(made.secret)
    clock.now += 1
    crowd.gate.forget()
    with pytest.raises(Unauthenticated, match="expired"):
        crowd.by_token(made.secret)
    (token,) = listed(crowd, crowd.here("bob"))
    assert (token.state, token.acts_as) == ("expired", None)


def test_it_tells_when_a_token_was_last_used(crowd, clock):
    made = add(crowd, crowd.here("bob"))
    clock.now += HOUR
    crowd.by_token(made.secret)
    crowd.gate.save_used()
    (token,) = listed(crowd, crowd.here("bob"))
    assert token.last_used == "2027-01-15T09:00:00.000Z"


def test_it_revokes_ones_own_and_only_an_admin_those_of_others(crowd):
    made = add(crowd, crowd.here("otto"), role="operator")
    with pytest.raises(NotFound):
        crowd.accounts.revoke_token(crowd.here("bob"), ById(Auth(), made.token.id), by())
    crowd.by_token(made.secret)
    crowd.accounts.revoke_token(crowd.here("otto"), ById(Auth(), made.token.id), by())
    with pytest.raises(Unauthenticated):
        crowd.by_token(made.secret)
    other = add(crowd, crowd.here("otto"), role="operator")
    crowd.accounts.revoke_token(crowd.here("alice"), ById(Auth(), other.token.id), by())
    with pytest.raises(Unauthenticated):
        crowd.by_token(other.secret)
    states = {token.state for token in listed(crowd, crowd.here("otto"))}
    assert states == {"revoked"}


def test_it_lets_a_token_revoke_itself_but_no_other_of_nobody(crowd):
    first, second = (
        crowd.store.make_token(name, "viewer", act=by()).wait() for name in ("one", "two")
    )
    with pytest.raises(NotFound):
        crowd.accounts.revoke_token(crowd.by_token(first.secret), ById(Auth(), second.id), by())
    crowd.accounts.revoke_token(crowd.by_token(first.secret), ById(Auth(), first.id), by())
    with pytest.raises(Unauthenticated):
        crowd.by_token(first.secret)
    crowd.by_token(second.secret)


def test_it_repeats_a_revocation_without_changing_its_time(crowd, clock):
    made = add(crowd, crowd.here("bob"))
    crowd.store.revoke_token(made.token.id, None, by()).wait()
    clock.now += HOUR
    crowd.store.revoke_token(made.token.id, None, by()).wait()
    (token,) = listed(crowd, crowd.here("bob"))
    assert token.revoked_at == "2027-01-15T08:00:00.000Z"


def test_it_takes_no_join_token_for_an_api_token(crowd, house):
    with pytest.raises(Unauthenticated):
        crowd.by_token(house.join_token)


def test_it_still_takes_a_token_of_before_there_was_a_prefix(crowd, house):
    crowd.store.make_token("old", "operator", act=by()).wait()
    secret = "k3yWithout-a-prefix_0123456789"
    connection = sqlite3.connect(house.path)
    with connection:
        connection.execute(
            "UPDATE tokens SET secret_sha256 = ? WHERE label = 'old'",
            (hashlib.sha256(secret.encode()).hexdigest(),),
        )
    connection.close()
    assert crowd.by_token(secret).name == "old"


def test_it_lists_ones_own_newest_first_and_for_an_admin_all(crowd, clock):
    for number in range(3):
        clock.now += 1
        add(crowd, crowd.here("bob"), f"bob{number}")
        add(crowd, crowd.here("otto"), f"otto{number}")
    bob = crowd.here("bob")
    first = crowd.accounts.get_tokens(bob, ListTokens(Auth(), limit=2))
    second = crowd.accounts.get_tokens(bob, ListTokens(Auth(), limit=2, cursor=first.next))
    assert [token.name for token in first.items + second.items] == ["bob2", "bob1", "bob0"]
    assert second.next is None
    with pytest.raises(Forbidden):
        crowd.accounts.get_tokens(bob, ListTokens(Auth(), all=True))
    everybodys = listed(crowd, crowd.here("alice"), all=True)
    assert len(everybodys) == 7
    assert (everybodys[-1].name, everybodys[-1].owner) == ("root", None)


def test_it_shows_a_token_of_nobody_nothing_but_itself(crowd):
    add(crowd, crowd.root, "another", "viewer")
    (token,) = listed(crowd, crowd.root)
    assert token.name == "root"


def test_it_makes_no_more_tokens_than_a_person_can_look_through(crowd, clock, monkeypatch):
    monkeypatch.setattr("master.tokens.MOST_OF_OWNER", 5)
    otto = crowd.account("otto").id
    for _ in range(5):
        last = crowd.store.make_token("deploy", "viewer", otto, act=by()).wait()
    with pytest.raises(Conflict, match="there are 5"):
        add(crowd, crowd.here("otto"))
    crowd.accounts.log_in_by_token(crowd.by_token(last.secret), JustAuth(Auth()), by())
    crowd.store.revoke_token(last.id, None, by()).wait()
    with pytest.raises(Conflict):
        add(crowd, crowd.here("otto"))
    clock.now += ENDED_KEPT_S + DAY
    add(crowd, crowd.here("otto"))
