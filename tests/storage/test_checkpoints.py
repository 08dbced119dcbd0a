"""The log goes into the file beside the work; where that fails, nothing is lost."""

import sqlite3

import gevent
import pytest

from master import database as database_module
from master.database import Database
from tests.support import until


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "store.sqlite")
    yield database
    database.close()


def put(database, value):
    database.writing(lambda tx: tx.put_meta("name", value)).wait()


def in_the_file(database):
    """What is in the file itself, without its log."""
    uri = f"{database._path.as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True)
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'name'").fetchone()
    except sqlite3.DatabaseError:  # read while it was written
        return None
    finally:
        connection.close()
    return None if row is None else row[0]


def test_it_brings_what_was_committed_into_the_file_while_it_goes_on(database):
    put(database, "first")
    until(lambda: in_the_file(database) == "first", sleep=gevent.sleep)


def test_it_does_so_again_and_again(database, monkeypatch):
    monkeypatch.setattr(database_module, "CHECKPOINT_S", 0.0)
    for value in ("first", "second", "third"):

        def is_there(value=value):
            put(database, value)
            return in_the_file(database) == value

        until(is_there, sleep=gevent.sleep)


def test_it_works_on_when_the_log_cannot_be_brought_over(database, monkeypatch):
    attempts = []

    def fail(connection):
        attempts.append(connection)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database_module, "checkpoint", fail)
    monkeypatch.setattr(database_module, "CHECKPOINT_S", 0.0)

    def is_tried_twice():
        put(database, "value")
        return len(attempts) >= 2

    until(is_tried_twice, sleep=gevent.sleep)
    assert database.writing(lambda tx: tx.meta("name")).wait() == "value"
