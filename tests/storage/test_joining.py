"""Join tokens, hosts that wait, new keys, and hostnames that changed."""

import pytest

from master.changes import Seen
from master.enrolment import MOST_PENDING
from master.joining import MOST, SHOWN_AFTER_S
from tests.storage.cast import by, make_register
from wire.errors import Conflict, NotEnrolled, NotFound, Pending, Refused
from wire.states import RunState, Standing

ENROLLED, PENDING = Standing.ENROLLED, Standing.PENDING


def token_of(house, name="all", role="agent", **values):
    return house.store.make_join_token(role, name, **values).wait().secret


def waiting(house, id="a" * 32, key="key", **values):
    """A host that came by a token which lets in by hand."""
    register = make_register(id=id, token=token_of(house, by_hand=True), **values)
    return house.store.enrol(key, register, by()).wait().agent


def nothing(outcome):
    """For verbs that are many, and need not be waited for one by one."""


def record(house, id):
    return house.store.agent_record(id).wait()


# ---- tokens


def test_it_lets_nobody_in_by_a_token_that_has_expired(house):
    token = token_of(house, "for an hour", expires_in=3600.0)
    house.clock.now += 3599
    assert house.store.enrol("key", make_register(token=token), by()).wait().created
    house.clock.now += 1
    with pytest.raises(NotEnrolled, match="'for an hour' expired at 20"):
        house.store.enrol("other", make_register(token=token), by()).wait()


def test_it_says_to_whom_holds_a_token_that_it_is_used_up(house):
    token = token_of(house, "one", uses=1)
    house.store.enrol("key", make_register(token=token), by()).wait()
    with pytest.raises(NotEnrolled, match="'one' is used up"):
        house.store.enrol("other", make_register(token=token), by()).wait()


def test_it_lists_tokens_newest_first_with_what_they_give_and_without_their_secret(house):
    house.clock.now += 1
    given = {"labels": {"env": "prod"}, "uses": 3, "expires_in": 60.0, "by_hand": True}
    secret = token_of(house, "web servers", **given, act=by())
    house.store.enrol("key", make_register(token=secret), by()).wait()
    first, last = house.store.join_tokens().wait()
    assert (first.name, first.role, first.created_by) == ("web servers", "agent", "alice")
    assert (first.used, first.uses_left, first.by_hand) == (1, 2, True)
    assert first.expires_at == house.clock.now + 60
    assert (last.name, last.expires_at) == ("all", None)
    assert secret not in str(house.sql("SELECT * FROM join_tokens"))


def test_it_lets_nobody_in_by_a_token_that_was_deleted(house):
    token = token_of(house)
    (newest, *_) = house.store.join_tokens().wait()
    for one in house.store.join_tokens().wait():
        house.store.remove_join_token(one.id, by()).wait()
    with pytest.raises(NotEnrolled):
        house.store.enrol("key", make_register(token=token), by()).wait()
    with pytest.raises(NotFound):
        house.store.remove_join_token(newest.id, by()).wait()


def test_it_forgets_expired_tokens_after_a_while_and_keeps_no_more_than_it_says(house):
    token_of(house, "old", expires_in=1.0)
    house.clock.now += SHOWN_AFTER_S + 2
    for number in range(MOST - 1):
        house.store.make_join_token("agent", str(number)).then(nothing)
    with pytest.raises(Conflict, match="delete some"):
        token_of(house, "one too many")
    assert "old" not in {one.name for one in house.store.join_tokens().wait()}


def test_it_takes_over_the_join_tokens_of_a_store_of_the_time_before_they_had_an_end(
    tmp_path, monkeypatch
):
    from master.engine import connect, migrate, migrations
    from master.ids import hash_of
    from master.storage import Storage

    path = tmp_path / "store.sqlite"
    with monkeypatch.context() as patched:
        first = [step for step in migrations() if step[0] < 5]
        patched.setattr("master.engine.migrations", lambda: iter(first))
        connection = connect(path)
        migrate(connection)
    for id, kind, left in (("t1", "join", 2), ("t2", "join", 0), ("t3", "api", None)):
        connection.execute(
            "INSERT INTO tokens (id, kind, secret_sha256, role, label, labels, uses_left,"
            " created_at) VALUES (?, ?, ?, 'agent', 'old', '{}', ?, 1.0)",
            (id, kind, hash_of(id), left),
        )
    connection.close()
    storage = Storage(path)
    try:
        (kept,) = storage.join_tokens().wait()
        assert (kept.id, kept.uses_left, kept.expires_at) == ("t1", 2, None)
        assert storage.enrol("key", make_register(token="t1"), by()).wait().created
    finally:
        storage.close()


# ---- hosts that wait


def test_a_host_waits_if_its_token_lets_in_by_hand(house):
    agent = waiting(house)
    assert agent.standing is PENDING
    assert (agent.joined_by, house.poll(agent.id).standing) == ("all", PENDING)
    again = house.store.enrol("key", make_register(id=agent.id, hostname="web77"), by()).wait()
    assert (again.agent.standing, again.agent.hostname) == (PENDING, "web77")


def test_an_accepted_host_is_enrolled_and_keeps_its_key(house):
    agent = waiting(house)
    assert house.store.accept_agent(agent.id, by()).wait().standing is ENROLLED
    assert house.store.accept_agent(agent.id, by()).wait().standing is ENROLLED
    again = house.store.enrol("key", make_register(id=agent.id), by()).wait()
    assert again.agent.standing is ENROLLED


def test_a_refused_host_does_not_come_back_with_its_key(house):
    agent = waiting(house)
    house.store.bury_agent(agent.id, Standing.DELETED, "refused by alice", by()).wait()
    with pytest.raises(Refused, match="--new-identity"):
        house.store.enrol("key", make_register(id=agent.id, token=token_of(house)), by()).wait()
    with pytest.raises(NotFound):
        house.store.accept_agent(agent.id, by()).wait()


def test_only_so_many_hosts_may_wait(house):
    token = token_of(house, by_hand=True)
    for number in range(MOST_PENDING):
        house.store.enrol(f"key {number}", make_register(token=token), by()).then(nothing)
    with pytest.raises(Conflict, match="wait to be accepted"):
        house.store.enrol("one too many", make_register(token=token), by()).wait()
    assert house.store.enrol("at once", make_register(token=token_of(house)), by()).wait().created


def test_two_machines_with_the_key_of_a_host_that_waits_are_told_so(house):
    agent = waiting(house)
    with pytest.raises(Refused, match="two machines"):
        house.store.enrol("key", make_register(id=agent.id, machine="another"), by()).wait()


# ---- new keys


def test_a_new_key_heals_a_quarantined_host_and_the_old_one_is_nobody(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    run = house.run_one(agent)
    house.store.bury_agent(agent, Standing.QUARANTINED, "copied", by()).wait()
    token = token_of(house, "new key", agent=agent, uses=1)

    healed = house.store.enrol("new key", make_register(id=agent, token=token), by()).wait()

    assert (healed.rekeyed, healed.created) == (True, False)
    assert (healed.agent.standing, healed.agent.reason) == (ENROLLED, "")
    with pytest.raises(NotEnrolled):
        house.store.enrol("key of web01", make_register(id=agent), by()).wait()
    with pytest.raises(Conflict, match="--new-identity"):
        copy = make_register(id=agent, token=house.join_token)
        house.store.enrol("key of web01", copy, by()).wait()
    # What it ran is still its own, and its result is taken
    house.finish(run)
    assert house.run(run.id).state is RunState.SUCCEED


def test_a_host_with_a_new_key_is_not_taken_for_its_own_past(house):
    """The copy had come after it, so that its instance counts as a past one."""
    (agent,) = house.enrol("web01")
    house.poll(agent)
    house.poll(agent, instance="the copy")
    assert house.poll(agent).standing is Standing.QUARANTINED
    token = token_of(house, agent=agent)
    house.store.enrol("new key", make_register(id=agent, token=token), by()).wait()
    assert house.poll(agent).standing is ENROLLED


def test_a_token_for_a_new_key_enrols_no_other_host(house):
    (agent,) = house.enrol("web01")
    token = token_of(house, agent=agent)
    with pytest.raises(Conflict, match="gives a new key to agent"):
        house.store.enrol("other", make_register(token=token), by()).wait()
    assert record(house, agent).key == "key of web01"


def test_a_newer_token_for_a_new_key_takes_the_place_of_the_older(house):
    (agent,) = house.enrol("web01")
    older, newer = token_of(house, agent=agent), token_of(house, agent=agent)
    with pytest.raises(NotEnrolled):
        house.store.enrol("k1", make_register(id=agent, token=older), by()).wait()
    assert house.store.enrol("k2", make_register(id=agent, token=newer), by()).wait().rekeyed


def test_a_deleted_host_gets_no_new_key(house):
    (agent,) = house.enrol("web01")
    token = token_of(house, agent=agent)
    house.store.bury_agent(agent, Standing.DELETED, "deleted by alice", by()).wait()
    with pytest.raises(Conflict):
        house.store.enrol("k1", make_register(id=agent, token=token), by()).wait()


def test_what_was_sent_away_cannot_become_what_it_was(house):
    (agent,) = house.enrol("web01")
    house.store.bury_agent(agent, Standing.REVOKED, "revoked by alice", by()).wait()
    again = house.store.bury_agent(agent, Standing.REVOKED, "again", by()).wait()
    assert again.runs == ()
    assert record(house, agent).reason == "revoked by alice"
    with pytest.raises(Conflict):
        house.store.bury_agent(agent, Standing.QUARANTINED, "late", by()).wait()
    with pytest.raises(Conflict, match="only a host that waits"):
        house.store.accept_agent(agent, by()).wait()


# ---- hostnames


def test_another_hostname_is_only_claimed_until_it_is_accepted(house):
    (agent,) = house.enrol("web01")
    house.store.enrol("key of web01", make_register(id=agent, hostname="db1"), by()).wait()
    assert (record(house, agent).hostname, record(house, agent).claimed_hostname) == (
        "web01",
        "db1",
    )
    house.store.accept_hostname(agent, "db1", by()).wait()
    assert (record(house, agent).hostname, record(house, agent).claimed_hostname) == ("db1", None)


def test_a_host_that_calls_itself_as_before_claims_nothing(house):
    (agent,) = house.enrol("web01")
    house.store.enrol("key of web01", make_register(id=agent, hostname="db1"), by()).wait()
    house.store.enrol("key of web01", make_register(id=agent), by()).wait()
    assert record(house, agent).claimed_hostname is None


def test_a_claim_that_is_written_late_does_not_come_back(house):
    (agent,) = house.enrol("web01")
    house.store.accept_hostname(agent, "db1", by()).wait()
    house.store.touch({agent: Seen(house.clock.now + 10, "db1", [])}).wait()
    assert record(house, agent).claimed_hostname is None
    house.store.touch({agent: Seen(house.clock.now + 20, "db2", [])}).wait()
    assert record(house, agent).claimed_hostname == "db2"


def test_a_register_that_says_nothing_new_writes_nothing(house):
    (agent,) = house.enrol("web01")
    with_version = "SELECT row_version FROM agents"
    before = house.sql(with_version)
    house.store.enrol("key of web01", make_register(id=agent), by()).wait()
    assert house.sql(with_version) == before


def test_a_pending_host_is_told_the_fingerprint_of_its_key(house):
    from master.enrolment import refusal_of
    from wire.keys import fingerprint

    refusal = refusal_of(waiting(house))
    assert isinstance(refusal, Pending)
    assert fingerprint("key") in str(refusal)
