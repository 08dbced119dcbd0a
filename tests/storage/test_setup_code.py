"""The one-time code: makes the first admin, and mends one who lost the password."""

import stat

import pytest

from master import setup_file
from master.people import Change
from tests.storage.cast import by
from tests.storage.crowd import CAFE, HOUR, PASSWORD, Crowd
from wire.errors import InvalidValue, TooManyAttempts, Unauthenticated
from wire.people import GetDoors, SetUp
from wire.requests import Auth


@pytest.fixture
def crowd(house, tmp_path):
    return Crowd(house, tmp_path)


def set_up(crowd, code, name="alice", password=PASSWORD, address=CAFE):
    auth = Auth(address=address)
    return crowd.accounts.set_up(
        crowd.gate.admit(auth, "anyone"), SetUp(auth, code, name, password), by()
    )


def is_open(crowd):
    return crowd.accounts.get_doors(crowd.gate.admit(Auth(), "anyone"), GetDoors(Auth())).setup


def test_it_makes_the_first_admin_and_logs_them_in(crowd):
    code = crowd.store.make_setup_code(None, by()).wait()
    assert is_open(crowd)
    opened = set_up(crowd, code)
    alice = crowd.by_token(opened.secret, "admin")
    assert (alice.name, alice.role, alice.address) == ("alice", "admin", "192.0.2.7")
    crowd.log_in("alice")


def test_it_works_once(crowd):
    code = crowd.store.make_setup_code(None, by()).wait()
    set_up(crowd, code)
    assert not is_open(crowd)
    with pytest.raises(Unauthenticated):
        set_up(crowd, code, "mallory")


def test_it_may_be_typed_without_dashes_and_in_small_letters(crowd):
    code = crowd.store.make_setup_code(None, by()).wait()
    assert len(code) == 23
    set_up(crowd, f" {code.lower().replace('-', '')} ")


@pytest.mark.parametrize("code", ["", "AAAAA-AAAAA-AAAAA-AAAAA", "x" * 100_000, "\x00", "é"])
def test_it_refuses_another_code(crowd, code):
    with pytest.raises(Unauthenticated):
        set_up(crowd, code)
    crowd.store.make_setup_code(None, by()).wait()
    with pytest.raises(Unauthenticated):
        set_up(crowd, code)


def test_it_slows_down_who_guesses(crowd):
    crowd.store.make_setup_code(None, by()).wait()
    for _ in range(40):
        with pytest.raises(Unauthenticated):
            set_up(crowd, "AAAAA")
    with pytest.raises(TooManyAttempts):
        set_up(crowd, "AAAAA")


@pytest.mark.parametrize(
    ("field", "values"), [("name", {"name": "a b"}), ("password", {"password": "short"})]
)
def test_it_stays_good_when_name_or_password_is_refused(crowd, field, values):
    code = crowd.store.make_setup_code(None, by()).wait()
    with pytest.raises(InvalidValue) as refused:
        set_up(crowd, code, **values)
    assert refused.value.field == field
    set_up(crowd, code)


def test_it_gives_an_admin_who_is_known_a_new_password(crowd):
    crowd.add("alice", "operator", "@env:staging")
    before = crowd.log_in("alice").secret
    crowd.store.change(crowd.account("alice").id, Change(disabled=True), act=by()).wait()
    code = crowd.store.make_setup_code(HOUR, by()).wait()

    opened = set_up(crowd, code, "ALICE", "a new password")

    assert (opened.me.role, opened.me.hosts) == ("admin", None)
    assert crowd.account("alice").is_admin
    crowd.log_in("alice", "a new password")
    with pytest.raises(Unauthenticated):
        crowd.by_token(before)


def test_it_is_void_after_its_hour(crowd, clock):
    code = crowd.store.make_setup_code(HOUR, by()).wait()
    clock.now += HOUR
    assert not is_open(crowd)
    with pytest.raises(Unauthenticated):
        set_up(crowd, code)


def test_it_makes_the_code_before_void(crowd):
    first = crowd.store.make_setup_code(None, by()).wait()
    second = crowd.store.make_setup_code(HOUR, by()).wait()
    with pytest.raises(Unauthenticated):
        set_up(crowd, first)
    set_up(crowd, second)


def test_it_makes_the_code_of_the_first_start_void_when_somebody_was_added_otherwise(crowd):
    code = crowd.store.make_setup_code(None, by()).wait()
    crowd.add("alice", "admin")
    assert not is_open(crowd)
    with pytest.raises(Unauthenticated):
        set_up(crowd, code)


# ---- the file


def test_it_offers_a_code_in_a_private_file_until_it_is_used(crowd, tmp_path):
    setup_file.offer(crowd.store, tmp_path)
    file = tmp_path / "setup-code"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code = file.read_text().strip()
    setup_file.offer(crowd.store, tmp_path)  # the next start leaves it as it is
    assert file.read_text().strip() == code
    set_up(crowd, code)
    assert not file.exists()


def test_it_offers_another_when_the_file_is_gone_and_none_when_somebody_is_there(crowd, tmp_path):
    setup_file.offer(crowd.store, tmp_path)
    file = tmp_path / "setup-code"
    first = file.read_text()
    file.unlink()
    setup_file.offer(crowd.store, tmp_path)
    assert file.read_text() != first
    crowd.add("alice", "admin")
    setup_file.offer(crowd.store, tmp_path)
    assert not file.exists()
