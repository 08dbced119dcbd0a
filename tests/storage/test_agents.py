"""Enrolment, labels, tokens and lists of agents."""

import pytest

from master.changes import Seen
from tests.storage.cast import by, make_register
from wire.errors import Conflict, NotEnrolled, NotFound, Refused
from wire.states import RunState, Standing


def test_it_enrols_a_new_key_with_a_join_token_and_its_labels(house):
    token = house.store.make_join_token("agent", "web", labels={"role": "web"}).wait()
    enrolled = house.store.enrol("key", make_register(id="a" * 32, token=token.secret), by()).wait()
    assert enrolled.created
    assert enrolled.agent.labels == {"role": "web"}
    assert [agent.id for agent in house.store.all_agents().wait()] == ["a" * 32]


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_it_refuses_a_new_key_without_a_good_join_token(house, token):
    with pytest.raises(NotEnrolled):
        house.store.enrol("key", make_register(token=token), by()).wait()
    assert house.store.all_agents().wait() == []


def test_it_uses_a_join_token_only_as_often_as_it_says(house):
    token = house.store.make_join_token("agent", "one", uses=1).wait().secret
    house.store.enrol("key", make_register(token=token), by()).wait()
    with pytest.raises(NotEnrolled):
        house.store.enrol("other", make_register(token=token), by()).wait()


def test_it_spends_no_use_of_a_token_on_a_refused_enrolment(house):
    token = house.store.make_join_token("agent", "one", uses=1).wait().secret
    (taken,) = house.enrol("web01")
    with pytest.raises(Conflict):
        house.store.enrol("other", make_register(id=taken, token=token), by()).wait()
    assert house.store.enrol("third", make_register(token=token), by()).wait().created


def test_it_takes_what_a_known_agent_says_of_itself(house):
    (agent,) = house.enrol("web01")
    again = make_register(id=agent, ip=["10.7.7.7"], slots=9)
    enrolled = house.store.enrol("key of web01", again, by()).wait()
    assert not enrolled.created
    view = house.store.agent(agent).wait()
    assert (view.ip, view.slots) == (["10.7.7.7"], 9)


def test_it_refuses_a_key_that_comes_with_another_id(house):
    house.enrol("web01")
    with pytest.raises(Conflict):
        house.store.enrol("key of web01", make_register(token=house.join_token), by()).wait()


def test_it_quarantines_a_key_that_two_machines_use(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    copy = make_register(id=agent, machine="another")
    enrolled = house.store.enrol("key of web01", copy, by()).wait()
    assert enrolled.agent.standing is Standing.QUARANTINED
    assert [run.state for run in enrolled.changed.runs] == [RunState.SKIPPED]
    with pytest.raises(Refused):
        house.store.enrol("key of web01", copy, by()).wait()


def test_it_gives_a_revoked_agent_no_work_and_ends_its_runs(house):
    (agent,) = house.enrol("web01")
    task = house.submit([agent, agent])
    running = house.run_one(agent)
    changed = house.store.bury_agent(agent, Standing.REVOKED, "revoked by alice", by()).wait()
    assert changed.ended == (task.id,)
    assert house.run(running.id).state is RunState.UNKNOWN
    assert sorted(house.states(task.id)) == ["SKIPPED", "UNKNOWN"]
    answer = house.poll(agent, hw=1)
    assert (answer.standing, answer.grants) == (Standing.REVOKED, [])


def test_it_sets_labels_of_many_agents_or_of_none(house):
    web, db = house.enrol("web01", "db1")
    house.store.set_labels({web: {"role": "web", "env": "prod"}, db: {"role": "db"}}, by()).wait()
    with pytest.raises(NotFound) as refused:
        house.store.set_labels({web: {"role": "x"}, "nobody": {"role": "y"}}, by()).wait()
    assert refused.value.details == {"unknown": ["nobody"]}
    house.store.set_labels({web: {"env": None}}, by()).wait()
    assert house.store.agent(web).wait().labels == {"role": "web"}


def test_it_writes_down_when_agents_were_seen_and_never_goes_back(house):
    (agent,) = house.enrol("web01")
    house.store.touch({agent: Seen(house.clock.now + 10, None, ["10.9.9.9"])}).wait()
    house.store.touch({agent: Seen(house.clock.now + 5, None, ["10.0.0.1"])}).wait()
    (record,) = house.store.all_agents().wait()
    assert (record.last_seen, record.ip) == (house.clock.now + 10, ["10.9.9.9"])


def test_it_counts_the_runs_that_an_agent_is_busy_with(house):
    (agent,) = house.enrol("web01")
    house.submit([agent, agent])
    house.run_one(agent)
    assert house.store.agent(agent).wait().busy == 1


def test_it_enrols_a_web_server_with_a_token_for_one(house):
    token = house.store.make_join_token("web", "web", uses=1).wait().secret
    house.store.webs.enrol("web key", token, by()).wait()
    house.store.webs.enrol("web key", token, by()).wait()
    with pytest.raises(NotEnrolled):
        house.store.webs.enrol("other key", token, by()).wait()
    with pytest.raises(NotEnrolled):
        house.store.webs.enrol("third key", house.join_token, by()).wait()
    assert house.store.webs.keys().wait() == ["web key"]


def test_it_lets_no_key_be_both_agent_and_web_server(house):
    house.enrol("web01")
    token = house.store.make_join_token("web", "web").wait().secret
    with pytest.raises(Conflict):
        house.store.webs.enrol("key of web01", token, by()).wait()
    house.store.webs.enrol("web key", token, by()).wait()
    with pytest.raises(Conflict):
        house.store.enrol("web key", make_register(token=house.join_token), by()).wait()
