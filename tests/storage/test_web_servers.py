"""A web server's key is listed from its first register on, and worthless once it was revoked."""

import pytest

from master.audit import Act
from tests.storage.cast import by
from wire.errors import NotFound, Refused
from wire.keys import fingerprint

FROM_HERE = Act("", "nobody", "web.enrol", address="10.0.0.7")


@pytest.fixture
def webs(house):
    """Two of them, enrolled one after the other."""
    for key in ("first key", "second key"):
        token = house.store.make_join_token("web", "web", uses=1).wait().secret
        house.store.webs.enrol(key, token, FROM_HERE).wait()
        house.clock.now += 60
    return house.store.webs


def revoke(webs, key):
    return webs.revoke(fingerprint(key), by(action="web.revoke")).wait()


def acts(house, action):
    return house.sql("SELECT who, object FROM audit WHERE action = ?", action)


def test_it_lists_them_oldest_first_with_where_they_came_from(webs, clock):
    first, second = webs.all().wait()
    assert (first.key, first.address, first.created_at) == (
        "first key",
        "10.0.0.7",
        clock.now - 120,
    )
    assert (second.key, second.revoked_at) == ("second key", None)


def test_it_revokes_one_and_leaves_the_others(house, webs, clock):
    assert revoke(webs, "first key").key == "first key"
    assert webs.keys().wait() == ["second key"]
    assert [web.revoked_at for web in webs.all().wait()] == [clock.now, None]
    assert acts(house, "web.revoke") == [("alice", f"web:{fingerprint('first key')}")]


def test_it_revokes_once(house, webs, clock):
    revoke(webs, "first key")
    revoked_at, clock.now = clock.now, clock.now + 60
    revoke(webs, "first key")
    assert webs.all().wait()[0].revoked_at == revoked_at
    assert len(acts(house, "web.revoke")) == 1


@pytest.mark.parametrize("with_token", [True, False], ids=["a token", "no token"])
def test_a_revoked_key_is_never_let_in_again(house, webs, with_token):
    revoke(webs, "first key")
    token = house.store.make_join_token("web", "web", uses=1).wait().secret
    with pytest.raises(Refused, match="revoked"):
        webs.enrol("first key", token if with_token else None, FROM_HERE).wait()
    webs.enrol("third key", token, FROM_HERE).wait()  # which is still good


def test_it_says_which_the_serving_master_must_refuse_until_it_does(webs):
    assert webs.to_refuse().wait() == []
    revoke(webs, "first key")
    assert webs.to_refuse().wait() == ["first key"]
    webs.refused(["first key"]).wait()
    assert webs.to_refuse().wait() == []


def test_it_refuses_a_fingerprint_that_nobody_has(house, webs):
    with pytest.raises(NotFound, match="0000-1111"):
        webs.revoke("0000-1111", by()).wait()
    assert len(webs.keys().wait()) == 2
