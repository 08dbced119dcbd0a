"""The gate: whom it lets in, what it remembers, and when it forgets."""

import gevent
import pytest

from tests.storage.cast import by
from tests.storage.crowd import CAFE, Crowd
from wire.errors import Forbidden, Unauthenticated
from wire.requests import Auth


@pytest.fixture
def crowd(house, tmp_path):
    return Crowd(house, tmp_path)


def test_it_asks_the_store_once_for_many_calls(crowd, monkeypatch):
    secret = crowd.store.make_token("deploy", "viewer", act=by()).wait().secret
    crowd.by_token(secret)
    monkeypatch.setattr(crowd.store, "holder", _never)
    assert crowd.gate.admit(Auth(secret, CAFE), "viewer").address == CAFE


def _never(*_):
    raise AssertionError("the store was asked")


def test_it_forgets_whom_it_knew_at_a_change(crowd):
    made = crowd.store.make_token("deploy", "viewer", act=by()).wait()
    crowd.by_token(made.secret)
    crowd.store.revoke_token(made.id, None, by()).wait()
    crowd.gate.forget()
    with pytest.raises(Unauthenticated):
        crowd.by_token(made.secret)


def test_it_does_not_remember_what_it_read_before_a_change(crowd, monkeypatch):
    """A call that was asking the store while the token was revoked must not bring it back."""
    made = crowd.store.make_token("deploy", "viewer", act=by()).wait()
    ask = crowd.store.holder

    class Late:
        def __init__(self, *asked):
            self.verb = ask(*asked)

        def wait(self):
            found = self.verb.wait()
            crowd.store.revoke_token(made.id, None, by()).wait()
            crowd.gate.forget()
            return found

    monkeypatch.setattr(crowd.store, "holder", Late)
    assert crowd.by_token(made.secret).name == "deploy"  # it was good when the call came
    monkeypatch.setattr(crowd.store, "holder", ask)
    with pytest.raises(Unauthenticated):
        crowd.by_token(made.secret)


@pytest.mark.parametrize("secret", [None, "", "x" * 201, "mst_unknown", "mss_unknown", "\ud800"])
def test_it_lets_nobody_in_without_a_good_credential(crowd, secret):
    with pytest.raises(Unauthenticated):
        crowd.by_token(secret)


def test_it_takes_neither_a_hash_nor_an_id_for_the_secret(crowd, house):
    crowd.add("bob", "viewer")
    crowd.log_in("bob")
    known = [*house.sql("SELECT id, secret_sha256 FROM sessions")[0]]
    for text in known + [f"mss_{one}" for one in known]:
        with pytest.raises(Unauthenticated):
            crowd.by_token(text)


def test_it_needs_the_role_at_least(crowd):
    secret = crowd.store.make_token("look", "viewer", act=by()).wait().secret
    with pytest.raises(Forbidden, match="needs the role operator, and look is viewer"):
        crowd.by_token(secret, "operator")


def test_it_lets_anyone_do_what_needs_nobody(crowd):
    nobody = crowd.gate.admit(Auth(None, CAFE), "anyone")
    assert (nobody.kind, nobody.name, nobody.address) == ("nobody", "", CAFE)


def test_it_writes_down_what_was_used_once_for_many_calls(crowd, house, monkeypatch):
    secret = crowd.store.make_token("deploy", "viewer", act=by()).wait().secret
    for _ in range(100):
        crowd.by_token(secret)
    crowd.gate.save_used()
    (used,) = house.sql("SELECT used_at FROM tokens WHERE label = 'deploy'")
    assert used == (house.clock.now,)
    monkeypatch.setattr(crowd.store, "note_used", _never)
    crowd.gate.save_used()  # nothing was used since


def test_it_lets_many_ask_at_once(crowd):
    secret = crowd.store.make_token("deploy", "viewer", act=by()).wait().secret
    asking = [gevent.spawn(crowd.by_token, secret) for _ in range(200)]
    gevent.joinall(asking, timeout=60)
    assert {one.get().name for one in asking} == {"deploy"}
