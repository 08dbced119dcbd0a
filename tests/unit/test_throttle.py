"""How fast can passwords be guessed? Only by a clock that the test turns."""

import math

import pytest

from master.throttle import (
    ACCOUNT_FREE,
    ADDRESS_FREE,
    FORGOTTEN_S,
    MAX_PAUSE_S,
    Count,
    Throttle,
    failed,
    pause_s,
    wait_s,
)
from wire.errors import Busy, TooManyAttempts, Unauthenticated

HOME, CAFE = "192.0.2.7", "198.51.100.9"


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def fail(throttle, account="alice", address=HOME):
    with pytest.raises(Unauthenticated), throttle.attempt(account, address):
        raise Unauthenticated


def succeed(throttle, account="alice", address=HOME):
    with throttle.attempt(account, address):
        pass


def refused_for(throttle, account="alice", address=HOME):
    """Seconds that an attempt would have to wait; 0 if it may begin."""
    try:
        with throttle.attempt(account, address):
            raise Busy
    except Busy:
        return 0
    except TooManyAttempts as refusal:
        assert refusal.details is not None
        return refusal.details["retry_after_s"]


# ---- the pure part


def test_it_doubles_the_pause_from_a_second_to_a_minute():
    pauses = [pause_s(failures, 5) for failures in range(14)]
    assert pauses == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause_s(10**9, 5) == MAX_PAUSE_S


def test_it_waits_only_for_what_is_left_of_the_pause():
    count = Count(free=5, failures=8, last_at=100.0)
    assert [wait_s(count, now) for now in (100.0, 105.0, 108.0, 200.0)] == [8.0, 3.0, 0.0, 0.0]


def test_it_begins_anew_after_a_quarter_of_an_hour_without_a_failure():
    count = Count(free=5, failures=30, last_at=100.0)
    later = 100.0 + FORGOTTEN_S + 1
    assert wait_s(count, later) == 0.0
    failed(count, later)
    assert (count.failures, count.last_at) == (1, later)


def test_it_looks_at_one_attempt_at_a_time_once_the_free_ones_are_taken():
    assert wait_s(Count(free=5, under_way=4, last_at=-math.inf), 1.0) == 0.0
    assert wait_s(Count(free=5, under_way=5, last_at=-math.inf), 1.0) == 1.0
    assert wait_s(Count(free=5, failures=7, last_at=1.0, under_way=1), 100.0) == 1.0


# ---- by account and by address


def test_it_slows_an_account_down_from_wherever_it_is_tried(throttle, clock):
    for number in range(ACCOUNT_FREE):
        fail(throttle, address=f"203.0.113.{number}")
    assert refused_for(throttle, address=CAFE) == 1
    assert refused_for(throttle, "bob", CAFE) == 0
    clock.now += 1
    fail(throttle, address=CAFE)
    assert refused_for(throttle) == 2


def test_it_slows_an_address_down_whatever_names_it_tries(throttle):
    for number in range(ADDRESS_FREE):
        fail(throttle, f"name{number}", CAFE)
    assert refused_for(throttle, "alice", CAFE) == 1
    assert refused_for(throttle, "alice", HOME) == 0


def test_it_counts_codes_by_address_alone(throttle):
    for _ in range(ADDRESS_FREE):
        fail(throttle, None, CAFE)
    assert refused_for(throttle, None, CAFE) == 1
    assert refused_for(throttle, None, HOME) == 0


def test_it_forgives_the_account_after_a_good_log_in_but_never_the_address(throttle):
    for number in range(ADDRESS_FREE - 1):
        fail(throttle, f"name{number}", CAFE)
    fail(throttle, "alice", HOME)
    succeed(throttle, "alice", CAFE)
    fail(throttle, "bob", CAFE)
    assert refused_for(throttle, "carol", CAFE) == 1


def test_it_lets_nobody_keep_a_person_out_of_where_they_have_logged_in(throttle):
    succeed(throttle, "alice", HOME)
    for _ in range(ACCOUNT_FREE):
        fail(throttle, "alice", CAFE)
    assert refused_for(throttle, "alice", CAFE) == 1
    assert refused_for(throttle, "alice", HOME) == 0
    for _ in range(ACCOUNT_FREE):
        fail(throttle, "alice", HOME)
    assert refused_for(throttle, "alice", HOME) == 1


def test_it_takes_a_network_of_ipv6_for_one_address(throttle):
    for number in range(ADDRESS_FREE):
        fail(throttle, f"name{number}", f"2001:db8:0:1::{number:x}")
    assert refused_for(throttle, "alice", "2001:db8:0:1:ffff::1") == 1
    assert refused_for(throttle, "alice", "2001:db8:0:2::1") == 0


def test_it_knows_an_address_in_both_ways_of_writing(throttle):
    succeed(throttle, "alice", HOME)
    for _ in range(ACCOUNT_FREE):
        fail(throttle, "alice", CAFE)
    assert refused_for(throttle, "alice", f"::ffff:{HOME}") == 0


def test_it_counts_neither_for_nor_against_what_could_not_be_judged(throttle):
    for _ in range(100):
        assert refused_for(throttle) == 0
    for _ in range(ACCOUNT_FREE):
        fail(throttle)
    assert refused_for(throttle) == 1


def test_it_counts_attempts_that_are_under_way_at_once(throttle):
    open_attempts = [throttle.attempt("alice", HOME) for _ in range(ACCOUNT_FREE)]
    for attempt in open_attempts:
        attempt.__enter__()
    assert refused_for(throttle) == 1
    for attempt in open_attempts:
        attempt.__exit__(None, None, None)
    assert refused_for(throttle) == 0


def test_it_keeps_a_bounded_number_of_counts(clock):
    throttle = Throttle(clock, most=20)
    for number in range(100):
        succeed(throttle, f"name{number}", f"10.0.0.{number}")
    assert len(throttle._counts) == len(throttle._familiar) == 20
