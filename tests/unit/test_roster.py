"""Who is there, and under which session."""

from typing import Any

import pytest

from master.clock import Attention
from master.records import Agent
from master.roster import MAX_HEARTBEAT_S, Cloned, Roster
from wire.errors import InvalidValue, RegisterAgain
from wire.messages import Heartbeat
from wire.states import AgentState, Standing


def make_agent(id: str = "a", **fields: Any) -> Agent:
    given: dict[str, Any] = {
        "id": id, "key": f"key of {id}", "hostname": f"host-{id}", "ip": [], "labels": {},
        "facts": {}, "version": "1", "machine": "m", "instance": "i", "past_instances": [],
        "slots": 4, "standing": Standing.ENROLLED,
    }  # fmt: skip
    return Agent(**(given | fields))


def test_a_key_that_is_not_known_is_a_strangers() -> None:
    roster = Roster(5.0)
    assert roster.role_of("nobody's") == ("stranger", "")
    roster.registered(make_agent(), now=0.0)
    roster.add_web("web's")
    assert roster.role_of("key of a") == ("agent", "a")
    assert roster.role_of("web's") == ("web", "")


def test_it_knows_who_has_polled_since_it_started_whatever_they_registered_meanwhile() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(), now=0.0)
    assert not roster.has_polled("a")
    roster.polled("a")
    roster.polled("nobody")
    roster.registered(make_agent(), now=1.0)
    assert roster.has_polled("a")
    assert not roster.has_polled("nobody")


def test_a_revoked_web_server_is_a_stranger_and_an_agent_stays_one() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(), now=0.0)
    roster.add_web("web's")
    for key in ("web's", "web's", "key of a", "nobody's"):
        roster.forget_web(key)
    assert not roster.is_web("web's")
    assert roster.role_of("web's") == ("stranger", "")
    assert roster.role_of("key of a") == ("agent", "a")


def test_a_revoked_agent_has_no_rights_from_the_next_call_on() -> None:
    roster = Roster(5.0)
    session = roster.registered(make_agent(), now=0.0)
    roster.set_standing("a", Standing.REVOKED)
    assert roster.role_of("key of a") == ("refused", "a")
    with pytest.raises(RegisterAgain):
        roster.speaks("a", session, now=1.0)
    assert roster.fleet().by_id == {}


def test_a_new_session_ends_the_one_before() -> None:
    roster = Roster(5.0)
    first = roster.registered(make_agent(), now=0.0)
    second = roster.registered(make_agent(), now=1.0)
    assert roster.speaks("a", second, now=2.0).id == "a"
    with pytest.raises(RegisterAgain):
        roster.speaks("a", first, now=2.0)
    with pytest.raises(RegisterAgain):
        roster.speaks("nobody", second, now=2.0)


@pytest.mark.parametrize(
    ("silent_s", "state"), [(10.0, "online"), (10.1, "stale"), (20.0, "stale"), (20.1, "offline")]
)
def test_silence_makes_it_stale_and_then_offline(silent_s: float, state: str) -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(), now=100.0)
    assert roster.state("a", now=100.0 + silent_s) == state


def test_an_agent_that_has_not_come_back_after_a_restart_is_offline() -> None:
    roster = Roster(5.0)
    roster.load([make_agent(last_seen=100.0)], ["web's"])
    assert roster.state("a", now=100.0) is AgentState.OFFLINE
    assert roster.role_of("web's") == ("web", "")
    assert roster.free("a") is None


def test_a_heartbeat_tells_the_skew_and_who_was_heard() -> None:
    roster = Roster(5.0)
    session = roster.registered(make_agent(), now=0.0)
    presence = roster.speaks("a", session, now=7.0)
    beat = Heartbeat(session, "a", "host-a", ["10.0.0.1"], busy=3, clock=1000.5)
    assert roster.beat(beat, presence, wall=1000.0) == 0.5
    assert roster.free("a") == 1
    assert roster.seen_since_last()["a"].at == 7.0
    assert roster.seen_since_last() == {}


def test_a_large_fleet_is_told_to_beat_more_slowly() -> None:
    roster = Roster(5.0)
    assert roster.heartbeat_s == 5.0
    roster.load((make_agent(str(n)) for n in range(20_000)), [])
    assert roster.heartbeat_s == MAX_HEARTBEAT_S


def test_labels_are_set_and_removed() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(labels={"env": "dev", "old": "x"}), now=0.0)
    roster.set_labels({"a": {"env": "prod", "old": None}})
    assert roster.fleet().resolve("@env:prod") == ["a"]
    assert roster.fleet().resolve("@old:*,host-a") == ["a"]
    assert roster.fleet().by_id["a"].labels == {"env": "prod"}


def test_a_stall_of_the_master_starts_its_listening_anew() -> None:
    attention = Attention(now=0.0)
    attention.tick(1.0)
    assert attention.last_stall == 0.0
    attention.tick(61.0)
    assert attention.last_stall == 61.0


def test_it_finds_agents_by_id_and_by_hostname() -> None:
    roster = Roster(5.0)
    roster.load(
        [make_agent("a"), make_agent("b", hostname="twin"), make_agent("c", hostname="twin")], []
    )
    assert roster.named("a") == ["a"]
    assert roster.named("host-a") == ["a"]
    assert sorted(roster.named("twin")) == ["b", "c"]
    assert roster.named("nobody") == []


def test_the_silence_of_an_agent_does_not_count_before_it_is_offline() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(), now=100.0)
    assert roster.heard_at("a", now=119.0) == 119.0
    assert roster.heard_at("a", now=121.0) == 100.0
    assert roster.heard_at("nobody", now=121.0) == 0.0


def beat(hostname: str) -> Heartbeat:
    return Heartbeat("s", "a", hostname, [], 0, 0.0)


def test_a_hostname_that_is_not_accepted_matches_nothing_but_the_id_does() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(labels={"env": "prod"}), now=0.0)
    presence = roster.get("a")
    assert presence is not None
    roster.beat(beat("db1"), presence, 0.0)
    for expression in ("host-*", "@env:prod", "@*"):
        assert roster.fleet().resolve(expression) == []
    with pytest.raises(InvalidValue, match="calls itself db1 now"):
        roster.fleet().resolve("host-a")
    assert roster.fleet().resolve("a") == ["a"]
    roster.accept_hostname("a", "db1")
    assert roster.fleet().resolve("db*") == ["a"]


def test_names_that_change_with_every_heartbeat_make_no_work() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(), now=0.0)
    presence = roster.get("a")
    assert presence is not None
    roster.beat(beat("first"), presence, 0.0)
    fleet, version = roster.fleet(), roster.names_version
    for number in range(100):
        roster.beat(beat(f"name{number}"), presence, 0.0)
        roster.beat(beat("host-a"), presence, 0.0)
    assert (roster.fleet() is fleet, roster.names_version) == (True, version)
    assert roster.seen_since_last()["a"].claimed == "name99"  # one row, however many there were


def test_a_key_that_was_replaced_is_a_strangers_at_once() -> None:
    roster = Roster(5.0)
    roster.registered(make_agent(key="old"), now=0.0)
    roster.rekeyed(make_agent(key="new"))
    assert roster.role_of("old") == ("stranger", "")
    assert roster.role_of("new") == ("agent", "a")


def test_a_host_that_waits_has_no_session_and_is_no_target() -> None:
    roster = Roster(5.0)
    assert roster.registered(make_agent(standing=Standing.PENDING), now=0.0) == ""
    assert roster.role_of("key of a")[0] == "refused"
    assert roster.fleet().resolve("@*") == []


def test_a_deleted_host_is_nowhere() -> None:
    roster = Roster(5.0)
    roster.load([make_agent(), make_agent("b", standing=Standing.DELETED)], [])
    roster.forget("a")
    assert roster.all() == []
    assert roster.role_of("key of a") == roster.role_of("key of b") == ("stranger", "")


def test_a_copied_identity_is_told_apart_by_who_speaks() -> None:
    roster = Roster(5.0)
    for nonce in ("one", "two"):
        roster.speaks("a", roster.registered(make_agent(), now=0.0, nonce=nonce), now=0.0)
    copied = roster.registered(make_agent(), now=0.0, nonce="one")
    with pytest.raises(Cloned):
        roster.speaks("a", copied, now=0.0)
