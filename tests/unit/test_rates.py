"""A burst passes, a flood does not, and who backs off passes again."""

import pytest

from wire.calls import Caller
from wire.rates import ALLOWANCES, FULL_AGAIN_S, Allowance, Bucket, Rate, Rates, Verdict

TEN = Rate(10, 20)
PASS, BUSY, DROP = Verdict.PASS, Verdict.BUSY, Verdict.DROP


def caller(id="", role="stranger", address="10.0.0.1"):
    return Caller(f"key of {id or address}", role, id, b"peer", address)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_it_lets_a_burst_pass_and_then_so_many_a_second():
    bucket = Bucket(TEN.burst, 0.0)
    assert [bucket.take(TEN, 1, 0.0) for _ in range(20)] == [PASS] * 20
    assert bucket.take(TEN, 1, 0.0) is BUSY
    assert [bucket.take(TEN, 1, 1.0) for _ in range(9)] == [PASS] * 9


def test_it_lets_pass_again_who_backs_off_however_much_was_said():
    bucket = Bucket(TEN.burst, 0.0)
    verdicts = {bucket.take(TEN, 1, 0.0) for _ in range(10_000)}
    assert verdicts == {PASS, BUSY, DROP}
    assert bucket.take(TEN, 1, 5.0) is PASS


def test_it_answers_no_more_who_goes_on_all_the_same():
    bucket = Bucket(TEN.burst, 0.0)
    verdicts = [bucket.take(TEN, 1, n / 1000) for n in range(10_000)]
    assert verdicts[-1] is DROP


def rates_of(clock, **allowances):
    return Rates(allowances, Rate(10, 30), clock)


def test_one_agent_that_floods_takes_nothing_from_another(clock):
    rates = rates_of(clock, agent=Allowance(TEN, Rate(1000, 1000)))
    for _ in range(1000):
        rates.judge(caller("web01", "agent"), 10)
    assert rates.judge(caller("web01", "agent"), 10) is DROP
    assert rates.judge(caller("web02", "agent"), 10) is PASS


def test_it_counts_bytes_too(clock):
    rates = rates_of(clock, agent=Allowance(Rate(1000, 1000), Rate(100, 200)))
    assert rates.judge(caller("web01", "agent"), 150) is PASS
    assert rates.judge(caller("web01", "agent"), 150) is BUSY
    clock.now = 3.0
    assert rates.judge(caller("web01", "agent"), 150) is PASS


def test_strangers_share_what_there_is_for_their_address_and_for_all(clock):
    rates = rates_of(clock, stranger=Allowance(TEN, Rate(1000, 1000)))
    assert [rates.judge(caller(), 1) for _ in range(20)] == [PASS] * 20
    assert rates.judge(caller(), 1) is BUSY
    other = caller(address="10.0.0.2")
    assert [rates.judge(other, 1) for _ in range(10)] == [PASS] * 10
    assert rates.judge(other, 1) is BUSY


def test_strangers_take_nothing_from_agents(clock):
    rates = rates_of(
        clock,
        stranger=Allowance(TEN, Rate(1000, 1000)),
        agent=Allowance(TEN, Rate(1000, 1000)),
    )
    for number in range(1000):
        rates.judge(caller(address=f"10.0.{number >> 8}.{number & 255}"), 1)
    assert rates.judge(caller("web01", "agent"), 1) is PASS


def test_it_bounds_single_methods(clock):
    rates = Rates(ALLOWANCES, clock=clock)
    agent = caller("web01", "agent")
    verdicts = [rates.judge_method(agent, "sendmsg(register)") for _ in range(100)]
    assert verdicts.count(PASS) == 20
    assert rates.judge_method(agent, "take_task") is PASS
    clock.now = 120.0
    assert rates.judge_method(agent, "sendmsg(register)") is PASS


def test_it_forgets_peers_not_heard_of_rather_than_grow(clock, monkeypatch):
    monkeypatch.setattr("wire.rates.MOST_BUCKETS", 100)
    rates = Rates(ALLOWANCES, clock=clock)
    for number in range(10_000):
        rates.judge(caller(address=f"2001:db8::{number:x}"), 1)
    assert len(rates) <= 100


def test_it_forgets_buckets_that_are_full_again_and_no_others(clock):
    rates = rates_of(clock, agent=Allowance(TEN, Rate(1000, 1000)))
    for number in range(100):
        rates.judge(caller(f"old{number}", "agent"), 1)
    clock.now = FULL_AGAIN_S - 1
    flood = [rates.judge(caller("web01", "agent"), 1) for _ in range(30)]
    clock.now = FULL_AGAIN_S + 1
    for number in range(150):
        rates.judge(caller(f"new{number}", "agent"), 1)
    assert flood.count(BUSY) > 0
    assert len(rates) == 2 * (150 + 1)


def test_ten_thousand_new_hosts_behind_one_address_are_let_in_within_twenty_seconds(clock):
    rates, passed, asked = Rates(ALLOWANCES, clock=clock), 0, 0
    while passed < 10_000 and clock.now < 60:
        asked += 1
        passed += rates.judge(caller(), 1_000) is PASS
        clock.now = asked / 500
    assert (passed, clock.now <= 20.0) == (10_000, True)


def test_the_web_has_no_such_limit(clock):
    rates = Rates(ALLOWANCES, clock=clock)
    assert {rates.judge(caller("", "web"), 1 << 20) for _ in range(10_000)} == {PASS}
