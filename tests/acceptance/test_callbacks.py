"""Are receivers told as promised, whatever they do, and whoever is killed?"""

import base64
import contextlib
import hmac
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import ENDED, Api, Fleet
from tests.mail_server import MailServer
from tests.receiver import Answer, Got, Receiver
from tests.support import descendants, until

HOURS = 0.005  # the day of these tests has 18 s
ENOUGH_S = 60.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    arguments = ["--callback-allow", "127.0.0.1/32", "--callback-hours", str(HOURS)]
    arguments += ["--web-url", "https://pages.example.org"]
    root = tmp_path_factory.mktemp("callbacks")
    with Fleet(root, ["web01", "web02"], master_arguments=arguments) as started:
        yield started


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def add(api: Api, url: str, **fields: Any) -> dict[str, Any]:
    wish = {"name": f"c{os.urandom(4).hex()}", "url": url, **fields}
    answer = api.call("POST", "/api/v1/callbacks", wish)
    assert answer.status == 201, answer.body
    return dict(answer.json)


def deliveries(api: Api, callback: dict[str, Any]) -> list[dict[str, Any]]:
    """Oldest first."""
    found = api.call("GET", f"/api/v1/callbacks/{callback['id']}/deliveries").json["items"]
    return list(reversed(found))


def delivery(api: Api, id: str) -> dict[str, Any]:
    return dict(api.call("GET", f"/api/v1/deliveries/{id}").json)


def send_test(api: Api, callback: dict[str, Any]) -> str:
    answer = api.call("POST", f"/api/v1/callbacks/{callback['id']}/test")
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def ended(api: Api, id: str) -> dict[str, Any]:
    until(lambda: delivery(api, id)["state"] != "waiting", ENOUGH_S, "the end of the delivery")
    return delivery(api, id)


def first_error(api: Api, id: str) -> str:
    until(lambda: delivery(api, id)["log"], ENOUGH_S, "a try")
    return str(delivery(api, id)["log"][0]["error"])


def remove(api: Api, callback: dict[str, Any]) -> None:
    assert api.call("DELETE", f"/api/v1/callbacks/{callback['id']}").status == 200


def all_ended(api: Api) -> bool:
    return all(task["state"] in ENDED for task in api.items("/api/v1/tasks"))


def postmen(fleet: Fleet) -> list[int]:
    found = []
    for pid in descendants(fleet.master.pid):
        with contextlib.suppress(OSError):  # it has ended since
            if b"apppostman" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_it_tells_of_beginning_and_end_and_signs_it(api: Api, receiver: Receiver):
    kept = add(api, receiver.url)
    task = api.submit("exit 3", "web01", name="nightly")
    until(lambda: len(receiver.got) == 2, ENOUGH_S, "two callbacks")
    types = [json.loads(got.body)["type"] for got in receiver.got]
    assert sorted(types) == ["task.failed", "task.started"]
    key = base64.b64decode(kept["secret"].removeprefix("whsec_"))
    for got in receiver.got:
        signed = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
        signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        assert got.headers["webhook-signature"] == f"v1,{signature}"
    failed = json.loads(receiver.got[types.index("task.failed")].body)
    assert failed["data"]["task"]["id"] == task
    assert failed["data"]["task"]["failed"] == 1
    assert failed["data"]["url"] == f"https://pages.example.org/tasks/{task}"
    for one in deliveries(api, kept["callback"]):
        found = ended(api, one["id"])
        assert found["state"] == "delivered"
        assert [(t["status"], t["answer"], t["error"]) for t in found["log"]] == [
            (200, "thanks", "")
        ]
    remove(api, kept["callback"])


def test_it_tells_how_a_queue_ended_and_how_much_was_given_up(api: Api, receiver: Receiver):
    kept = add(api, receiver.url, events=["task.failed", "task.succeeded"])
    wish = {"mode": "queue", "items": ["0", "3", "3"], "max_attempts": 1, "script": 'exit "$1"'}
    task = api.call("POST", "/api/v1/tasks", wish).json["id"]
    until(lambda: receiver.got, ENOUGH_S, "a callback")
    (got,) = receiver.got
    event = json.loads(got.body)
    assert (event["type"], event["data"]["task"]["id"]) == ("task.failed", task)
    assert (event["data"]["task"]["succeed"], event["data"]["task"]["failed"]) == (1, 2)
    queue = {"name": "default", "items": 3, "batch": 1, "dead": 2}
    assert event["data"]["task"]["queue"] == queue
    remove(api, kept["callback"])


def test_it_signs_with_both_secrets_for_a_while_after_a_change(api: Api, receiver: Receiver):
    first = add(api, receiver.url)
    path = f"/api/v1/callbacks/{first['callback']['id']}"
    assert first["callback"]["old_secret_until"] is None
    second = api.call("PATCH", path, {"secret": ""}).json
    assert second["callback"]["old_secret_until"] > second["callback"]["changed_at"]
    again = api.call("PATCH", path, {"events": ["task.failed"]}).json
    assert again["callback"]["old_secret_until"] == second["callback"]["old_secret_until"]
    ended(api, send_test(api, first["callback"]))
    (got,) = receiver.got
    signed = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    keys = [base64.b64decode(one["secret"].removeprefix("whsec_")) for one in (second, first)]
    assert got.headers["webhook-signature"].split() == [
        f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys
    ]
    remove(api, first["callback"])


def test_it_tells_of_firings_that_failed_and_of_those_that_were_missed(
    fleet: Fleet, receiver: Receiver
):
    api, events = fleet.api, ["schedule.failed", "schedule.missed"]
    kept = add(api, receiver.url, events=events, tasks="chosen", schedules=["ticking"])
    body = {
        "name": "ticking",
        "when": {"kind": "every", "every": 1},
        "task": {"script": "exit 1", "targets": "web01"},
        "overlap": "allow",
        "misfire": "skip",
    }
    made = api.call("POST", "/api/v1/schedules", body)
    assert made.status == 201, made.body

    def told(type: str) -> list[dict[str, Any]]:
        all_of_it = [json.loads(got.body) for got in list(receiver.got)]
        return [one["data"] for one in all_of_it if one["type"] == type]

    until(lambda: told("schedule.failed"), ENOUGH_S, "a firing that failed")
    fleet.master.kill()
    away_until = time.monotonic() + 3
    until(lambda: time.monotonic() > away_until, ENOUGH_S, "instants that nobody decides")
    fleet.master.start()
    until(lambda: told("schedule.missed"), ENOUGH_S, "a firing that was missed")
    schedule = {"id": made.json["id"], "name": "ticking"}
    assert told("schedule.failed")[0]["schedule"] == schedule
    assert told("schedule.failed")[0]["task"]["failed"] == 1
    missed = told("schedule.missed")[0]
    assert missed["schedule"] == schedule
    assert "misfire skip" in missed["reason"]
    until(fleet.is_up, ENOUGH_S, "the fleet again")
    assert api.call("DELETE", f"/api/v1/schedules/{schedule['id']}").status == 200
    remove(api, kept["callback"])
    until(lambda: all_ended(api), ENOUGH_S, "tasks of which the next callbacks are not told")


def test_it_tells_only_whom_the_task_names(api: Api, receiver: Receiver):
    kept = add(api, receiver.url, tasks="named", events=["task.succeeded"])
    name = kept["callback"]["name"]
    api.finished(api.submit("true", "web01"))
    named = api.submit("true", "web01", callbacks=[name])
    until(lambda: receiver.got, ENOUGH_S, "a callback")
    assert [json.loads(got.body)["data"]["task"]["id"] for got in receiver.got] == [named]
    answer = api.call(
        "POST",
        "/api/v1/tasks",
        {"script": "true", "targets": "web01", "callbacks": ["nobody"]},
    )
    assert answer.status == 422
    assert answer.json["error"]["message"] == "callbacks: there is no callback 'nobody'"
    remove(api, kept["callback"])


def test_it_tries_again_under_the_same_id_while_the_receiver_fails(api: Api, receiver: Receiver):
    """An hour of 500, in a day of 18 s."""
    statuses = iter([500] * 6)

    def answer(got: Got) -> Answer:
        status = next(statuses, 200)
        return status, {}, b"broken " * 1000 if status == 500 else b"fine"

    receiver.answer = answer
    kept = add(api, receiver.url)
    found = ended(api, send_test(api, kept["callback"]))
    assert found["state"] == "delivered"
    assert [one["status"] for one in found["log"]] == [500] * 6 + [200]
    assert len(found["log"][0]["answer"]) == 1024
    assert {got.id for got in receiver.got} == {found["id"]}
    assert len({got.body for got in receiver.got}) == 1
    remove(api, kept["callback"])


def test_it_gives_up_after_its_day_and_sends_again_when_told(api: Api, receiver: Receiver):
    receiver.answer = lambda got: (503, {}, b"")
    kept = add(api, receiver.url)
    found = ended(api, send_test(api, kept["callback"]))
    assert (found["state"], found["reason"]) == ("failed", "it answered 503")
    assert len(found["log"]) > 6
    receiver.answer = lambda got: (204, {}, b"")
    again = api.call("POST", f"/api/v1/deliveries/{found['id']}/resend")
    assert again.json["state"] == "waiting"
    found = ended(api, found["id"])
    assert found["state"] == "delivered"
    assert {got.id for got in receiver.got} == {found["id"]}
    remove(api, kept["callback"])


def test_it_refuses_addresses_that_are_not_allowed_also_behind_redirects(
    api: Api, receiver: Receiver
):
    direct = add(api, "http://127.0.0.2:9/")
    assert "127.0.0.2 is not a public address" in first_error(
        api, send_test(api, direct["callback"])
    )
    with Receiver(address="127.0.0.3") as private:
        receiver.answer = lambda got: (307, {"Location": private.url}, b"")
        redirected = add(api, receiver.url)
        error = first_error(api, send_test(api, redirected["callback"]))
        assert "127.0.0.3 is not a public address" in error
        assert not private.got
    metadata = add(api, "http://169.254.169.254/latest/meta-data/")
    error = first_error(api, send_test(api, metadata["callback"]))
    assert "169.254.169.254 is not a public address" in error
    for kept in (direct, redirected, metadata):
        remove(api, kept["callback"])


def test_it_follows_a_redirect_that_keeps_what_is_sent(api: Api, receiver: Receiver):
    def answer(got: Got) -> Answer:
        if got.path == "/hook":
            return 308, {"Location": "/moved"}, b""
        return 200, {}, b""

    receiver.answer = answer
    kept = add(api, receiver.url)
    assert ended(api, send_test(api, kept["callback"]))["state"] == "delivered"
    assert [got.path for got in receiver.got] == ["/hook", "/moved"]
    assert receiver.got[0].body == receiver.got[1].body
    remove(api, kept["callback"])


def test_it_is_not_delayed_by_a_receiver_that_hangs(api: Api, receiver: Receiver):
    with Receiver() as slow:
        slow.answer = slow.hang
        hanging = add(api, slow.url)
        for _ in range(20):
            send_test(api, hanging["callback"])
        until(lambda: len(slow.got) == 4, ENOUGH_S, "as many letters as may be under way")
        kept = add(api, receiver.url)
        assert ended(api, send_test(api, kept["callback"]))["state"] == "delivered"
        assert api.finished(api.submit("true", "web01"))["state"] == "SUCCEED"
        assert len(slow.got) == 4
        for one in (hanging, kept):
            remove(api, one["callback"])


def test_it_sends_mail_and_tells_who_was_refused(api: Api):
    with MailServer(refuses=("gone@example.org",)) as server:
        mail = {"kind": "email", "sender": "ms@example.org"}
        both = ["ops@example.org", "gone@example.org"]
        some = add(api, server.url, **mail, recipients=both)
        found = ended(api, send_test(api, some["callback"]))
        assert found["state"] == "delivered"
        assert "refused gone@example.org: 550" in found["log"][0]["answer"]
        assert "Subject: This is a test of mschedule" in server.mails[0]
        assert f"Message-ID: <{found['id']}@example.org>" in server.mails[0]
        none = add(api, server.url, **mail, recipients=both[1:])
        error = first_error(api, send_test(api, none["callback"]))
        assert "every recipient was refused" in error
        elsewhere = add(api, "smtp://127.0.0.2:9", **mail, recipients=both)
        error = first_error(api, send_test(api, elsewhere["callback"]))
        assert "127.0.0.2 is not a public address" in error
        assert len(server.mails) == 1
        for kept in (some, none, elsewhere):
            remove(api, kept["callback"])


def test_it_stops_when_the_receiver_is_gone(api: Api, receiver: Receiver):
    receiver.answer = lambda got: (410, {}, b"")
    kept = add(api, receiver.url)
    assert ended(api, send_test(api, kept["callback"]))["state"] == "failed"
    found = api.call("GET", f"/api/v1/callbacks/{kept['callback']['id']}").json
    assert not found["active"]
    assert "410" in found["problem"]
    assert len(receiver.got) == 1
    remove(api, kept["callback"])


def test_it_delivers_what_happened_though_postman_and_master_are_killed(
    fleet: Fleet, receiver: Receiver
):
    """At least once each, under one id: what is killed leaves nothing out."""
    api = fleet.api
    receiver.answer = receiver.hang
    kept = add(api, receiver.url, events=["task.succeeded"])
    tasks = [api.submit("true", "web01") for _ in range(3)]
    for task in tasks:
        api.finished(task)
    until(lambda: len(receiver.got) >= 3, ENOUGH_S, "all letters under way")
    (postman,) = postmen(fleet)
    os.kill(postman, signal.SIGKILL)
    until(lambda: len(receiver.got) > 3, ENOUGH_S, "letters that are tried again")
    fleet.master.kill()
    receiver.answer = lambda got: (200, {}, b"")
    fleet.master.start()
    until(fleet.is_up, ENOUGH_S, "the fleet again")

    def all_delivered() -> bool:
        states = [one["state"] for one in deliveries(api, kept["callback"])]
        return states == ["delivered"] * 3

    until(all_delivered, ENOUGH_S, "what is promised")
    told = {json.loads(got.body)["data"]["task"]["id"]: got.id for got in receiver.got}
    assert sorted(told) == sorted(tasks)
    assert all(count >= 1 for count in Counter(got.id for got in receiver.got).values())
    assert len({got.id for got in receiver.got}) == 3
    remove(api, kept["callback"])
