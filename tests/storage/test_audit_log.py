"""The log is read by filters, page by page; and a check of the file finds what was done to it."""

import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master import audit_log
from master.audit import Act, Note
from master.audit_log import Filters
from master.verify import verify
from tests.storage.cast import by
from utils import StartError
from wire.errors import Malformed

PEOPLE = ["alice", "bob"]
ACTIONS = ["task.submit", "task.cancel", "tasks.other", "agent.revoke"]
OBJECTS = ["task:1", "task:2", ""]
RESULTS = ["ok", "forbidden", "not_found"]


def write(house, *rows):
    """Each row: who, action, object, result, seconds since the one before."""
    for who, action, object, result, passed in rows:
        house.clock.now += passed
        house.store.note(Note(Act(who, "session", action), object, result)).wait()


def walk(house, wanted, limit):
    found, cursor = [], None
    while True:
        page = house.store.audit_records(limit, cursor, wanted).wait()
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


rows = st.tuples(
    st.sampled_from(PEOPLE),
    st.sampled_from(ACTIONS),
    st.sampled_from(OBJECTS),
    st.sampled_from(RESULTS),
    st.sampled_from([-3600.0, 0.0, 1.0]),  # the clock may be set back
)
wanted = st.builds(
    Filters,
    who=st.none() | st.sampled_from(PEOPLE),
    action=st.none() | st.sampled_from(["task", "task.cancel", "agent"]),
    object=st.none() | st.sampled_from(OBJECTS[:2]),
    result=st.none() | st.sampled_from(["ok", "refused", "forbidden"]),
)


@settings(
    max_examples=30,
)
@given(st.lists(rows, max_size=12), wanted, st.integers(1, 5), st.sampled_from([1, 2, 100]))
def test_walking_all_pages_gives_each_fitting_record_once_newest_first(
    house, monkeypatch, made, wanted, limit, bound
):
    monkeypatch.setattr(audit_log, "SCANNED", bound)
    first = house.store.last_act().wait().seq
    write(house, *made)
    expected = [
        (first + place, row)
        for place, row in enumerate(made, start=1)
        if (wanted.who in (None, row[0]))
        and (wanted.action is None or f"{row[1]}.".startswith(f"{wanted.action}."))
        and (wanted.object in (None, row[2]))
        and (wanted.result in (None, row[3]) or (wanted.result == "refused" and row[3] != "ok"))
    ]
    found = [one for one in walk(house, wanted, limit) if one.seq > first]
    assert sorted(one.seq for one in found) == [seq for seq, _ in expected]
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)


def test_it_finds_what_lies_between_two_times(house):
    begin = house.clock.now
    write(house, *[("alice", "task.submit", f"task:{n}", "ok", 60.0) for n in range(5)])
    wanted = Filters(since_ms=round((begin + 120) * 1000), until_ms=round((begin + 240) * 1000))
    assert [one.object for one in walk(house, wanted, 1)] == ["task:2", "task:1"]


def test_it_refuses_a_cursor_that_is_none(house):
    with pytest.raises(Malformed):
        house.store.audit_records(10, "bm9uZQ==", Filters()).wait()


# ---- the check of the file


@pytest.fixture
def filled(house):
    write(house, *[("alice", "task.submit", f"task:{n}", "ok", 1.0) for n in range(20)])
    return house


def damaged(path, *statements):
    """Somebody who can write the file does away with what guards it first."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("DROP TRIGGER audit_no_delete")
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def test_it_finds_a_live_store_whole_and_prints_its_end(filled, capsys):
    last = filled.store.last_act().wait()
    assert verify(filled.path, None) == 0
    assert f"whole, {last.seq} records" in (told := capsys.readouterr().out)
    assert str(last) in told.splitlines()
    filled.store.note(Note(by(), "task:x")).wait()
    assert verify(filled.path.parent, str(last)) == 0


def test_it_finds_a_backup_whole_also_where_it_may_not_write(filled, tmp_path, capsys):
    folder = tmp_path / "backup"
    folder.mkdir()
    filled.store.close()
    shutil.copy(filled.path, folder / "monday.sqlite")
    (folder / "monday.sqlite").chmod(0o400)
    folder.chmod(0o500)
    assert verify(folder / "monday.sqlite", None) == 0
    assert [one.name for one in folder.iterdir()] == ["monday.sqlite"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET who = 'bob' WHERE seq = 7", "record 7 is changed"),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 7", "record 7 is changed"),
        ("UPDATE audit SET detail = '{\"x\":1}' WHERE seq = 7", "record 7 is changed"),
        ("DELETE FROM audit WHERE seq = 7", "record 7 is missing"),
        ("DELETE FROM audit WHERE seq <= 7", "record 1 is missing"),
    ],
)
def test_it_names_the_first_record_that_does_not_fit(filled, capsys, statement, said):
    damaged(filled.path, statement)
    assert verify(filled.path, None) == 1
    assert said in capsys.readouterr().out


def test_it_sees_that_the_end_was_cut_off_if_it_was_kept(filled, capsys):
    last = filled.store.last_act().wait()
    damaged(filled.path, f"DELETE FROM audit WHERE seq > {last.seq - 2}")
    assert verify(filled.path, None) == 0
    assert verify(filled.path, str(last)) == 1
    assert f"record {last.seq - 1} is missing" in capsys.readouterr().out


def test_it_says_what_it_cannot_read(tmp_path):
    with pytest.raises(StartError, match="is not there"):
        verify(tmp_path, None)
    (tmp_path / "note.txt").write_text("no store " * 1000)
    with pytest.raises(StartError, match="cannot be read as a store"):
        verify(tmp_path / "note.txt", None)
