"""Do people, sessions, tokens and limits hold with the real programs, below the pages?"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fleet import ROOT, Api, Fleet
from tests.support import until
from tests.web_peer import WebPeer, web_peer
from wire.errors import Refusal, Unauthenticated

PASSWORD = "correct horse battery"
HOME, CAFE = "192.0.2.7", "198.51.100.9"


@pytest.fixture(scope="module")
def peer(fleet: Fleet) -> Iterator[WebPeer]:
    with web_peer(fleet.join_string("web")) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def alice(fleet: Fleet, peer: WebPeer) -> str:
    """The first admin, by the code that lies beside the store; the secret of a session."""
    file = fleet.master.state_dir / "setup-code"
    code = file.read_text().strip()
    assert peer.call("get_doors") == {"setup": True}
    assert fleet.master.log.count(code) == 1
    opened = peer.call("set_up", code=code, name="alice", password=PASSWORD)

    # It works once: not a second time, and no trace of it is left.
    refused = peer.refusal("set_up", code=code, name="mallory", password=PASSWORD)
    assert refused.code == "unauthenticated"
    assert peer.call("get_doors") == {"setup": False}
    assert not file.exists()
    return str(opened["secret"])


@pytest.fixture(scope="module")
def otto(fleet: Fleet, peer: WebPeer, alice: str) -> dict[str, Any]:
    """An operator who is limited to staging: web01 and web02."""
    ids = {agent["hostname"]: agent["id"] for agent in fleet.api.agents()}
    labels = {
        ids["web01"]: {"env": "staging"},
        ids["web02"]: {"env": "staging"},
        ids["db1"]: {"env": "prod"},
    }
    peer.call("set_labels", alice, labels=labels)
    return add(peer, alice, "otto", "operator", hosts="@env:staging")


def add(peer: WebPeer, by: str, name: str, role: str, **values: Any) -> dict[str, Any]:
    return peer.call("add_person", by, name=name, role=role, password=PASSWORD, **values)


def change(peer: WebPeer, by: str, person: dict[str, Any], **values: Any) -> dict[str, Any]:
    return peer.call("change_person", by, id=person["id"], **values)


def refused(api: Api, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answer = api.call(method, path, body)
    assert answer.status == 403, answer.body
    return dict(answer.json["error"])


# ---- coming in


def test_a_person_logs_in_calls_with_the_session_and_logs_out(peer: WebPeer, alice: str):
    add(peer, alice, "bob", "viewer")
    session = peer.log_in("BOB", PASSWORD)
    me = peer.call("whoami", session)
    assert (me["name"], me["role"], me["kind"]) == ("bob", "viewer", "session")
    assert peer.refusal("get_people", session).code == "forbidden"
    assert peer.refusal("log_in", name="bob", password="wrong password").code == "unauthenticated"

    peer.call("log_out", session)

    assert peer.refusal("whoami", session).code == "unauthenticated"


def test_a_person_logs_out_everywhere(peer: WebPeer, alice: str):
    add(peer, alice, "carol", "viewer")
    sessions = [peer.log_in("carol", PASSWORD, address=where) for where in (HOME, CAFE, HOME)]
    listed = peer.call("get_sessions", sessions[0])["items"]
    assert sorted(one["address"] for one in listed) == [HOME, HOME, CAFE]

    peer.call("log_out_everywhere", sessions[0])

    assert {peer.refusal("whoami", one).code for one in sessions} == {"unauthenticated"}


def test_the_credentials_of_a_disabled_person_end_at_the_next_call(
    fleet: Fleet, peer: WebPeer, alice: str
):
    dave = add(peer, alice, "dave", "operator")
    session = peer.log_in("dave", PASSWORD)
    token = peer.call("add_token", session, name="deploy", role="operator")["secret"]
    api = fleet.connect(token)
    task = api.submit("true", "web01")
    assert api.finished(task)["created_by"] == "dave"
    by_token = peer.call("log_in_by_token", token)["secret"]

    change(peer, alice, dave, disabled=True)

    for credential in (session, token, by_token):
        assert peer.refusal("whoami", credential).code == "unauthenticated"
    assert peer.refusal("log_in", name="dave", password=PASSWORD).code == "unauthenticated"


def test_who_fails_is_slowed_down_by_account_and_by_address(peer: WebPeer, alice: str):
    add(peer, alice, "erin", "viewer")
    known = peer.log_in("erin", PASSWORD, address=HOME)

    def fail(name: str, address: str) -> Refusal:
        return peer.refusal("log_in", name=name, password="a wrong guess", address=address)

    for number in range(5):
        assert fail("erin", f"203.0.113.{number}").code == "unauthenticated"
    slowed = fail("erin", CAFE)
    assert (slowed.code, slowed.status) == ("too_many_attempts", 429)
    assert slowed.details is not None
    assert slowed.details["retry_after_s"] >= 1
    assert peer.refusal("log_in", name="erin", password=PASSWORD, address=CAFE).code == slowed.code
    # Where she has logged in before she still can.
    assert peer.log_in("erin", PASSWORD, token=known, address=HOME)


def test_who_guesses_the_code_is_slowed_down_by_address(peer: WebPeer):
    def guess(address: str) -> str:
        wrong = {"code": "AAAAA-AAAAA-AAAAA-AAAAA", "name": "mallory", "password": PASSWORD}
        return peer.refusal("set_up", **wrong, address=address).code

    assert {guess("203.0.113.77") for _ in range(40)} == {"unauthenticated"}
    assert guess("203.0.113.77") == "too_many_attempts"
    # One network of IPv6 is one address.
    assert {guess(f"2001:db8::{number:x}") for number in range(40)} == {"unauthenticated"}
    assert guess("2001:db8::ffff") == "too_many_attempts"
    assert guess(HOME) == "unauthenticated"


def test_log_ins_of_a_crowd_leave_the_master_free_for_others(fleet: Fleet, peer: WebPeer):
    # Given thirty at once, each of which costs as much as that of a person who is known
    crowd = [
        peer.begin("log_in", name=f"crowd{number}", password=PASSWORD, address="203.0.113.88")
        for number in range(30)
    ]

    # Then everything else is answered while they are looked at, two at a time
    for _ in range(10):
        assert fleet.api.agents()
    task = fleet.api.submit("true", "@*", parallel=0)
    assert fleet.api.finished(task)["state"] == "SUCCEED"
    assert not peer.is_answered(crowd[-1])
    for call in crowd:
        with pytest.raises(Unauthenticated):
            peer.answer(call)


# ---- limits


def test_a_limited_operator_acts_on_their_hosts_alone(
    fleet: Fleet, api: Api, peer: WebPeer, otto: dict[str, Any]
):
    session = peer.log_in("otto", PASSWORD)
    token = peer.call("add_token", session, name="deploy", role="operator")["secret"]
    ottos = fleet.connect(token)

    # Submit
    for targets in ("@*", "db1", "@env:prod", [fleet.agent_id("db1")]):
        error = refused(ottos, "POST", "/api/v1/tasks", {"script": "true", "targets": targets})
        assert "db1" in error["message"]
    task = ottos.submit("exit 3", "@env:staging", parallel=0)
    assert ottos.finished(task)["state"] == "FAILED"

    # Retry
    across = api.submit("exit 3", "@*", parallel=0)
    api.finished(across)
    retry = {"states": ["FAILED"]}
    assert "db1" in refused(ottos, "POST", f"/api/v1/tasks/{across}/retry", retry)["message"]
    assert ottos.call("POST", f"/api/v1/tasks/{task}/retry", retry).status == 201

    # Cancel a task, cancel a run
    gate = fleet.root / "gate"
    waiting = f"until test -e {gate}; do sleep 0.05; done"
    across = api.submit(waiting, "@*", parallel=0)
    runs = {run["hostname"]: run["id"] for run in api.runs(across)}
    refused(ottos, "POST", f"/api/v1/tasks/{across}/cancel")
    refused(ottos, "POST", f"/api/v1/tasks/{across}/runs/{runs['db1']}/cancel")
    assert ottos.cancel(across, runs["web01"]).status == 200
    # That answers what is wanted; until it is done, a script may still end by itself.
    until(lambda: api.run(across, "web01")["state"] == "CANCELLED", what="the end of web01's run")
    gate.touch()
    states = {run["hostname"]: run["state"] for run in api.runs(api.finished(across)["id"])}
    assert states == {"web01": "CANCELLED", "web02": "SUCCEED", "db1": "SUCCEED"}

    # And everything is shown.
    assert len(ottos.agents()) == 3
    assert ottos.task(across)["total"] == 3


def test_a_limit_holds_for_what_it_names_now(
    fleet: Fleet, peer: WebPeer, alice: str, otto: dict[str, Any]
):
    session = peer.log_in("otto", PASSWORD)
    web02 = fleet.agent_id("web02")
    submission = {"script": "true", "targets": "web02"}
    peer.call("add_task", session, submission=submission)
    peer.call("set_labels", alice, labels={web02: {"env": "prod"}})
    assert peer.refusal("add_task", session, submission=submission).code == "forbidden"
    peer.call("set_labels", alice, labels={web02: {"env": "staging"}})
    peer.call("add_task", session, submission=submission)


# ---- what outlives the master, and the way back in


def test_sessions_and_tokens_outlive_a_restart_of_the_master(
    make_fleet: Callable[..., Fleet],
):
    fleet = make_fleet(["web01"])
    with web_peer(fleet.join_string("web")) as peer:
        code = (fleet.master.state_dir / "setup-code").read_text().strip()
        session = peer.call("set_up", code=code, name="alice", password=PASSWORD)["secret"]
        token = peer.call("add_token", session, name="deploy", role="admin")["secret"]

        fleet.master.restart()
        fleet.master.port()

        until(lambda: _knows(peer, session), 20.0, "the master to know the session")
        listed = peer.call("get_tokens", token)["items"]
        assert [one["name"] for one in listed] == ["deploy"]
        assert listed[0]["last_used"] is None
        # When it stops, the master writes down what was used.
        fleet.master.restart()
        fleet.master.port()
        until(lambda: _knows(peer, session), 20.0, "the master to know the session")
        assert peer.call("get_tokens", session)["items"][0]["last_used"] is not None
        assert not (fleet.master.state_dir / "setup-code").exists()


def _knows(peer: WebPeer, session: str) -> bool:
    try:
        return bool(peer.call("whoami", session)["name"] == "alice")
    except Refusal as refusal:
        assert refusal.code == "unavailable"
        return False


def test_whoever_sits_at_the_machine_mends_an_admin_who_lost_the_password(
    fleet: Fleet, peer: WebPeer, alice: str
):
    add(peer, alice, "frank", "operator")
    lost = peer.log_in("frank", PASSWORD)
    printed = subprocess.run(
        [sys.executable, *fleet.master.arguments, "--print-setup-code"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    code = printed.stdout.strip()
    assert peer.call("get_doors") == {"setup": True}

    opened = peer.call("set_up", code=code, name="frank", password="another password")

    assert peer.call("whoami", opened["secret"])["role"] == "admin"
    assert peer.refusal("whoami", lost).code == "unauthenticated"
    assert peer.call("get_doors") == {"setup": False}
    refusal = peer.refusal("set_up", code=code, name="frank", password="another password")
    assert refusal.code == "unauthenticated"


def test_no_secret_is_written_into_a_log(fleet: Fleet, peer: WebPeer, alice: str):
    token = peer.call("add_token", alice, name="logged", role="admin")["secret"]
    peer.refusal("log_in", name=PASSWORD, password=PASSWORD)
    for secret in (alice, token, PASSWORD):
        assert secret not in fleet.master.log
