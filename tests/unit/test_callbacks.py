"""When is a callback tried again, what is signed, who is told, and which values are refused?"""

import itertools

import msgspec
import pytest

from master.callback_events import Event, Wants, of_task, types_of, wants
from master.callback_rules import address_of, check, new_secret
from master.records import Slow
from master.redelivery import DAY_S, PAUSES_S, Tried, after
from master.rows import to_json
from tests.factories import make_queue, make_task
from wire.callbacks import EVENTS, CallbackWish
from wire.errors import InvalidValue
from wire.states import Stop, TaskState

SECRET = new_secret(b"0" * 32)


def tried(number=1, **fields):
    return Tried("d1", number, fields.pop("patience_from", 0.0), **{"taken": False, **fields})


def all_tries(patience_s=DAY_S):
    """When each try is made of a delivery that is never taken."""
    now, times = 0.0, [0.0]
    while (following := after(tried(len(times)), now, patience_s)).state == "waiting":
        now = following.at
        times.append(now)
    return times


def test_it_pauses_longer_each_time_and_tries_for_the_last_time_when_the_day_ends():
    times = all_tries()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) > 10
    assert times[-1] == DAY_S
    for pause, plain in zip(pauses, PAUSES_S, strict=False):
        assert 0.9 * plain <= pause <= 1.1 * plain


def test_it_keeps_the_number_of_tries_when_patience_is_shorter():
    assert len(all_tries(patience_s=18.0)) == len(all_tries())


def test_it_ends_when_it_is_taken_and_when_the_receiver_is_gone():
    assert after(tried(taken=True), 5.0).state == "delivered"
    assert after(tried(gone=True), 5.0).state == "failed"


def test_it_waits_as_long_as_the_receiver_asks_but_no_longer_than_the_day():
    assert after(tried(retry_after_s=600.0), 10.0).at == 610.0
    assert after(tried(retry_after_s=1e9), 10.0).at == DAY_S


# ---- who is told


def wanting(**fields):
    plain = Wants("c1", "ops", frozenset(EVENTS), "all", (), frozenset())
    return msgspec.structs.replace(plain, **fields)


def event(**fields):
    return Event("task.failed", "task:t1", "/tasks/t1", {}, **{"task_name": "nightly", **fields})


def test_it_tells_only_of_the_events_that_are_wanted():
    assert wants(wanting(), event())
    assert not wants(wanting(events=frozenset({"task.started"})), event())


def test_it_chooses_by_name_or_schedule():
    chosen = wanting(tasks="chosen", names=("night*",), schedules=frozenset({"backup"}))
    assert wants(chosen, event())
    assert wants(chosen, event(task_name="other", schedule="backup"))
    assert not wants(chosen, event(task_name="other"))
    assert not wants(chosen, event(task_name=None))


def test_it_tells_whom_the_task_names_whatever_it_chooses():
    assert wants(wanting(tasks="named"), event(callbacks=frozenset({"ops"})))
    assert not wants(wanting(tasks="named"), event())


def test_it_makes_one_event_for_each_thing_that_a_change_means():
    waiting = make_task()
    running = msgspec.structs.replace(waiting, state=TaskState.RUNNING, started_at=1.0)
    stopped = msgspec.structs.replace(running, stop=Stop.LIMIT, state=TaskState.FAILED)
    assert types_of(waiting, running) == ["task.started"]
    assert types_of(running, stopped) == ["task.limit_exceeded", "task.failed"]
    scheduled = msgspec.structs.replace(stopped, schedule="s1")
    assert types_of(running, scheduled)[-1] == "schedule.failed"


# ---- which values are refused


def test_a_letter_about_a_million_dead_items_is_as_short_as_any():
    task = make_task(1_000_000, failed=1_000_000, mode="queue", reason="a reason", state="FAILED")
    slowest = [Slow(f"r{place}", place, 1.5) for place in range(10)]
    queue = make_queue(items=1_000_000, taken=1_000_000, slowest=slowest)
    told = of_task("task.failed", task, None, queue).content
    assert told["task"]["queue"]["dead"] == 1_000_000
    assert len(to_json(told)) < 1000
    assert of_task("task.failed", make_task(), None).content["task"]["queue"] is None


def wish(**fields):
    return CallbackWish(
        **{"name": "ops", "url": "https://example.org/hook", "secret": SECRET, **fields}
    )


def mail(**fields):
    plain = {"kind": "email", "url": "smtp://mail.example.org:587", "secret": ""}
    return wish(**{**plain, "sender": "a@example.org", "recipients": ["b@example.org"], **fields})


@pytest.mark.parametrize("good", [wish(), mail(), wish(tasks="chosen", names=["a*"])])
def test_it_takes_what_is_sound(good):
    check(good)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (wish(name="a b"), "name"),
        (wish(kind="fax"), "kind"),
        (wish(url=""), "url"),
        (wish(url="ftp://example.org"), "url"),
        (wish(url="https://"), "url"),
        (wish(url="https://example.org:99999/"), "url"),
        (wish(url="https://exam ple.org/"), "url"),
        (wish(url="https://example.org/#part"), "url"),
        (wish(secret="hello"), "secret"),
        (wish(secret="whsec_YQ=="), "secret"),
        (wish(kind="slack"), "secret"),
        (wish(events=[]), "events"),
        (wish(events=["task.exploded"]), "events"),
        (wish(tasks="some"), "tasks"),
        (wish(tasks="chosen"), "tasks"),
        (wish(names=["a"]), "names"),
        (wish(sender="a@example.org"), "sender"),
        (mail(url="smtp://mail.example.org/box"), "url"),
        (mail(sender="nobody"), "sender"),
        (mail(recipients=[]), "recipients"),
        (mail(recipients=["a@example.org\r\nBcc: c@example.org"]), "recipients"),
        (mail(username="me"), "username"),
    ],
)
def test_it_names_the_field_that_is_wrong_and_never_a_secret(wrong, field):
    with pytest.raises(InvalidValue) as refused:
        check(wrong)
    assert refused.value.field == field
    assert "hello" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/T0/B0/key", "https://hooks.example.org/…"),
        ("https://me:word@example.org:8443/", "https://example.org:8443"),
        ("https://[2001:db8::1]/?key=1", "https://[2001:db8::1]/…"),
    ],
)
def test_it_shows_of_a_url_what_is_no_secret(url, shown):
    assert address_of(url) == shown
