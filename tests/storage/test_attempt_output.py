"""What earlier attempts of a queue's run wrote is kept as it came, and read by their number."""

import pytest

from tests.storage.cast import House
from tests.storage.queues import LOST_AFTER_S, Agent, enrol, silence, submit
from wire.errors import NotFound
from wire.messages import Grant, Output
from wire.states import RunState
from wire.views import OutputView


def write(
    agent: Agent, grant: Grant, offset: int, data: bytes, gap_from: int | None = None
) -> None:
    said = Output("", grant.run, grant.attempt, offset, data, gap_from)
    agent.house.store.append_output(agent.id, said).wait()


def read(house: House, run: str, attempt: int | None, offset: int = 0) -> OutputView:
    return house.store.output(run, offset, 1 << 20, attempt).wait()


def test_each_attempt_has_the_output_that_it_wrote(house: House) -> None:
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", retry_pause=0.0)
    first = web.take(task)
    write(web, first, 0, b"one")
    web.fail(first, output_bytes=3)
    second = db.take(task)
    write(db, second, 0, b"second")
    db.finish(second, output_bytes=6)
    earlier = read(house, first.run, 1)
    assert (earlier.data, earlier.attempt, earlier.state) == (b"one", 1, "FAILED")
    assert (earlier.ended, earlier.complete) == (True, True)
    assert read(house, first.run, 1, 2).data == b"e"
    assert read(house, first.run, 2).data == read(house, first.run, None).data == b"second"


def test_of_an_attempt_that_told_of_no_end_more_may_come(house: House) -> None:
    (web,) = enrol(house, "web01")
    task = submit(house, "a")
    grant = web.take(task)
    write(web, grant, 0, b"slow")
    silence(house, LOST_AFTER_S)
    view = read(house, grant.run, 1)
    assert (view.data, view.state, view.ended, view.complete) == (b"slow", "UNKNOWN", False, False)
    write(web, grant, 4, b"er")
    assert read(house, grant.run, 1).data == b"slower"


def test_what_was_not_kept_of_an_attempt_is_said_where_it_is_missing(house: House) -> None:
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=0.0)
    grant = web.take(task)
    write(web, grant, 0, b"front")
    write(web, grant, 105, b"tail", gap_from=5)
    web.fail(grant, output_bytes=109)
    view = read(house, grant.run, 1)
    assert view.data == b"front\n[mschedule: 100 bytes not kept]\ntail"
    assert (view.size, view.complete) == (len(view.data), True)
    (listed,) = house.store.attempts(grant.run).wait()
    assert (listed.output_bytes, listed.output_stored, listed.output_gap) == (109, 9, (5, 105))


def test_an_attempt_that_waits_has_nothing_yet_and_others_are_not_there(house: House) -> None:
    (web,) = enrol(house, "web01")
    grant = web.take(submit(house, "a"))
    web.finish(grant, RunState.FAILED)
    waiting = read(house, grant.run, 2)
    assert (waiting.data, waiting.ended) == (b"", False)
    for attempt in (0, 3):
        with pytest.raises(NotFound, match=f"no attempt {attempt}"):
            read(house, grant.run, attempt)
    with pytest.raises(NotFound, match="no run"):
        read(house, "nothing", 1)


def test_the_output_of_a_fan_out_run_is_that_of_its_only_attempt(house: House) -> None:
    (web,) = house.enrol("web01")
    house.submit([web])
    run = house.run_one(web)
    house.output(run, 0, b"x")
    assert read(house, run.id, 1).data == b"x"
    with pytest.raises(NotFound):
        read(house, run.id, 2)
