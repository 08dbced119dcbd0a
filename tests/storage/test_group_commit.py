"""Many verbs, one commit: what they see of each other, and what others see of them."""

import contextlib
import sqlite3
from typing import Any

import gevent
import pytest

from master import database as database_module
from master.database import Database, Urgency
from master.engine import StoreTooNew, connect
from master.storage import Storage
from master.transaction import Needs
from tests.storage.cast import Clock, House, make_poll, make_result
from tests.support import until
from wire.errors import Busy, Unavailable


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "store.sqlite")
    yield database
    database.close()


def put(name, value):
    return lambda tx: tx.put_meta(name, value)


def all_meta(path):
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT name, value FROM meta").fetchall())
    finally:
        connection.close()


@contextlib.contextmanager
def one_commit(database):
    """What is queued within shares one transaction: meanwhile the writer waits for a lock."""
    other = sqlite3.connect(database._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database.writing(lambda tx: None).then(lambda _: None)
    until(database._writes.empty, sleep=gevent.sleep)
    yield
    other.execute("COMMIT")
    other.close()


def together(database, *ops):
    """The outcomes of ops that are run in one transaction."""
    outcomes: list[Any] = []
    with one_commit(database):
        for op, urgency, needs in ops:
            database.writing(op, needs, urgency).then(outcomes.append)
    until(lambda: len(outcomes) == len(ops), sleep=gevent.sleep)
    return outcomes


def change(op, needs=Needs()):  # noqa: B008
    return op, Urgency.CHANGE, needs


def test_it_works_without_any_monkey_patching(database):
    assert database.writing(lambda tx: 42).wait() == 42
    assert database.reading(lambda reader: reader.rows("web_keys")).wait() == []


def test_it_leaves_nothing_of_a_verb_that_raises_while_the_others_commit(database):
    def broken(tx):
        tx.put_meta("broken", "1")
        raise ValueError("no")

    def broken_directly(tx):
        tx.execute("set_meta", name="directly", value="1")
        raise ValueError("no")

    outcomes = together(
        database,
        change(put("before", "1")),
        change(broken),
        change(broken_directly, Needs(direct=True)),
        change(put("after", "1")),
    )
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        ValueError,
        ValueError,
        type(None),
    ]
    assert all_meta(database._path) == {"before": "1", "after": "1"}


def test_it_lets_verbs_see_what_those_before_them_put(database):
    def add_one(tx):
        tx.put_meta("n", str(int(tx.meta("n") or 0) + 1))
        return tx.meta("n")

    outcomes = together(database, *(change(add_one) for _ in range(20)))
    assert outcomes == [str(n) for n in range(1, 21)]


def test_it_does_results_before_changes_before_claims(database):
    order = []
    nothing = Needs()
    together(
        database,
        (lambda tx: order.append("claim"), Urgency.CLAIM, nothing),
        (lambda tx: order.append("change"), Urgency.CHANGE, nothing),
        (lambda tx: order.append("result"), Urgency.RESULT, nothing),
        (lambda tx: order.append("result 2"), Urgency.RESULT, nothing),
    )
    assert order == ["result", "result 2", "change", "claim"]


def test_it_hands_a_freed_place_out_in_the_same_commit(house):
    web, db = house.enrol("web01", "db1")
    task = house.submit([web, db], parallel=1)
    run = house.run_one(web)
    outcomes: list[Any] = []
    with one_commit(house.store._database):
        house.store.poll(db, make_poll()).then(outcomes.append)
        house.store.finish(web, make_result(run)).then(outcomes.append)
    until(lambda: len(outcomes) == 2, sleep=gevent.sleep)
    finished, polled = outcomes
    assert finished.changed.freed == (task.id,)
    assert len(polled.grants) == 1


def test_it_says_done_only_after_the_commit(database):
    seen = []
    path = database._path
    for number in range(20):
        verb = database.writing(put("n", str(number)))
        verb.then(lambda _: seen.append(all_meta(path)["n"]))
    until(lambda: len(seen) == 20, sleep=gevent.sleep)
    assert seen[-1] == "19"
    assert [int(n) for n in seen] == sorted(int(n) for n in seen)
    assert all(int(value) >= place for place, value in enumerate(seen))


def test_it_goes_on_when_what_follows_a_verb_fails(database, caplog):
    def fail(_):
        raise ValueError("on the hub")

    database.writing(put("a", "1")).then(fail)
    assert database.writing(lambda tx: tx.meta("a")).wait() == "1"
    assert "the store is not affected" in caplog.text


def test_it_decides_again_when_somebody_else_changed_the_row(house):
    (agent,) = house.enrol("web01")
    database = house.store._database
    other = connect(house.path)
    attempts = []

    def relabel(tx):
        record = tx.agent(agent)
        attempts.append(record.slots)
        tx.put(record.__class__(**{**_fields(record), "slots": record.slots + 1}))
        if len(attempts) == 1:
            tx._connection.execute("UPDATE agents SET row_version = 77, slots = 50")

    database.writing(relabel).wait()
    other.close()
    assert attempts[0] == 4
    assert len(attempts) == 2
    assert house.store.agent(agent).wait().slots == 5


def _fields(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_it_survives_a_store_that_is_locked_for_a_while(database):
    other = sqlite3.connect(database._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcomes: list[Any] = []
    for number in range(100):
        database.writing(put("n", str(number))).then(outcomes.append)
    gevent.spawn_later(2.5, other.execute, "COMMIT")
    until(lambda: len(outcomes) == 100, timeout_s=30, sleep=gevent.sleep)
    assert outcomes == [None] * 100
    other.close()


def test_it_refuses_in_the_end_and_lives_when_the_store_stays_locked(database, monkeypatch):
    monkeypatch.setattr(database_module, "PATIENCE_S", 0.1)
    other = sqlite3.connect(database._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        database.writing(put("n", "1")).wait()
    other.execute("COMMIT")
    other.close()
    database.writing(put("n", "2")).wait()
    assert all_meta(database._path) == {"n": "2"}


def test_it_refuses_more_than_it_can_queue(database, monkeypatch):
    monkeypatch.setattr(database_module, "MAX_QUEUED", 3)
    verb = database.writing(lambda tx: None)
    for _ in range(3):
        verb.then(lambda _: None)
    with pytest.raises(Busy):
        verb.then(lambda _: None)
    until(lambda: database.queued == 0, sleep=gevent.sleep)
    verb.wait()


def test_it_finishes_what_is_queued_before_it_closes(tmp_path):
    database = Database(tmp_path / "store.sqlite")
    outcomes: list[Any] = []
    for number in range(50):
        database.writing(put("n", str(number))).then(outcomes.append)
    database.close()
    database.close()
    assert len(outcomes) == 50
    assert all_meta(tmp_path / "store.sqlite") == {"n": "49"}
    with pytest.raises(Unavailable):
        database.writing(lambda tx: None).wait()


def test_it_remembers_across_a_restart(house):
    (agent,) = house.enrol("web01")
    task = house.submit([agent], parallel=1)
    run = house.run_one(agent)
    house.store.close()
    house.store = Storage(house.path, clock=house.clock)
    assert house.run(run.id).grant == 1
    assert house.poll(agent).grants[0].run == run.id
    assert house.task(task.id).running == 1


def test_it_refuses_a_store_of_a_newer_version(tmp_path):
    path = tmp_path / "store.sqlite"
    House(Storage(path, clock=Clock()), Clock(), path).store.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO migrations VALUES (999)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreTooNew, match="999"):
        Storage(path)
