"""Sessions: opened by a password or a token, used, and ended in every way."""

import pytest

from master.people import Change
from master.sessions import REFUSED
from tests.storage.cast import by
from tests.storage.crowd import CAFE, DAY, HOME, HOUR, PASSWORD, SPAN, Crowd
from wire.errors import Conflict, Forbidden, NotFound, TooManyAttempts, Unauthenticated
from wire.people import LogOutEverywhere
from wire.requests import Auth, ById, JustAuth


@pytest.fixture
def crowd(house, tmp_path):
    crowd = Crowd(house, tmp_path)
    crowd.add("alice", "admin")
    crowd.add("otto", "operator", "@env:staging")
    crowd.add("bob", "viewer")
    return crowd


def is_in(crowd, secret):
    crowd.gate.forget()
    try:
        crowd.by_token(secret)
    except Unauthenticated:
        return False
    return True


# ---- logging in


def test_it_opens_a_session_that_says_whose_it_is(crowd, house):
    opened = crowd.log_in("OTTO")
    assert opened.secret.startswith("mss_")
    assert (opened.me.name, opened.me.role, opened.me.hosts) == ("otto", "operator", "@env:staging")
    otto = crowd.by_token(opened.secret)
    assert (otto.kind, otto.address, otto.person) == ("session", HOME, crowd.account("otto").id)
    assert otto.credential == otto.session
    assert opened.secret not in str(house.sql("SELECT * FROM sessions"))


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("bob", "wrong password"),
        ("bob", ""),
        ("bob", "x" * 5000),
        ("nobody", PASSWORD),
        ("no name at all", PASSWORD),
        ("", PASSWORD),
    ],
)
def test_it_refuses_everybody_else_with_one_sentence(crowd, name, password):
    with pytest.raises(Unauthenticated) as refused:
        crowd.log_in(name, password)
    assert refused.value.message == REFUSED


def test_it_refuses_a_disabled_person_with_the_same_sentence(crowd):
    crowd.store.change(crowd.account("bob").id, Change(disabled=True), act=by()).wait()
    with pytest.raises(Unauthenticated) as refused:
        crowd.log_in("bob")
    assert refused.value.message == REFUSED


def test_it_makes_a_new_session_at_each_log_in_and_ends_the_browsers_old_one(crowd):
    first = crowd.log_in("bob").secret
    second = crowd.log_in("bob", token=first).secret
    assert first != second
    assert not is_in(crowd, first)
    assert is_in(crowd, second)


def test_it_opens_none_for_a_password_that_was_changed_since_it_was_looked_at(crowd):
    verified = crowd.account("bob")
    crowd.store.change(verified.id, Change(password="another hash"), act=by()).wait()
    with pytest.raises(Unauthenticated):
        crowd.store.log_in(verified, None, HOME, None, SPAN, by()).wait()
    crowd.store.remove(verified.id, by()).wait()
    with pytest.raises(Unauthenticated):
        crowd.store.log_in(verified, None, HOME, None, SPAN, by()).wait()


def test_it_keeps_the_password_by_todays_parameters_after_a_log_in(crowd):
    verified = crowd.account("bob")
    crowd.store.log_in(verified, "a stronger hash", HOME, None, SPAN, by()).wait()
    assert crowd.account("bob").password == "a stronger hash"


def test_it_slows_down_who_fails_again_and_again(crowd, clock):
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            crowd.log_in("bob", "wrong password", address=CAFE)
    with pytest.raises(TooManyAttempts) as slowed:
        crowd.log_in("bob", address=CAFE)
    assert slowed.value.details == {"retry_after_s": 1}
    clock.now += 1
    crowd.log_in("bob", address=CAFE)


# ---- ending


def test_it_ends_a_session_that_was_not_used_for_long(crowd, clock):
    used, unused = crowd.log_in("bob").secret, crowd.log_in("bob").secret
    clock.now += 8 * HOUR
    assert is_in(crowd, used)
    crowd.gate.save_used()
    clock.now += 8 * HOUR
    assert is_in(crowd, used)
    assert not is_in(crowd, unused)


def test_it_ends_a_session_at_the_latest_after_its_life(crowd, clock):
    secret = crowd.log_in("bob").secret
    while clock.now < 1_800_000_000.0 + 7 * DAY - 8 * HOUR:
        clock.now += 8 * HOUR
        assert is_in(crowd, secret)
        crowd.gate.save_used()
    clock.now += 8 * HOUR
    assert not is_in(crowd, secret)


def test_it_ends_the_session_that_logs_out_and_no_other(crowd):
    other = crowd.log_in("bob").secret
    mine = crowd.log_in("bob").secret
    crowd.accounts.log_out(crowd.by_token(mine), JustAuth(Auth()), by())
    assert not is_in(crowd, mine)
    assert is_in(crowd, other)


def test_it_logs_out_everywhere(crowd):
    secrets = [crowd.log_in("bob").secret for _ in range(3)]
    ottos = crowd.log_in("otto").secret
    crowd.accounts.log_out_everywhere(crowd.by_token(secrets[0]), LogOutEverywhere(Auth()), by())
    assert [is_in(crowd, secret) for secret in [*secrets, ottos]] == [False, False, False, True]


def test_it_lets_an_admin_end_the_sessions_of_others_and_nobody_else(crowd):
    secret = crowd.log_in("bob").secret
    asked = LogOutEverywhere(Auth(), crowd.account("bob").id)
    with pytest.raises(Forbidden):
        crowd.accounts.log_out_everywhere(crowd.here("otto"), asked, by())
    assert is_in(crowd, secret)
    crowd.accounts.log_out_everywhere(crowd.here("alice"), asked, by())
    assert not is_in(crowd, secret)
    with pytest.raises(NotFound):
        crowd.accounts.log_out_everywhere(crowd.root, LogOutEverywhere(Auth(), "nobody"), by())


def test_it_ends_one_of_ones_own_sessions_and_none_of_others(crowd):
    bob, otto = crowd.here("bob"), crowd.here("otto")
    lost = crowd.log_in("bob").secret
    lost_id = crowd.by_token(lost).session
    with pytest.raises(NotFound):
        crowd.accounts.end_session(otto, ById(Auth(), lost_id), by())
    crowd.accounts.end_session(bob, ById(Auth(), lost_id), by())
    assert not is_in(crowd, lost)
    with pytest.raises(NotFound):
        crowd.accounts.end_session(bob, ById(Auth(), lost_id), by())


def test_it_lists_ones_own_sessions_with_what_a_person_recognizes_them_by(crowd, clock):
    crowd.here("otto")
    crowd.log_in("bob", address=CAFE)
    clock.now += 60
    bob = crowd.here("bob")
    page = crowd.accounts.get_sessions(bob, JustAuth(Auth()))
    shown = [(one.address, one.current) for one in page.items]
    assert shown == [(HOME, True), (CAFE, False)]
    assert page.items[1].created_at == "2027-01-15T08:00:00.000Z"
    assert page.items[1].expires_at == "2027-01-22T08:00:00.000Z"


def test_it_keeps_so_many_sessions_of_a_person_and_ends_the_least_used(
    crowd, clock, house, monkeypatch
):
    monkeypatch.setattr("master.sessions.MOST_OF_OWNER", 5)
    first = crowd.log_in("bob").secret
    for _ in range(4):
        clock.now += 1
        crowd.store.log_in(crowd.account("bob"), None, HOME, None, SPAN, by()).wait()
    assert is_in(crowd, first)
    crowd.gate.save_used()
    crowd.log_in("bob")
    assert house.sql("SELECT count(*) FROM sessions") == [(5,)]
    assert is_in(crowd, first)


def test_it_forgets_sessions_that_have_expired(crowd, clock, house):
    crowd.here("bob")
    clock.now += 8 * DAY
    crowd.here("otto")
    assert house.sql("SELECT count(*) FROM sessions") == [(1,)]


# ---- opened by a token


def test_it_opens_a_session_that_is_worth_what_the_token_is(crowd):
    made = crowd.store.make_token("deploy", "viewer", crowd.account("otto").id, act=by()).wait()
    opened = crowd.accounts.log_in_by_token(crowd.by_token(made.secret), JustAuth(Auth()), by())
    person = crowd.by_token(opened.secret)
    assert (person.name, person.role, person.kind) == ("otto", "viewer", "token")
    assert person.credential == made.id != person.session
    assert (opened.me.kind, opened.me.role) == ("token", "viewer")


def test_it_ends_with_the_token_that_opened_it(crowd, clock):
    revoked = crowd.store.make_token(
        "deploy", "operator", crowd.account("otto").id, act=by()
    ).wait()
    expiring = crowd.store.make_token("expiring", "admin", None, 2 * HOUR, act=by()).wait()
    sessions = [
        crowd.accounts.log_in_by_token(crowd.by_token(made.secret), JustAuth(Auth()), by()).secret
        for made in (revoked, expiring)
    ]
    assert all(is_in(crowd, secret) for secret in sessions)
    crowd.store.revoke_token(revoked.id, None, by()).wait()
    assert [is_in(crowd, secret) for secret in sessions] == [False, True]
    clock.now += 2 * HOUR
    assert [is_in(crowd, secret) for secret in sessions] == [False, False]


def test_it_opens_no_session_from_a_session(crowd):
    with pytest.raises(Conflict):
        crowd.accounts.log_in_by_token(crowd.here("bob"), JustAuth(Auth()), by())


def test_it_opens_none_for_a_token_that_was_revoked_meanwhile(crowd):
    made = crowd.store.make_token("deploy", "admin", act=by()).wait()
    person = crowd.by_token(made.secret)
    crowd.store.revoke_token(made.id, None, by()).wait()
    with pytest.raises(Unauthenticated):
        crowd.accounts.log_in_by_token(person, JustAuth(Auth()), by())


def test_it_lets_a_token_of_nobody_see_and_end_its_own_sessions(crowd):
    opened = [
        crowd.accounts.log_in_by_token(crowd.root, JustAuth(Auth()), by()).secret for _ in range(3)
    ]
    mine = crowd.by_token(opened[0])
    listed = crowd.accounts.get_sessions(mine, JustAuth(Auth())).items
    assert [one.current for one in listed].count(True) == 1
    assert len(listed) == 3
    crowd.accounts.end_session(mine, ById(Auth(), crowd.by_token(opened[1]).session), by())
    assert [is_in(crowd, secret) for secret in opened] == [True, False, True]
    crowd.accounts.log_out_everywhere(mine, LogOutEverywhere(Auth()), by())
    assert [is_in(crowd, secret) for secret in opened] == [False, False, False]


def test_it_has_no_session_of_a_token_to_log_out(crowd):
    with pytest.raises(Conflict):
        crowd.accounts.log_out(crowd.root, JustAuth(Auth()), by())
