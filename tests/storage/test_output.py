"""Output is byte-exact, whatever is repeated, lost or left out by the cap."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from master import output
from tests.storage.cast import by, make_result
from wire.errors import Malformed, NotFound
from wire.states import RunState, Standing


@pytest.fixture
def run(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    return house.run_one(agent)


def test_it_keeps_bytes_as_they_are(house, run):
    data = bytes(range(256)) + b"\0\xff\r\n"
    assert house.output(run, 0, data).offset == len(data)
    assert house.read(run) == data


def test_it_takes_a_repeated_chunk_once(house, run):
    house.output(run, 0, b"hello ")
    assert house.output(run, 0, b"hello ").offset == 6
    assert house.output(run, 3, b"lo world").offset == 11
    assert house.read(run) == b"hello world"


def test_it_answers_with_what_it_has_when_a_chunk_was_lost(house, run):
    house.output(run, 0, b"hello")
    assert house.output(run, 9, b"later").offset == 5
    assert house.read(run) == b"hello"


def test_it_marks_the_gap_of_the_cap(house, run):
    house.output(run, 0, b"head")
    assert house.output(run, 100, b"tail", gap_from=4).offset == 104
    assert house.output(run, 104, b"!", gap_from=4).offset == 105
    assert house.read(run) == b"head\n[mschedule: 96 bytes not kept]\ntail!"
    assert house.run(run.id).output_gap == (4, 100)


def test_it_takes_no_second_jump_and_none_before_the_front_is_there(house, run):
    house.output(run, 0, b"he")
    assert house.output(run, 100, b"tail", gap_from=4).offset == 2
    house.output(run, 2, b"ad")
    house.output(run, 100, b"tail", gap_from=4)
    assert house.output(run, 200, b"more", gap_from=104).offset == 104


def test_it_marks_a_gap_that_nothing_follows(house, run):
    """As of a disk that had no room for any more."""
    house.output(run, 0, b"head")
    assert house.output(run, 100, b"", gap_from=4).offset == 100
    assert house.output(run, 100, b"", gap_from=4).offset == 100
    assert house.read(run) == b"head\n[mschedule: 96 bytes not kept]\n"
    assert house.run(run.id).output_gap == (4, 100)
    house.finish(run, output_gap=(4, 100), output_bytes=100, offset=100)
    assert (house.run(run.id).output_gap, house.run(run.id).output_bytes) == ((4, 100), 100)


def test_it_wants_no_more_where_a_second_gap_ends_the_output(house, run):
    house.output(run, 0, b"head")
    house.output(run, 100, b"tail", gap_from=4)
    answer = house.output(run, 200, b"", gap_from=104)
    assert (answer.offset, answer.refused) == (104, True)
    assert house.run(run.id).output_gap == (4, 100)


def test_it_reads_any_range_around_the_gap(house, run):
    house.output(run, 0, b"head")
    house.output(run, 100, b"tail", gap_from=4)
    whole = house.read(run)
    for offset in range(len(whole) + 2):
        for limit in (0, 1, 3, 100):
            view = house.store.output(run.id, offset, limit).wait()
            assert view.data == whole[offset : offset + limit]
            assert view.size == len(whole)


def test_it_refuses_what_is_beyond_the_cap(house, run, monkeypatch):
    monkeypatch.setattr(output, "MOST_KEPT_BYTES", 10)
    answer = house.output(run, 0, b"0123456789abc")
    assert (answer.offset, answer.refused) == (10, True)
    answer = house.output(run, 10, b"abc")
    assert (answer.offset, answer.refused) == (10, True)
    assert house.read(run) == b"0123456789"


def test_it_takes_output_after_the_verdict_and_knows_when_it_is_whole(house, run):
    house.output(run, 0, b"hello ")
    house.finish(run, output_bytes=11)
    assert not house.store.output(run.id, 0, 100).wait().ended
    house.output(run, 6, b"world")
    view = house.store.output(run.id, 0, 100).wait()
    assert (view.data, view.ended) == (b"hello world", True)


def test_it_takes_the_tail_after_the_gap_with_the_result(house, run):
    house.output(run, 0, b"head")
    finished = house.finish(run, data=b"tail", offset=100, output_gap=(4, 100), output_bytes=104)
    assert finished.answer.offset == 104
    assert house.read(run).endswith(b"not kept]\ntail")


def test_it_does_not_believe_a_gap_before_it_has_the_front(house, run):
    finished = house.finish(run, output_gap=(4, 100), output_bytes=104)
    assert finished.answer.offset == 0
    assert house.run(run.id).output_gap is None
    house.output(run, 0, b"head")
    assert house.output(run, 100, b"tail", gap_from=4).offset == 104


def test_it_wants_no_output_of_a_stray_or_of_another_attempt(house, run):
    (thief,) = house.enrol("db1")
    assert house.output(replace(run, agent=thief), 0, b"x").refused
    assert house.output(replace(run, id="nothing"), 0, b"x").refused
    assert house.output(replace(run, attempt=2), 0, b"x").refused
    assert house.read(run) == b""


def test_it_refuses_what_is_no_chunk(house, run):
    with pytest.raises(Malformed):
        house.output(run, -1, b"x")
    with pytest.raises(Malformed):
        house.output(run, 0, bytes((256 << 10) + 1))
    with pytest.raises(NotFound):
        house.store.output("nothing", 0, 1).wait()


def test_it_keeps_chunks_of_many_runs_apart_in_one_commit(house):
    agents = house.enrol(*(f"web{number}" for number in range(8)))
    house.submit(agents)
    runs = [house.run_one(agent) for agent in agents]
    for run in runs:
        house.output(run, 0, run.agent.encode())
    results: list[Any] = []
    for run in runs:
        result = make_result(run, state=RunState.SUCCEED, offset=32, data=run.id.encode())
        house.store.finish(run.agent, result).then(results.append)
    assert [house.read(run) for run in runs]
    house.store.expire().wait()
    assert len(results) == 8
    for run in runs:
        assert house.read(run) == (run.agent + run.id).encode()


WHOLE = bytes(n % 251 for n in range(60))


@settings(max_examples=40)
@given(
    chunks=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 30), st.booleans()), max_size=30)
)
def test_it_equals_a_model_of_bytes_whatever_is_sent(house, chunks):
    """The script wrote WHOLE, of which the agent kept the first 20 and the last 15 bytes."""
    head, tail = 20, 45
    (agent,) = house.enrol(f"web{len(house.store.all_agents().wait())}")
    house.submit([agent])
    run = house.run_one(agent)
    end, jumped = 0, False
    for offset, size, jump in chunks:
        data = WHOLE[offset : offset + size]
        gap_from = head if jump and offset == tail else None
        if offset <= end < offset + len(data):
            end = offset + len(data)
        elif gap_from is not None and not jumped and head <= end < offset:
            jumped, front, end = True, end, offset + len(data)
        assert house.output(run, offset, data, gap_from).offset == end
    expected = WHOLE[:end]
    if jumped:
        mark = f"\n[mschedule: {tail - front} bytes not kept]\n".encode()
        expected = WHOLE[:front] + mark + WHOLE[tail:end]
    assert house.read(run) == expected


def test_output_of_a_run_that_is_lost_ends_when_it_is_given_up(house, run):
    house.output(run, 0, b"hello")
    house.store.bury_agent(run.agent, Standing.REVOKED, "sold", by()).wait()
    view = house.store.output(run.id, 0, 100).wait()
    assert (view.state, view.complete) == ("UNKNOWN", False)
    house.clock.now += output.REST_WITHIN_S + 1
    assert house.store.output(run.id, 0, 100).wait().ended


def test_output_of_which_the_rest_never_comes_ends_after_a_while(house, run):
    house.output(run, 0, b"hello")
    house.finish(run, output_bytes=11, ended_at=house.clock.now)
    house.clock.now += output.REST_WITHIN_S - 1
    assert not house.store.output(run.id, 0, 100).wait().ended
    house.clock.now += 2
    view = house.store.output(run.id, 0, 100).wait()
    assert (view.ended, view.complete) == (True, False)


def test_output_for_which_there_is_no_room_left_ends(house, run, monkeypatch):
    monkeypatch.setattr(output, "MOST_KEPT_BYTES", 10)
    house.output(run, 0, b"0123456789abc")
    assert not house.store.output(run.id, 0, 100).wait().ended
    house.finish(run, output_bytes=13)
    view = house.store.output(run.id, 0, 100).wait()
    assert (view.ended, view.complete) == (True, False)
