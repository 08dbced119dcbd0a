"""The outbox of callbacks: written with what happens, tried again, sent again, forgotten."""

from functools import partial

import msgspec
import pytest

from master import callbacks
from master.ids import new_id
from master.schedule import FiringState, Misfire, Overlap, Schedule, Verdict
from master.when import When
from tests.factories import make_callback, make_plan
from tests.storage import queues
from tests.storage.cast import by
from wire.errors import Conflict, InvalidValue, NotFound
from wire.letters import Reply
from wire.plans import PlanState
from wire.requests import Submission

DAY_S = 86400.0


def add(house, **fields):
    return house.store.callbacks.add(make_callback(**fields), by()).wait()


def make_schedule(name):
    return Schedule(
        id=new_id(), name=name, timing=When(kind="every", seconds=60), task=Submission(),
        overlap=Overlap.ALLOW, misfire=Misfire.SKIP,
        misfire_most=1, misfire_grace_s=0, owner="alice",
        owner_id="", created_by="alice", created_at=0.0, edited_at=0.0, decided_until=0.0,
    )  # fmt: skip


def told(house, callback):
    """(event, object) of all deliveries, oldest first."""
    page = house.store.callbacks.deliveries(callback.id, 1000, None, None).wait()
    return [(one.event, one.object) for one in reversed(page.items)]


def due(house, busy=None, most=4):
    return [one.id for one in house.store.callbacks.due(busy or {}, most).wait()[0]]


def answer(house, id, status=200, error="", **fields):
    reply = Reply(id, status, error, b"said", 0.1, **fields)
    house.store.callbacks.record([reply], DAY_S).wait()
    return house.store.callbacks.delivery(id).wait()


def send_test(house, callback):
    return house.store.callbacks.test(callback.id, by()).wait()


def test_it_writes_beginning_and_end_with_the_task(house):
    callback = add(house)
    (web01,) = house.enrol("web01")
    task = house.submit([web01])
    assert told(house, callback) == []
    run = house.run_one(web01)
    assert told(house, callback) == [("task.started", f"task:{task.id}")]
    house.finish(run)
    assert sorted(event for event, _ in told(house, callback)) == ["task.started", "task.succeeded"]


def test_it_tells_of_a_limit_and_of_a_wave_that_waits(house):
    callback = add(house, events=["task.limit_exceeded", "task.wave_waiting"])
    agents = house.enrol("web01", "web02")
    house.submit(agents, fail_count=0, parallel=1)
    house.finish(house.run_one(agents[0]), state="FAILED", code=1)
    assert [event for event, _ in told(house, callback)] == ["task.limit_exceeded"]
    rolled = house.submit(agents, rolling="1", between_waves="ask", settings={"expires_in": 3600.0})
    house.finish(house.run_one(agents[0], hw=1))
    assert told(house, callback)[1:] == [("task.wave_waiting", f"task:{rolled.id}")]


def test_it_does_not_call_a_pause_by_a_person_waiting(house):
    callback = add(house, events=["task.wave_waiting"])
    task = house.submit(house.enrol("web01"), rolling="1", settings={"expires_in": 3600.0})
    house.store.pause_task(task.id, by()).wait()
    assert told(house, callback) == []


def test_it_tells_of_a_task_that_ends_as_it_is_submitted(house):
    callback = add(house)
    (web01,) = house.enrol("web01")
    house.submit([web01], skip=frozenset([web01]), skip_reason="offline", offline="skip")
    assert [event for event, _ in told(house, callback)] == ["task.failed"]


def test_it_tells_once_how_a_queue_began_and_ended_whatever_was_given_up(house):
    callback = add(house, events=["task.started", "task.failed", "task.limit_exceeded"])
    (web,) = queues.enrol(house, "web01")
    task = queues.submit(house, *["x" * 1000] * 40, max_attempts=2, retry_pause=0.0, batch=2)
    for _ in range(40):
        web.fail(web.take(task))
    assert told(house, callback) == [
        ("task.started", f"task:{task.id}"),
        ("task.failed", f"task:{task.id}"),
    ]
    newest = house.store.callbacks.deliveries(callback.id, 1, None, None).wait().items[0]
    payload = house.store.callbacks.delivery(newest.id).wait().payload
    content = payload["data"]["task"]
    assert (content["mode"], content["total"], content["failed"]) == ("queue", 20, 20)
    assert content["queue"] == {"name": "default", "items": 40, "batch": 2, "dead": 20}
    assert "x" * 100 not in str(payload)


def test_it_tells_of_the_limit_of_a_queue_once_and_of_its_end_when_it_is_there(house):
    callback = add(house, events=["task.failed", "task.limit_exceeded"])
    web, db = queues.enrol(house, "web01", "db1")
    task = queues.submit(house, "a", "b", "c", max_attempts=1, fail_count=0)
    first, second = web.take(task), db.take(task)
    web.fail(first)
    assert [event for event, _ in told(house, callback)] == ["task.limit_exceeded"]
    db.fail(second)
    events = [event for event, _ in told(house, callback)]
    assert events == ["task.limit_exceeded", "task.failed"]


def test_it_tells_of_an_empty_queue_that_is_closed(house):
    callback = add(house, events=["task.succeeded", "task.failed", "task.cancelled"])
    task = queues.submit(house, open=True)
    house.store.close_queue(task.id, by()).wait()
    ((_, told_of),) = told(house, callback)
    assert told_of == f"task:{task.id}"


def test_it_tells_of_instants_of_a_schedule_that_were_missed(house):
    callback = add(house, events=["schedule.missed"], tasks="chosen", schedules=["backup"])
    backup, other = make_schedule("backup"), make_schedule("other")
    for schedule in (backup, other):
        missed = Verdict(due=5.0, state=FiringState.MISSED, reason="nobody was there")
        fired = Verdict(due=6.0, state=FiringState.FIRED)
        for verdict in (missed, fired):
            note = partial(callbacks.note_firing, schedule=schedule, verdict=verdict)
            house.store.callbacks._database.writing(note).wait()
    assert told(house, callback) == [("schedule.missed", f"schedule:{backup.id}")]


def test_it_tells_of_a_plan_that_a_schedule_has_made(house):
    callback = add(house, tasks="chosen", schedules=["backup"])
    schedule = make_schedule("backup")
    house.store.schedules.add(schedule, by()).wait()
    for state in (PlanState.FAILED, PlanState.SUCCEED):
        plan = make_plan(id=new_id(), schedule=schedule.id, due_at=60.0, state=state)
        house.store.callbacks._database.writing(
            lambda tx, plan=plan: callbacks.note_plan(tx, plan, [])
        ).wait()
    found = house.store.callbacks.deliveries(callback.id, 10, None, None).wait().items
    by_event = {one.event: one.id for one in found}
    assert sorted(by_event) == ["plan.failed", "plan.succeeded", "schedule.failed"]
    payload = house.store.callbacks.delivery(by_event["schedule.failed"]).wait().payload
    assert payload["data"]["schedule"] == {"id": schedule.id, "name": "backup"}
    assert payload["data"]["plan"]["state"] == "FAILED"


def test_it_writes_nothing_where_nobody_wants_to_know(house):
    (web01,) = house.enrol("web01")
    house.submit([web01])
    house.finish(house.run_one(web01))
    paused = add(house, active=False)
    other = add(house, name="other", tasks="named")
    house.submit([web01])
    house.finish(house.run_one(web01, hw=1))
    assert told(house, paused) == told(house, other) == []
    assert house.sql("SELECT count(*) FROM deliveries") == [(0,)]


def test_it_gives_out_what_is_due_of_each_callback_up_to_its_places(house):
    slow, quick = add(house, name="slow"), add(house, name="quick")
    for _ in range(6):
        send_test(house, slow)
    wanted = send_test(house, quick)
    first = due(house)
    assert len(first) == 5
    assert wanted in first
    busy = {slow.id: frozenset(first) - {wanted}, quick.id: frozenset([wanted])}
    assert due(house, busy) == []


def test_it_tries_again_later_and_keeps_the_log_of_each_try(house):
    delivery = send_test(house, add(house))
    found = answer(house, delivery, 500, "it answered 500")
    assert (found.state, found.tries, due(house)) == ("waiting", 1, [])
    house.clock.now += 10
    assert due(house) == [delivery]
    found = answer(house, delivery)
    assert (found.state, found.tries) == ("delivered", 2)
    assert [(one.number, one.status, one.answer) for one in found.log] == [
        (1, 500, "said"), (2, 200, "said")
    ]  # fmt: skip


def test_it_gives_up_after_a_day_and_sends_again_for_another_when_told(house):
    delivery = send_test(house, add(house))
    house.clock.now += DAY_S
    assert answer(house, delivery, 500, "it answered 500").state == "failed"
    house.store.callbacks.resend(delivery, by()).wait()
    assert due(house) == [delivery]
    found = answer(house, delivery, 500, "it answered 500")
    assert (found.state, found.tries) == ("waiting", 2)


def test_it_pauses_a_callback_whose_receiver_is_gone(house):
    callback = add(house)
    delivery = send_test(house, callback)
    assert answer(house, delivery, 410, "it answered 410", gone=True).state == "failed"
    view = house.store.callbacks.one(callback.id).wait()
    assert (view.active, "410" in view.problem) == (False, True)
    with pytest.raises(Conflict):
        send_test(house, callback)


def test_it_drops_what_is_to_be_delivered_with_the_callback(house):
    callback = add(house)
    delivery = send_test(house, callback)
    house.store.callbacks.remove(callback.id, by()).wait()
    assert house.store.callbacks.delivery(delivery).wait().state == "dropped"
    assert due(house) == []
    assert answer(house, delivery).state == "dropped"
    assert house.sql("SELECT sealed FROM callbacks") == [("",)]
    with pytest.raises(NotFound):
        house.store.callbacks.one(callback.id).wait()
    add(house)  # its name is free again


def test_it_refuses_a_name_that_is_taken_and_a_change_of_what_was_changed(house):
    callback = add(house)
    with pytest.raises(Conflict):
        add(house, name="OPS")
    house.clock.now += 1
    renamed = msgspec.structs.replace(callback, name="other")
    house.store.callbacks.change(renamed, callback.changed_at, by()).wait()
    with pytest.raises(Conflict, match="meanwhile"):
        house.store.callbacks.change(renamed, callback.changed_at, by()).wait()


def test_it_knows_callbacks_by_name(house):
    add(house)
    house.store.callbacks.check_known(["ops"]).wait()
    with pytest.raises(InvalidValue, match="'nobody'"):
        house.store.callbacks.check_known(["ops", "nobody"]).wait()


def test_it_forgets_the_log_when_it_is_old_and_nothing_that_is_to_be_delivered(house):
    callback = add(house)
    ended, open_one = send_test(house, callback), send_test(house, callback)
    answer(house, ended)
    house.clock.now += 10
    assert house.store.callbacks.forget(house.clock.now, 100).wait() == 1
    assert house.sql("SELECT id FROM deliveries") == [(open_one,)]
    assert house.sql("SELECT count(*) FROM tries") == [(0,)]


def test_it_gives_up_what_is_sealed_with_a_key_that_is_gone(house):
    callback = add(house)
    assert house.store.other_secret_key("k2").wait() == "k1"
    assert house.store.forget_other_secrets("k2", by()).wait() == 1
    assert house.store.other_secret_key("k2").wait() is None
    view = house.store.callbacks.one(callback.id).wait()
    assert not view.active
    assert "anew" in view.problem
