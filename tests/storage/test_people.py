"""People are added, changed and removed; and one admin stays."""

import gevent
import pytest

from master.people import Change
from master.storage import Storage
from tests.storage import cast
from tests.storage.cast import by
from tests.storage.crowd import PASSWORD, Crowd
from tests.support import until
from wire.errors import (
    Conflict,
    Forbidden,
    InvalidValue,
    NotFound,
    TooManyAttempts,
    Unauthenticated,
)
from wire.people import AddPerson, ChangePassword, ChangePerson, ListPeople
from wire.requests import Auth, ById, JustAuth


@pytest.fixture
def crowd(house, tmp_path):
    return Crowd(house, tmp_path)


def change(crowd, name, by=None, **values):
    asked = ChangePerson(Auth(), crowd.account(name).id, **values)
    return crowd.accounts.change_person(by or crowd.root, asked, cast.by())


# ---- adding


def test_it_adds_a_person_who_can_log_in(crowd):
    view = crowd.add("Alice", "admin")
    assert (view.name, view.role, view.hosts, view.disabled) == ("Alice", "admin", None, False)
    assert (view.last_login, view.sessions) == (None, 0)
    crowd.log_in("alice")
    seen = crowd.accounts.get_person(crowd.root, ById(Auth(), view.id))
    assert (seen.last_login, seen.sessions) == ("2027-01-15T08:00:00.000Z", 1)


def test_it_keeps_no_password(crowd, house):
    crowd.add("alice", "admin")
    assert PASSWORD not in str(house.sql("SELECT * FROM people"))


def test_it_takes_a_name_once_in_whatever_case(crowd):
    crowd.add("Alice", "viewer")
    with pytest.raises(Conflict, match="named Alice") as refused:
        crowd.add("aLICE", "viewer")
    assert refused.value.field == "name"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": "al ice"}),
        ("role", {"role": "root"}),
        ("password", {"password": "short"}),
        ("password", {"password": "long-enough-name", "name": "Long-Enough-Name"}),
        ("hosts", {"role": "admin", "hosts": "web01"}),
        ("hosts", {"hosts": "web["}),
        ("hosts", {"hosts": "nohost"}),
        ("hosts", {"hosts": "x" * 5000}),
    ],
)
def test_it_refuses_a_person_and_names_the_field(crowd, field, values):
    given = {"name": "otto", "role": "operator", "password": PASSWORD, **values}
    with pytest.raises(InvalidValue) as refused:
        crowd.accounts.add_person(crowd.root, AddPerson(Auth(), **given), by())
    assert refused.value.field == field
    assert crowd.accounts.get_people(crowd.root, ListPeople(Auth())).items == []


def test_it_lists_people_by_name_page_by_page(crowd):
    assert crowd.accounts.get_people(crowd.root, ListPeople(Auth())).items == []
    for name in ("carol", "Bob", "alice", "dave", "Eve"):
        crowd.add(name, "viewer")
    first = crowd.accounts.get_people(crowd.root, ListPeople(Auth(), limit=3))
    second = crowd.accounts.get_people(crowd.root, ListPeople(Auth(), 3, first.next))
    assert [view.name for view in first.items] == ["alice", "Bob", "carol"]
    assert [view.name for view in second.items] == ["dave", "Eve"]
    assert second.next is None


# ---- changing


def test_it_changes_what_is_given_and_leaves_the_rest(crowd):
    crowd.add("otto", "operator", "@env:staging")
    assert change(crowd, "otto", disabled=True).hosts == "@env:staging"
    assert change(crowd, "otto", disabled=False, hosts="web01").hosts == "web01"
    lifted = change(crowd, "otto", hosts="")
    assert (lifted.role, lifted.hosts, lifted.disabled) == ("operator", None, False)


def test_it_refuses_to_promote_somebody_whose_limit_would_mean_nothing(crowd):
    crowd.add("otto", "operator", "@env:staging")
    with pytest.raises(InvalidValue) as refused:
        change(crowd, "otto", role="admin")
    assert refused.value.field == "hosts"
    assert change(crowd, "otto", role="admin", hosts="").role == "admin"


def test_it_gives_a_new_password_and_ends_all_sessions(crowd):
    crowd.add("bob", "viewer")
    before = crowd.log_in("bob").secret
    change(crowd, "bob", password="a new password")
    with pytest.raises(Unauthenticated):
        crowd.by_token(before)
    with pytest.raises(Unauthenticated):
        crowd.log_in("bob")
    crowd.log_in("bob", "a new password")


def test_it_lets_a_disabled_person_in_by_nothing(crowd):
    crowd.add("otto", "operator")
    session = crowd.log_in("otto").secret
    token = (
        crowd.store.make_token("deploy", "operator", crowd.account("otto").id, act=by())
        .wait()
        .secret
    )
    assert crowd.by_token(token).name == "otto"

    change(crowd, "otto", disabled=True)

    for credential in (session, token):
        with pytest.raises(Unauthenticated):
            crowd.by_token(credential)
    with pytest.raises(Unauthenticated):
        crowd.log_in("otto")
    # When enabled again the token works, the session has ended for good.
    change(crowd, "otto", disabled=False)
    assert crowd.by_token(token).name == "otto"
    with pytest.raises(Unauthenticated):
        crowd.by_token(session)


def test_it_spares_the_session_of_an_admin_who_changes_themself(crowd):
    crowd.add("alice", "admin")
    other = crowd.log_in("alice").secret
    alice = crowd.here("alice")
    change(crowd, "alice", by=alice, password="a new password")
    (left,) = crowd.accounts.get_sessions(alice, JustAuth(Auth())).items
    assert (left.id, left.current) == (alice.session, True)
    with pytest.raises(Unauthenticated):
        crowd.by_token(other)


def test_it_demotes_in_the_middle_of_a_session(crowd):
    crowd.add("alice", "admin")
    crowd.add("otto", "admin")
    secret = crowd.log_in("otto").secret
    assert crowd.by_token(secret, "admin").role == "admin"
    change(crowd, "otto", role="viewer")
    with pytest.raises(Forbidden, match="otto is viewer"):
        crowd.by_token(secret, "operator")


def test_it_names_a_person_that_there_is_not(crowd):
    with pytest.raises(NotFound):
        crowd.accounts.get_person(crowd.root, ById(Auth(), "nobody"))
    with pytest.raises(NotFound):
        crowd.accounts.remove_person(crowd.root, ById(Auth(), "nobody"), by())
    with pytest.raises(NotFound):
        crowd.accounts.change_person(
            crowd.root, ChangePerson(Auth(), "nobody", disabled=True), by()
        )


def test_it_removes_a_person_with_sessions_and_tokens(crowd, house):
    crowd.add("otto", "operator")
    session = crowd.log_in("otto").secret
    otto = crowd.account("otto").id
    token = crowd.store.make_token("deploy", "operator", otto, act=by()).wait().secret
    by_token = crowd.accounts.log_in_by_token(crowd.by_token(token), JustAuth(Auth()), by()).secret
    crowd.accounts.remove_person(crowd.root, ById(Auth(), otto), by())
    for credential in (session, token, by_token):
        with pytest.raises(Unauthenticated):
            crowd.by_token(credential)
    assert house.sql("SELECT count(*) FROM sessions") == [(0,)]
    crowd.add("otto", "viewer")  # another one, who bears the name


# ---- one's own password


def test_it_changes_ones_own_password_and_ends_all_other_sessions(crowd):
    crowd.add("bob", "viewer")
    other = crowd.log_in("bob").secret
    bob = crowd.here("bob")
    crowd.accounts.change_password(bob, ChangePassword(Auth(), PASSWORD, "a new password"), by())
    with pytest.raises(Unauthenticated):
        crowd.by_token(other)
    assert len(crowd.accounts.get_sessions(bob, JustAuth(Auth())).items) == 1
    crowd.log_in("bob", "a new password")


def test_it_wants_the_old_password_and_slows_down_who_guesses(crowd):
    crowd.add("bob", "viewer")
    bob = crowd.here("bob")
    for _ in range(5):
        with pytest.raises(InvalidValue) as refused:
            crowd.accounts.change_password(
                bob, ChangePassword(Auth(), "wrong", "a new password"), by()
            )
        assert refused.value.field == "old"
    with pytest.raises(TooManyAttempts):
        crowd.accounts.change_password(
            bob, ChangePassword(Auth(), PASSWORD, "a new password"), by()
        )


def test_it_refuses_a_bad_new_password_before_looking_at_the_old_one(crowd):
    crowd.add("bob", "viewer")
    with pytest.raises(InvalidValue) as refused:
        crowd.accounts.change_password(
            crowd.here("bob"), ChangePassword(Auth(), "wrong", "bob"), by()
        )
    assert refused.value.field == "new"


def test_it_lets_no_token_change_a_password(crowd):
    crowd.add("bob", "viewer")
    token = (
        crowd.store.make_token("look", "viewer", crowd.account("bob").id, act=by()).wait().secret
    )
    by_token = crowd.by_token(token)
    session = crowd.accounts.log_in_by_token(by_token, JustAuth(Auth()), by()).secret
    for person in (by_token, crowd.by_token(session), crowd.root):
        with pytest.raises(Forbidden):
            asked = ChangePassword(Auth(), PASSWORD, "a new password")
            crowd.accounts.change_password(person, asked, by())


def test_it_refuses_a_change_from_a_password_that_is_no_more(crowd):
    crowd.add("bob", "viewer")
    bob = crowd.account("bob")
    crowd.store.change(bob.id, Change(password="another hash"), act=by()).wait()
    with pytest.raises(Conflict):
        crowd.store.change_password(bob.id, bob.password, "hash", "", by()).wait()


# ---- the last admin


def test_it_keeps_the_last_admin(crowd):
    crowd.add("alice", "admin")
    crowd.add("otto", "operator")
    for values in ({"role": "viewer"}, {"disabled": True}):
        with pytest.raises(Conflict, match="the last admin"):
            change(crowd, "alice", **values)
    with pytest.raises(Conflict, match="the last admin"):
        crowd.accounts.remove_person(crowd.root, ById(Auth(), crowd.account("alice").id), by())
    assert crowd.account("alice").is_admin


def test_it_does_not_count_an_admin_who_may_not_log_in(crowd):
    crowd.add("alice", "admin")
    crowd.add("carol", "admin")
    change(crowd, "carol", disabled=True)
    with pytest.raises(Conflict):
        change(crowd, "alice", disabled=True)
    change(crowd, "carol", disabled=False)
    change(crowd, "alice", disabled=True)
    with pytest.raises(Conflict):
        change(crowd, "carol", role="operator")


def test_it_keeps_one_of_two_admins_who_remove_each_other_at_once(crowd):
    """Both changes in one transaction of one master."""
    ids = [crowd.add(name, "admin").id for name in ("alice", "carol")]
    outcomes: list[object] = []
    for id in ids:
        crowd.store.remove(id, by()).then(outcomes.append)
    until(lambda: len(outcomes) == 2, sleep=gevent.sleep)
    assert [isinstance(one, Conflict) for one in outcomes].count(True) == 1
    assert crowd.house.sql("SELECT count(*) FROM people WHERE role = 'admin'") == [(1,)]


def test_it_keeps_one_of_two_admins_whom_two_processes_disable_at_once(crowd, house, clock):
    """Two stores over one file, as a master and a command line beside it have them."""
    ids = [crowd.add(name, "admin").id for name in ("alice", "carol")]
    beside = Storage(house.path, clock=clock)
    try:
        outcomes: list[object] = []
        for people, id in zip((crowd.store, beside.people), ids, strict=True):
            people.change(id, Change(disabled=True), act=by()).then(outcomes.append)
        until(lambda: len(outcomes) == 2, sleep=gevent.sleep)
    finally:
        beside.close()
    assert [isinstance(one, Conflict) for one in outcomes].count(True) == 1
    assert house.sql("SELECT count(*) FROM people WHERE NOT disabled") == [(1,)]
