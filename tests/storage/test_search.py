"""Lists of tasks by what they are searched for, and the history of a host."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master import search
from master.search import Wanted
from master.storage import Storage
from tests.storage import cast
from tests.storage.cast import Clock, House
from wire.errors import Malformed
from wire.states import RunState, TaskState


def walk(house, limit, wanted, *, full=False):
    """The ids of all pages; `full`: each page but the last must be full."""
    found, cursor = [], None
    while True:
        page = house.store.tasks(limit, cursor, wanted).wait()
        assert len(page.items) <= limit
        assert not full or page.next is None or len(page.items) == limit
        found += [view.id for view in page.items]
        cursor = page.next
        if cursor is None:
            return found


def ids(house, **wanted):
    return [view.id for view in house.store.tasks(100, None, Wanted(**wanted)).wait().items]


def test_it_finds_tasks_by_a_part_of_the_name_or_the_id_in_any_case(house):
    (agent,) = house.enrol("web01")
    deploy = house.submit([agent], name="Übung: deploy 7%").id
    other = house.submit([agent], name="deploy_7x").id
    assert ids(house, text="ÜBUNG") == [deploy]
    assert ids(house, text="7%") == [deploy]
    assert ids(house, text="_") == [other]
    assert ids(house, text="Deploy") == [other, deploy]
    assert ids(house, text=other[4:].upper()) == [other]
    assert ids(house, text="nothing") == []


def test_it_finds_tasks_by_who_made_them_and_which_host_they_run_on(house):
    web, db = house.enrol("web01", "db1")
    one = house.submit([web], created_by="alice").id
    two = house.submit([web, db], created_by="bob").id
    three = house.submit([db], created_by="alice").id
    assert ids(house, created_by="alice") == [three, one]
    assert ids(house, agent=web) == [two, one]
    assert ids(house, agent=web, created_by="alice") == [one]
    assert ids(house, agent=db, text=two) == [two]
    assert ids(house, agent="nobody") == []
    assert ids(house, created_by="nobody") == []


def test_it_finds_tasks_by_state_beside_other_filters(house):
    (web,) = house.enrol("web01")
    ended = house.submit([web], created_by="alice")
    house.finish(house.run_one(web))
    waits = house.submit([web], created_by="alice").id
    assert ids(house, state=TaskState.SUCCEED) == [ended.id]
    assert ids(house, state=TaskState.SUCCEED, created_by="alice") == [ended.id]
    assert ids(house, state=TaskState.WAITING, created_by="alice", agent=web) == [waits]
    assert ids(house, state=TaskState.WAITING, created_by="bob") == []


def test_it_looks_at_a_bounded_number_of_tasks_and_says_where_to_go_on(house, monkeypatch):
    monkeypatch.setattr(search, "SCANNED", 4)
    (web,) = house.enrol("web01")
    sought = house.submit([web], name="sought").id
    for _ in range(9):
        house.submit([web], name="other")
    wanted = Wanted(text="sought")
    first = house.store.tasks(2, None, wanted).wait()
    assert first.items == []
    assert first.next is not None
    assert walk(house, 2, wanted) == [sought]


def test_it_walks_tasks_of_a_host_in_bounded_steps(house, monkeypatch):
    monkeypatch.setattr(search, "SPANNED", 3)
    web, db = house.enrol("web01", "db1")
    mine = [house.submit([web]).id]
    for _ in range(7):
        house.submit([db])
    mine += [house.submit([web]).id, house.submit([web, db]).id]
    assert walk(house, 2, Wanted(agent=web)) == mine[::-1]
    assert [run.task for run in walk_runs(house, web, 2)] == mine[::-1]


def test_it_fills_every_page_when_nothing_is_searched(house):
    (web,) = house.enrol("web01")
    made = [house.submit([web]).id for _ in range(7)]
    assert walk(house, 3, Wanted(), full=True) == made[::-1]
    assert walk(house, 7, Wanted(), full=True) == made[::-1]
    assert walk(house, 3, Wanted(created_by="alice"), full=True) == made[::-1]


def test_it_refuses_a_cursor_that_no_list_has_answered(house):
    for cursor in ("nonsense", "äöü", "WzFd"):
        with pytest.raises(Malformed):
            house.store.tasks(3, cursor).wait()
        with pytest.raises(Malformed):
            house.store.runs_of_agent("a", 3, cursor).wait()


def walk_runs(house, agent, limit):
    found, cursor = [], None
    while True:
        page = house.store.runs_of_agent(agent, limit, cursor).wait()
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


def test_it_lists_the_runs_of_a_host_newest_first_with_the_names_of_their_tasks(house):
    web, db = house.enrol("web01", "db1")
    for number in range(5):
        house.submit([web, db], name=f"task {number}")
    house.submit([db], name="not on web01")
    house.finish(house.run_one(web), state=RunState.FAILED, code=3)
    runs = walk_runs(house, web, 2)
    assert [run.task_name for run in runs] == [f"task {number}" for number in range(4, -1, -1)]
    assert {run.agent for run in runs} == {web}
    assert (runs[-1].state, runs[-1].code) == ("FAILED", 3)
    assert house.store.runs_of_agent("nobody", 2).wait().items == []


PEOPLE = ("alice", "bob")
NAMES = ("deploy", "Deploy 2", "backup", "")


@settings(max_examples=25)
@given(
    made=st.lists(
        st.tuples(
            st.sampled_from(PEOPLE), st.sampled_from(NAMES), st.sampled_from(["a", "b", "ab"])
        ),
        max_size=12,
    ),
    person=st.none() | st.sampled_from(PEOPLE),
    text=st.none() | st.sampled_from(["DEPLOY", "2", "x"]),
    host=st.none() | st.sampled_from("ab"),
    state=st.none() | st.sampled_from([TaskState.WAITING, TaskState.CANCELLED]),
    limit=st.integers(1, 5),
    bound=st.integers(1, 6),
)
def test_walking_all_pages_gives_each_fitting_task_once_newest_first(
    tmp_path_factory, monkeypatch, made, person, text, host, state, limit, bound
):
    monkeypatch.setattr(search, "SCANNED", bound)
    monkeypatch.setattr(search, "SPANNED", bound)
    path = tmp_path_factory.mktemp("search") / "store.sqlite"
    clock = Clock()
    house = House(Storage(path, clock=clock), clock, path)
    try:
        agents = dict(zip("ab", house.enrol("web01", "db1"), strict=True))
        wanted_ids: list[str] = []
        for number, (by, name, on) in enumerate(made):
            id = house.submit([agents[one] for one in on], created_by=by, name=name).id
            if number % 2:
                house.store.cancel_task(id, cast.by(by)).wait()
            is_in = TaskState.CANCELLED if number % 2 else TaskState.WAITING
            if (
                person in (None, by)
                and state in (None, is_in)
                and (host is None or host in on)
                and (text is None or text.lower() in name.lower() or text.lower() in id)
            ):
                wanted_ids.insert(0, id)
        wanted = Wanted(
            state=state, text=text, created_by=person, agent=agents[host] if host else None
        )
        assert walk(house, limit, wanted) == wanted_ids
    finally:
        house.store.close()
