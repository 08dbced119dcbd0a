"""Each change has its record, in the same transaction; and no record is ever changed."""

import sqlite3

import pytest

from master import audit
from master.audit import Act, Note
from master.chain import Entry, check
from master.changes import Retry
from master.ids import new_id
from master.storage import Storage
from tests.storage.cast import by, make_register, make_task
from wire.errors import NotEnrolled, NotFound
from wire.states import RunState, Standing

FIELDS = "seq, at_ms, who, kind, credential, address, action, object, result, detail, hash"
ALICE = Act("alice", "session", "task.submit", "s1", "10.0.0.1")


def records(house):
    rows = house.sql(f"SELECT {FIELDS} FROM audit ORDER BY seq")
    return [(seq, Entry(*values), hash) for seq, *values, hash in rows]


def acts(house, action="thing.do"):
    return [(one.who, one.object) for _, one, _ in records(house) if one.action == action]


def test_it_writes_who_submitted_what_from_where(house):
    (web01,) = house.enrol("web01")
    house.clock.now += 0.4567
    new = make_task([web01], name="disk", settings={"targets": "web*", "env": {"PASSWORD": "x"}})
    house.store.add_task(new, ALICE).wait()
    record = records(house)[-1][1]
    assert record[:8] == (
        round(house.clock.now * 1000),
        "alice",
        "session",
        "s1",
        "10.0.0.1",
        "task.submit",
        f"task:{new.id}",
        "ok",
    )
    assert '"targets":"web*"' in record.detail
    assert "script_sha256" in record.detail


def test_it_writes_no_script_and_no_environment(house):
    (web01,) = house.enrol("web01")
    new = make_task([web01], script=b"curl -u me:hunter2\n", settings={"env": {"P": "hunter2"}})
    house.store.add_task(new, ALICE).wait()
    assert "hunter2" not in str(records(house))


def test_what_changes_nothing_has_no_record(house):
    (web01,) = house.enrol("web01")
    new = make_task([web01])
    for _ in range(2):
        house.store.add_task(new, by(action="task.submit")).wait()
        house.store.set_labels({web01: {"env": "prod"}}, by(action="agent.labels")).wait()
        house.store.cancel_task(new.id, by(action="task.cancel")).wait()
    for action, object in [
        ("task.submit", f"task:{new.id}"),
        ("agent.labels", f"agent:{web01}"),
        ("task.cancel", f"task:{new.id}"),
    ]:
        assert acts(house, action) == [("alice", object)]


def test_it_writes_every_change_of_people_and_of_hosts(house):
    web01, db1 = house.enrol("web01", "db1")
    task = house.submit([web01, db1])
    run = house.store.runs(task.id, 10).wait().items[0].id
    house.store.cancel_run(run, by(action="run.cancel")).wait()
    house.store.cancel_task(task.id, by(action="task.cancel")).wait()
    wanted = Retry(
        id=new_id(), task=task.id, states=(RunState.CANCELLED,), created_by="alice", body_hash=""
    )
    house.store.retry_task(wanted, by(action="task.retry")).wait()
    house.store.hold("an older store").wait()
    house.store.release(by(action="handouts.release")).wait()
    house.store.bury_agent(db1, Standing.REVOKED, "sold", by(action="agent.revoke")).wait()
    assert acts(house, "run.cancel") == [("alice", f"run:{run}")]
    assert acts(house, "task.cancel") == [("alice", f"task:{task.id}")]
    assert acts(house, "task.retry") == [("alice", f"task:{wanted.id}")]
    assert acts(house, "handouts.hold") == [("master", "")]
    assert acts(house, "handouts.release") == [("alice", "")]
    assert acts(house, "agent.revoke") == [("alice", f"agent:{db1}")]


def test_it_writes_that_the_master_put_an_agent_in_quarantine(house):
    (web01,) = house.enrol("web01")
    copy = make_register(id=web01, machine="another")
    house.store.enrol("key of web01", copy, by(web01, "agent", "agent.enrol")).wait()
    assert acts(house, "agent.quarantine") == [("master", f"agent:{web01}")]


def test_a_verb_that_is_refused_leaves_no_record(house):
    before = records(house)
    with pytest.raises(NotEnrolled):
        house.store.enrol("key", make_register(token="wrong"), by("x", "agent")).wait()
    with pytest.raises(NotFound):
        house.store.cancel_task("nothing", by()).wait()
    assert records(house) == before


def test_a_verb_that_fails_among_others_leaves_no_gap(house):
    """They share a transaction, and its records are numbered at its end."""
    agents = house.enrol("web01", "web02")
    outcomes: list[object] = []
    for agent in agents:
        house.store.set_labels({agent: {"env": "prod"}}, by()).then(outcomes.append)
        house.store.cancel_task("nothing", by()).then(outcomes.append)
        house.store.add_task(make_task([agent]), by()).then(outcomes.append)
        house.store.set_labels({"nobody": {"env": "prod"}}, by()).then(outcomes.append)
    house.store.set_labels({agents[0]: {"env": "test"}}, by()).wait()
    found = records(house)
    assert sum(isinstance(one, Exception) for one in outcomes) == 4
    assert [seq for seq, _, _ in found] == list(range(1, len(found) + 1))
    assert len(acts(house)) == 5 + len(agents)  # and the enrolments
    assert check(found)[1] is None


def test_the_chain_goes_on_after_a_restart_and_from_another_process(house, tmp_path):
    house.enrol("web01")
    other = Storage(house.path, clock=house.clock)
    try:
        other.note(Note(by("bob", action="task.cancel"), "task:t", "forbidden")).wait()
        house.enrol("web02")
        other.note(Note(by("bob", action="task.cancel"), "task:t", "forbidden")).wait()
    finally:
        other.close()
    found = records(house)
    last, broken = check(found)
    assert (last.seq, broken) == (5, None)  # with the join token of the house


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 1"],
)
def test_the_store_refuses_to_change_a_record(house, statement):
    house.enrol("web01")
    connection = sqlite3.connect(house.path, isolation_level=None)
    try:
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            connection.execute(statement)
    finally:
        connection.close()
    assert check(records(house))[1] is None


def test_it_keeps_what_was_refused_on_one_line_and_short(house):
    note = Note(Act("x" * 500, "nobody", "session.start", address="::1\n"), "person:\x1b[2Ja\0")
    house.store.note(note).wait()
    record = records(house)[-1][1]
    assert len(record.who) == audit.MAX_CHARACTERS
    assert (record.address, record.object) == ("::1\\n", "person:\\x1b[2Ja\\x00")
    assert check(records(house))[1] is None


def test_a_task_and_its_runs_say_who_has_cancelled_them(house):
    web01, web02 = house.enrol("web01", "web02")
    task = house.submit([web01, web02], parallel=1)
    run = house.run_one(web01)
    house.store.cancel_task(task.id, by()).wait()
    assert house.task(task.id).reason == "being stopped, cancelled by alice"
    assert house.run(run.id).reason == "being stopped, cancelled by alice"
    house.finish(house.run(run.id), state=RunState.CANCELLED, reason="cancelled and killed")
    assert house.run(run.id).reason == "cancelled by alice and killed"
    assert house.task(task.id).reason == "cancelled by alice"
    waited = next(one for one in house.store.runs(task.id, 10).wait().items if one.id != run.id)
    assert waited.reason == "cancelled by alice"
