"""What is sent, how is it signed, and which addresses may be reached?"""

import base64
import hmac
import json

import pytest

from postman import signing
from postman.adapters import ADAPTERS, EMAIL, dingtalk, email, feishu
from postman.addresses import Doorkeeper, RefusedAddress
from postman.wording import told
from wire.callbacks import KINDS
from wire.letters import Letter

PAGES = "https://pages.example.org"
TASK = {
    "id": "t1", "name": "<nightly> & more", "state": "FAILED", "reason": "2 failed\nlast line",
    "created_by": "alice", "total": 3, "succeed": 1, "failed": 2, "timeout": 0, "cancelled": 0,
    "skipped": 0, "unknown": 0,
}  # fmt: skip


def letter(kind="json", **fields):
    event = {"type": "task.failed", "timestamp": "2026-11-21T08:50:00.000Z", "data": {"task": TASK}}
    event = fields.pop("event", event)
    plain = {"secret": "whsec_" + base64.b64encode(b"k" * 32).decode(), "path": "/tasks/t1"}
    return Letter("d1", kind, "https://example.org/hook", event=event, **{**plain, **fields})


def sent(kind, **fields):
    return ADAPTERS[kind].make(letter(kind, **fields), PAGES, 1614265330.0)


def test_it_signs_as_the_published_example_of_the_specification():
    signed = signing.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330.9,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_it_tells_how_a_plan_ended():
    steps = [{"name": "build", "tasks": [{"id": "t1"}]}, {"name": "ship", "tasks": []}]
    plan = {"id": "p1", "name": "1.4", "reason": "step build: 1 FAILED of 3 runs", "steps": steps}
    event = {"type": "plan.failed", "data": {"plan": {**plan, "created_by": "alice"}}}
    said = told(letter(event=event, path="/plans/p1"), PAGES)
    assert (said.head, said.link) == ("Plan 1.4 has failed", f"{PAGES}/plans/p1")
    assert "Steps: 1 of 2 begun: build" in said.lines
    assert "Reason: step build: 1 FAILED of 3 runs" in said.lines


def about_queue(**queue):
    task = {**TASK, "mode": "queue", "queue": {"name": "default", "dead": 2, **queue}}
    return {"type": "task.failed", "data": {"task": task}}


def test_it_counts_items_of_a_queue_and_batches_where_it_has_some():
    said = told(letter(event=about_queue(items=3, batch=1)), PAGES)
    assert "Items: 3: 1 succeeded, 2 failed" in said.lines
    said = told(letter(event=about_queue(items=300, batch=100)), PAGES)
    assert "Batches of 100 items: 3: 1 succeeded, 2 failed" in said.lines


def test_it_has_an_adapter_for_each_kind():
    assert {*ADAPTERS, EMAIL} == set(KINDS)


def test_it_sends_programs_the_event_with_a_link_and_three_headers():
    outgoing = sent("json")
    event = json.loads(outgoing.body)
    assert event["type"] == "task.failed"
    assert event["data"]["task"] == TASK
    assert event["data"]["url"] == f"{PAGES}/tasks/t1"
    assert outgoing.headers["webhook-id"] == "d1"


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_it_tells_which_task_it_was_and_how_it_went(kind):
    outgoing = sent(kind)
    text = outgoing.body.decode()
    assert "nightly" in text
    assert f"{PAGES}/tasks/t1" in text
    if kind != "json":
        assert "1 succeeded, 2 failed" in text
        assert "last line" in text
        assert "failed\\nlast" not in text


def test_it_escapes_what_means_something_to_slack():
    text = json.loads(sent("slack").body)["text"]
    assert "&lt;nightly&gt; &amp; more" in text
    assert f"<{PAGES}/tasks/t1|Open the page>" in text


def test_it_sends_teams_a_card():
    (attachment,) = json.loads(sent("teams").body)["attachments"]
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert attachment["content"]["actions"][0]["url"] == f"{PAGES}/tasks/t1"


def test_it_signs_the_url_for_dingtalk_and_the_body_for_feishu():
    digest = hmac.digest(b"s3cret", b"1614265330000\ns3cret", "sha256")
    url = dingtalk.signed("https://example.org/send?access_token=x", "s3cret", 1614265330.0)
    assert url.startswith("https://example.org/send?access_token=x&timestamp=1614265330000&sign=")
    assert base64.b64encode(digest)[:10].decode() in url
    body = json.loads(sent("feishu", secret="s3cret").body)
    assert body["sign"] == feishu.signature("1614265330", "s3cret")
    assert "sign" not in json.loads(sent("feishu", secret="").body)


def test_it_keeps_what_wecom_is_sent_below_its_limit():
    task = {**TASK, "reason": "失" * 5000, "name": "败" * 5000}
    event = {"type": "task.failed", "data": {"task": task}}
    one = Letter("d1", "wecom", "https://example.org/", "", event)
    content = json.loads(ADAPTERS["wecom"].make(one, PAGES, 0.0).body)["markdown"]["content"]
    assert len(content.encode()) <= 4096


@pytest.mark.parametrize("kind", ["dingtalk", "wecom", "feishu"])
def test_it_sees_a_refusal_that_comes_with_status_200(kind):
    problem = ADAPTERS[kind].problem
    assert "310000" in problem(b'{"errcode": 310000, "code": 310000, "errmsg": "no", "msg": "no"}')
    assert problem(b'{"errcode": 0, "code": 0}') == ""
    assert problem(b"<html>") != ""


def test_it_writes_a_mail_with_an_id_that_stays():
    fields = {"sender": "ms@example.org", "recipients": ["a@example.org", "b@example.org"]}
    message = email.make(letter(EMAIL, **fields), PAGES, 0.0)
    assert message["Subject"] == "Task <nightly> & more has failed"
    assert message["Message-ID"] == "<d1@example.org>"
    assert message["To"] == "a@example.org, b@example.org"
    assert f"{PAGES}/tasks/t1" in message.get_content()


# ---- addresses

REFUSED = [
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1",
    "240.0.0.1", "168.63.129.16", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_it_refuses_what_is_not_public(address):
    with pytest.raises(RefusedAddress, match="callback_allow"):
        Doorkeeper().check(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_it_lets_through_what_is_public(address):
    Doorkeeper().check(address)


def test_it_lets_through_what_is_allowed_and_nothing_beside_it():
    keeper = Doorkeeper(["10.1.0.0/16", "::1/128"])
    keeper.check("10.1.2.3")
    keeper.check("::ffff:10.1.2.3")
    keeper.check("::1")
    for other in ("10.2.0.1", "127.0.0.1", "::2"):
        with pytest.raises(RefusedAddress):
            keeper.check(other)


def test_it_judges_each_address_of_a_name_when_it_connects():
    with pytest.raises(RefusedAddress):
        Doorkeeper().connect("localhost", 9, 1.0)
