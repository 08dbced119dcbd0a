"""How items come in, how they are seen, and how they are forgotten."""

import pytest

from master import retention
from master.changes import NewQueue
from tests.storage.cast import by
from tests.storage.queues import attempts, counts, enrol, results, submit
from wire.errors import Conflict, InvalidValue, NotFound, TooLarge
from wire.messages import Held
from wire.queues import ITEMS_AT_ONCE, MAX_ITEM_BYTES
from wire.states import RunState, Stage


def add(house, task, start, *items, upload="u"):
    return house.store.add_items(task.id, upload, start, items, by()).wait()


def stored(house, task):
    return [content for (content,) in house.sql("SELECT content FROM items ORDER BY seq")]


# ---- uploads


def test_it_takes_an_upload_part_by_part(house):
    task = submit(house, "a", open=True)
    first = add(house, task, 0, "b", "c")
    assert (first.answer.accepted, first.answer.items) == (2, 3)
    assert first.changed.queues[0].untaken == 3
    assert add(house, task, 2, "d").answer.accepted == 3
    assert stored(house, task) == list("abcd")
    assert house.task(task.id).waiting == 4


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_it_passes_over_what_it_has_of_a_part_that_comes_again(house, batch):
    task = submit(house, open=True, batch=batch)
    add(house, task, 0, "a", "b", "c")
    before = stored(house, task)
    assert add(house, task, 0, "a", "b", "c").answer.accepted == 3
    assert add(house, task, 1, "b").answer.accepted == 3
    assert stored(house, task) == before
    again = add(house, task, 1, "b", "c", "d", "e").answer
    assert (again.accepted, again.items) == (5, 5)
    assert "\n".join(stored(house, task)).split("\n") == list("abcde")
    assert house.task(task.id).total == len(stored(house, task))


def test_it_says_where_to_go_on_when_a_part_is_missing(house):
    task = submit(house, open=True)
    add(house, task, 0, "a")
    with pytest.raises(Conflict, match="send on from item 1") as refused:
        add(house, task, 2, "c")
    assert refused.value.details == {"accepted": 1}
    assert stored(house, task) == ["a"]


def test_it_tells_uploads_apart(house):
    task = submit(house, open=True)
    add(house, task, 0, "a", upload="one")
    add(house, task, 0, "a", upload="two")
    assert stored(house, task) == ["a", "a"]


def test_it_acknowledges_the_last_part_again_after_the_queue_was_closed(house):
    task = submit(house, open=True)
    add(house, task, 0, "a")
    house.store.close_queue(task.id, by()).wait()
    assert add(house, task, 0, "a").answer.accepted == 1
    with pytest.raises(Conflict, match="closed"):
        add(house, task, 1, "b")


def test_it_takes_no_items_once_the_queue_has_ended(house):
    task = submit(house, open=True)
    house.store.cancel_task(task.id, by()).wait()
    with pytest.raises(Conflict, match="has ended"):
        add(house, task, 0, "a")


@pytest.mark.parametrize(
    ("items", "error", "words"),
    [
        (["a\0"], InvalidValue, r"items\[0\] has a NUL"),
        (["a", "\ud800"], InvalidValue, r"items\[1\] has a lone surrogate"),
        (["a\nb"], InvalidValue, r"items\[0\] has a line break"),
        (["a" * (MAX_ITEM_BYTES + 1)], TooLarge, "an item has at most"),
        (["a"] * (ITEMS_AT_ONCE + 1), TooLarge, "a part has at most"),
        (["a" * MAX_ITEM_BYTES] * 17, TooLarge, "a part has at most"),
    ],
)
def test_it_refuses_items_that_no_script_could_be_given(house, items, error, words):
    task = submit(house, open=True, batch=2)
    with pytest.raises(error, match=words):
        add(house, task, 0, *items)
    assert stored(house, task) == []


def test_it_refuses_parts_without_a_name_or_a_place(house):
    task = submit(house, open=True)
    for start, upload in ((0, ""), (0, "u" * 201), (-1, "u")):
        with pytest.raises(InvalidValue):
            add(house, task, start, "a", upload=upload)
    with pytest.raises(NotFound):
        house.store.add_items("nothing", "u", 0, ["a"], by()).wait()


def test_it_keeps_an_item_as_it_is(house):
    (web,) = enrol(house, "web01")
    items = ["", " two\nlines ", '{"a":[1,"é"]}', "\U0001f600" * 10, "x" * MAX_ITEM_BYTES]
    task = submit(house, *items)
    assert [grant.item for grant in web.poll(task, free=9).grants] == items
    assert [one.items for one in results(house, task)] == [[item] for item in items]


def test_a_claim_in_the_same_commit_as_a_part_sees_its_items(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", open=True)
    web.take(task)
    house.store.add_items(task.id, "u", 0, ["b"], by()).then(lambda answer: None)
    assert web.take(task).item == "b"


# ---- views


def test_it_shows_where_a_queue_is(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcd", name="scans", rate=100.0, burst=7, max_attempts=2)
    done, dead, again = web.poll(task, free=3).grants
    web.finish(done, started_at=house.clock.now, ended_at=house.clock.now + 2.5)
    web.fail(dead)
    web.fail(again)
    house.clock.now += 2
    web.fail(web.take(task))
    view = house.store.queue_view(task.id).wait()
    assert (view.queue, view.items, view.untaken, view.retrying) == ("scans", 4, 1, 1)
    assert (view.dead, view.rate, view.burst, view.open) == (1, 100.0, 7, False)
    assert [(slow.seq, slow.item, slow.seconds) for slow in view.slowest] == [(0, "a", 2.5)]


def test_it_remembers_the_ten_slowest(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *(str(n) for n in range(30)))
    for n in range(30):
        seconds = float((n * 7) % 30 + 1)
        grant = web.take(task)
        web.finish(grant, started_at=house.clock.now, ended_at=house.clock.now + seconds)
    view = house.store.queue_view(task.id).wait()
    assert [slow.seconds for slow in view.slowest] == [float(n) for n in range(30, 20, -1)]


def test_it_lists_results_in_their_order_and_by_state(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcdef", max_attempts=1)
    grants = web.poll(task, free=4).grants
    web.finish(grants[0], data=b"fine\n", output_bytes=5)
    web.fail(grants[1])
    web.finish(grants[2], RunState.TIMEOUT)
    assert [one.state for one in results(house, task)] == [
        "SUCCEED",
        "FAILED",
        "TIMEOUT",
        "RUNNING",
        "WAITING",
        "WAITING",
    ]
    assert [one.seq for one in results(house, task, "DEAD")] == [1, 2]
    assert [one.seq for one in results(house, task, "TIMEOUT", "WAITING")] == [2, 4, 5]
    (done,) = results(house, task, "SUCCEED", output=True)
    assert (done.output, done.hostname, done.code) == (b"fine\n", "web01", 0)
    with pytest.raises(InvalidValue, match="'LOST'"):
        results(house, task, "LOST")


def test_it_turns_the_pages_of_results(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *(str(n) for n in range(25)))
    web.poll(task, free=10)
    for states in ((), ("RUNNING", "WAITING")):
        seen, cursor = [], None
        while True:
            page = house.store.queue_results(task.id, 10, cursor, states).wait()
            seen += [one.seq for one in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert seen == list(range(25))


def test_a_page_of_results_is_never_many_bytes(house):
    task = submit(house, *("x" * MAX_ITEM_BYTES for _ in range(100)))
    first = house.store.queue_results(task.id, 1000).wait()
    assert 30 <= len(first.items) < 40
    second = house.store.queue_results(task.id, 1000, first.next).wait()
    assert second.items[0].seq == len(first.items)


def test_it_knows_all_queues_that_go_on(house):
    enrol(house, "web01")
    going, ended = submit(house, "a", name="scans"), submit(house, "b")
    house.store.cancel_task(ended.id, by()).wait()
    (state,) = house.store.queue_states().wait()
    assert (state.task, state.name, state.takable) == (going.id, "scans", True)


def test_it_shows_the_beginning_of_an_item(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "x" * 1000)
    web.take(task)
    assert house.store.beginnings(task.id, [0, 5]).wait() == {0: "x" * 200, 5: ""}


# ---- forgetting


def test_it_forgets_a_queue_in_small_steps(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *(str(n) for n in range(40)), retry_pause=0.0, max_attempts=2, open=True)
    add(house, task, 0, *(str(n) for n in range(20)))
    for _ in range(4):
        web.fail(web.take(task), data=b"out", output_bytes=3)
    house.store.cancel_task(task.id, by()).wait()
    assert attempts(house, house.sql("SELECT id FROM runs")[0][0])
    submit(house, "the newest stays")
    house.clock.now += 1000
    keep, place, steps = retention.Keep(age_s=10.0), retention.BEGINNING, 0
    while True:
        purged = house.store.purge(keep, place, 10).wait()
        place, steps = purged.place, steps + 1
        if purged.is_last:
            break
    assert steps > 6
    left = {
        table: house.sql(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("items", "runs", "attempts", "item_uploads", "outputs", "queues", "tasks")
    }
    assert left == {
        "items": 1,
        "runs": 0,
        "attempts": 0,
        "item_uploads": 0,
        "outputs": 0,
        "queues": 1,
        "tasks": 1,
    }


def test_a_result_for_a_queue_that_was_forgotten_is_a_stray(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=0.0)
    first = web.take(task)
    web.fail(first)
    second = web.take(task)
    house.store.cancel_task(task.id, by()).wait()
    web.finish(second, RunState.CANCELLED)
    assert counts(house, task) == {"CANCELLED": 1}
    submit(house, "the newest stays")
    house.clock.now += 1000
    house.store.purge(retention.Keep(age_s=10.0), retention.BEGINNING, 3).wait()
    for grant in (first, second):
        assert web.finish(grant).answer.stray


# ---- what one answer holds


@pytest.mark.parametrize(
    ("script", "item"), [(b"true", "x" * MAX_ITEM_BYTES), (b"#" * 40_000, "x")]
)
def test_an_answer_is_of_bounded_length_and_the_rest_is_for_the_next(house, script, item):
    (web01,) = enrol(house, "web01")
    task = house.submit([], script=script, queue=NewQueue(items=[item] * 50))
    first = web01.poll(task, free=50)
    assert 1 < len(first.grants) < 50
    assert sum(len(str(one.item)) + len(str(one.task)) for one in first.grants) < 3 << 20
    assert not first.idle
    held = [Held(one.run, one.attempt, Stage.LIVE) for one in first.grants]
    rest = web01.poll(task, free=50 - len(held), held=held)
    assert len(first.grants) + len(rest.grants) == 50


def test_an_answer_holds_one_run_however_long_its_script_is(house):
    (web01,) = enrol(house, "web01")
    task = house.submit([], script=b"#" * (4 << 20), queue=NewQueue(items=["a", "b"]))
    assert len(web01.poll(task, free=2).grants) == 1
