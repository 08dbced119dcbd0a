"""How is a password kept and compared?"""

import gevent
import pytest

from master.passwords import AT_ONCE, MOST_WAITING, Passwords
from wire.errors import Busy


@pytest.fixture
def passwords():
    return Passwords(time_cost=1, memory_kib=64)


def test_it_knows_a_password_again_and_no_other(passwords):
    kept = passwords.hash("correct horse")
    assert kept.startswith("$argon2id$")
    assert "correct horse" not in kept
    assert passwords.fits(kept, "correct horse")
    assert not passwords.fits(kept, "correct horsf")
    assert not passwords.fits(kept, "")


def test_it_keeps_the_same_password_differently_each_time(passwords):
    assert passwords.hash("correct horse") != passwords.hash("correct horse")


def test_it_takes_a_letter_however_the_keyboard_composes_it(passwords):
    assert passwords.fits(passwords.hash("bärenhunger"), "ba\u0308renhunger")


def test_it_compares_with_a_real_hash_where_there_is_no_person(passwords):
    assert not passwords.fits(None, "correct horse")
    # Only a hash of today's parameters takes as long as a person's.
    assert not passwords.outdated(passwords._nobodys)


def test_it_takes_what_is_no_hash_for_a_wrong_password(passwords):
    assert not passwords.fits("", "correct horse")
    assert not passwords.fits("$argon2id$v=19$nonsense", "correct horse")


def test_it_tells_a_hash_of_other_parameters(passwords):
    kept = passwords.hash("correct horse")
    assert not passwords.outdated(kept)
    stronger = Passwords(time_cost=2, memory_kib=64)
    assert stronger.outdated(kept)
    assert stronger.fits(kept, "correct horse")


def test_it_sends_away_who_comes_when_many_wait(passwords):
    waiting = [
        gevent.spawn(passwords.hash, "correct horse") for _ in range(AT_ONCE + MOST_WAITING + 3)
    ]
    gevent.joinall(waiting, timeout=120)
    refused = [one for one in waiting if isinstance(one.exception, Busy)]
    assert len(refused) == 3
    assert all(one.successful() for one in waiting if one not in refused)
