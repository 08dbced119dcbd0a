"""The schema is the sum of its migrations, and every query has its index."""

import re
import sqlite3
import stat

import pytest

from master import rows
from master.engine import connect, migrate, migrations, statements
from master.rows import COLUMN_OF, ROWS, load_queries
from master.storage import Storage

# Queries that walk a whole table, with the reason why that is right.
WALKS = {
    "all_agents": "the start of the master takes all",
    "any_person": "the first row that there is",
    "saved_scripts": "a page that shows all; there are a few thousand at most",
    "what_schedules_use": "a page about one saved thing, which any schedule may name",
    "host_groups": "what a group means may take any; there are a thousand at most",
    "people_with_limits": "a page about one group; there are as many as people",
    "join_tokens": "a page for admins; there are a thousand at most",
    "count_join_tokens": "a thousand at most",
    "count_pending_agents": "a partial index of the hosts that wait, a thousand at most",
    "web_keys": "the start of the master takes all; there are few",
    "web_servers": "a command that shows all; there are few",
    "peers_to_refuse": "a partial index of the keys that were revoked just now",
    "unacknowledged_late_runs": "a partial index of the few agents that are behind",
    "schedules_held_up": "a partial index of the firings that wait; there are few",
    "plans_held_up": "a partial index of the plans that go on; there are few",
    "what_plans_use": "a partial index of the plans that go on; there are few",
    "filling_queues": "a partial index of the queues that are not full; there are few",
    "purge_under_way": "the tasks that are being forgotten; there is one at a time",
    "ended_queues": "all queues are counted, once in a round of forgetting, beside the writer",
    "silent_runs": "a partial index of the tasks that run something now",
}


@pytest.fixture
def connection(tmp_path):
    connection = connect(tmp_path / "store.sqlite")
    migrate(connection)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", sorted(load_queries()))
def test_it_has_an_index_for_every_query(connection, name):
    sql = load_queries()[name]
    values = dict.fromkeys(re.findall(r":(\w+)", sql))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    scans = [step for step in plan if re.match(r"SCAN (?!j |json_each)", step)]
    if _inserts(sql):
        # Of an insert the plan also lists checks of foreign keys that only a deferred one would do.
        scans = []
    if name in WALKS:
        assert all("USING" in step or len(plan) <= 2 for step in scans)
    else:
        windows = [step for step in scans if re.match(r"SCAN [atr]$", step) and "LIMIT" in sql]
        assert scans == windows, plan
    if "ORDER BY" in sql:
        assert not [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step], plan


def _inserts(sql):
    return sql.startswith("INSERT")


# What is read by itself, and only to be opened.
SEALED = {"plans": {"sealed"}, "schedules": {"sealed"}}


@pytest.mark.parametrize("table", sorted(ROWS))
def test_it_has_a_column_for_every_field_and_no_other(connection, table):
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    fields = {COLUMN_OF.get(name, name) for name in ROWS[table].__struct_fields__}
    assert columns == fields | SEALED.get(table, set())


def test_it_checks_foreign_keys_by_an_index(connection):
    """Each column that refers to a table begins an index, so that deleting what it refers to
    needs no scan."""
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for key in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            if (table, key[3]) == ("runs", "agent"):
                continue  # agents are never deleted
            firsts = {
                connection.execute(f"PRAGMA index_info({index[1]})").fetchone()[2]
                for index in connection.execute(f"PRAGMA index_list({table})").fetchall()
            }
            assert key[3] in firsts, (table, key[3])


def test_it_syncs_every_commit_and_lets_readers_read_beside_the_writer(connection):
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_it_makes_private_files(tmp_path, connection):
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_it_applies_each_migration_once(connection):
    before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    assert migrate(connection) == max(number for number, _ in migrations())
    assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before


def test_it_keeps_the_tasks_of_a_store_of_the_first_version(tmp_path, monkeypatch):
    path = tmp_path / "store.sqlite"
    first = list(migrations())[:1]
    with monkeypatch.context() as patched:
        patched.setattr("master.engine.migrations", lambda: iter(first))
        connection = connect(path)
        migrate(connection)
    connection.execute("INSERT INTO scripts VALUES ('sha', 'echo hello')")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(tasks)")]
    given = {
        "id": "t1",
        "seq": 1,
        "script": "sha",
        "settings": "{}",
        "state": "WAITING",
        "stop": None,
    }
    values = {name: given.get(name, 0) for name in columns}
    places = ", ".join(f":{name}" for name in columns)
    connection.execute(f"INSERT INTO tasks ({', '.join(columns)}) VALUES ({places})", values)
    connection.close()
    storage = Storage(path)
    try:
        (view,) = storage.tasks(10).wait().items
    finally:
        storage.close()
    assert (view.id, view.retry_of) == ("t1", None)


def test_it_applies_a_step_that_was_made_beside_a_later_one(tmp_path, monkeypatch):
    first = list(migrations())[:1]
    later = (99, "CREATE TABLE later (id TEXT)")
    beside = (98, "CREATE TABLE beside (id TEXT)")
    connection = connect(tmp_path / "store.db")
    with monkeypatch.context() as patched:
        patched.setattr("master.engine.migrations", lambda: iter([*first, later]))
        assert migrate(connection) == 99
        patched.setattr("master.engine.migrations", lambda: iter([*first, beside, later]))
        assert migrate(connection) == 99
    connection.execute("SELECT id FROM beside")
    connection.close()


def test_it_leaves_nothing_of_a_migration_that_fails(tmp_path, monkeypatch):
    steps = [*migrations(), (99, "CREATE TABLE half (id TEXT); CREATE TABLE agents (id TEXT);")]
    monkeypatch.setattr("master.engine.migrations", lambda: iter(steps))
    connection = connect(tmp_path / "store.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="agents"):
        migrate(connection)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    assert "agents" in tables
    assert "half" not in tables
    connection.close()


def test_it_writes_every_migration_so_that_it_can_be_split_at_semicolons():
    for _, sql in migrations():
        assert all(sqlite3.complete_statement(f"{one};") for one in statements(sql))


def test_it_updates_only_fields_that_there_are():
    for table, names in rows.CHANGES.items():
        assert set(names) < set(ROWS[table].__struct_fields__)
