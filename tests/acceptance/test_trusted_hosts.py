"""Who is let in, who is sent away, and what becomes of an identity that is on two machines?"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_hosts import until_run, until_state
from tests.fleet import Answer, Api, Fleet, Program
from tests.support import until
from tests.witness import Witness
from utils import write_private
from wire.keys import parse_join

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def act(api: Api, agent: str, verb: str, body: dict[str, Any] | None = None) -> Answer:
    answer = api.call("POST", f"/api/v1/agents/{agent}/{verb}", body)
    assert answer.status == 200, answer.body
    return answer


def new_token(api: Api, **wish: Any) -> str:
    """A join string for the agents of this test."""
    answer = api.call("POST", "/api/v1/join-tokens", {"name": "for a test", **wish})
    assert answer.status == 201, answer.body
    return str(answer.json["join"])


def reachable(fleet: Fleet, join: str) -> str:
    """The join string with the address of this machine that the master listens on."""
    parsed = parse_join(join)
    return join.replace(f"{parsed.host}:{parsed.port}", f"127.0.0.1:{fleet.master_port}")


def host(fleet: Fleet, name: str, join: str, **environ: str) -> Program:
    """One more agent, with a join string of its own; not started."""
    agent = Program(
        name,
        "app.py",
        fleet.root / name,
        ["--hostname", name, "--slots", "4"],
        {**fleet.environ, **environ},
    )
    give_join(fleet, agent, join)
    fleet.agents[name] = agent
    return agent


def give_join(fleet: Fleet, agent: Program, join: str) -> None:
    file = fleet.root / f"{agent.name}.join"
    write_private(file, reachable(fleet, join).encode())
    if "--join-file" in agent.arguments:
        at = agent.arguments.index("--join-file")
        del agent.arguments[at : at + 2]
    agent.arguments += ["--join-file", str(file)]


def until_log(agent: Program, text: str) -> None:
    until(lambda: text in agent.log, 90, f"{text!r} in the log of {agent.name}")


def until_standing(api: Api, agent: str, standing: str) -> dict[str, Any]:
    def as_wanted() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get(f"/api/v1/agents/{agent}")
        return found if found["standing"] == standing else None

    return until(as_wanted, 90, f"agent {agent} to be {standing}")


# ---- tokens


def test_a_token_lets_in_as_many_as_it_says_gives_labels_and_ends(make_fleet: MakeFleet):
    fleet = make_fleet()
    join = new_token(fleet.api, uses=1, labels={"env": "prod", "role": "web"})
    host(fleet, "web02", join).start()
    until_state(fleet.api, "web02", "online")
    late = host(fleet, "web03", join)
    late.start()
    until_log(late, "is used up")
    (token,) = (t for t in fleet.api.get("/api/v1/join-tokens")["items"] if t["used"] == 1
                and t["name"] == "for a test")  # fmt: skip
    assert (token["state"], token["uses_left"]) == ("used up", 0)
    assert fleet.api.get("/api/v1/targets", expr="@env:prod&@role:web")["nodeset"] == "web02"

    short = new_token(fleet.api, expires_in=1)
    until(lambda: "expired" in states_of_tokens(fleet.api), 90, "the end of the token")
    give_join(fleet, late, short)
    late.restart()
    until_log(late, "expired at")
    assert "web03" not in {agent["hostname"] for agent in fleet.api.agents()}


def states_of_tokens(api: Api) -> list[str]:
    return [token["state"] for token in api.get("/api/v1/join-tokens")["items"]]


def test_what_the_master_prints_is_a_token_that_ends(make_fleet: MakeFleet):
    tokens = make_fleet().api.get("/api/v1/join-tokens")["items"]
    assert {(token["role"], token["name"]) for token in tokens} == {
        ("agent", "printed for agent"),
        ("web", "printed for web"),
    }
    assert all(token["expires_at"] for token in tokens)


# ---- hosts that wait


def test_a_host_that_waits_takes_no_work_until_it_is_accepted(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    api = fleet.api
    agent = host(fleet, "new01", new_token(api, accept="by hand"))
    agent.start()
    until_log(agent, "waiting to be accepted")
    (pending,) = api.items("/api/v1/agents", standing="pending")
    assert pending["fingerprint"] in agent.log
    assert "new01" not in {one["hostname"] for one in api.agents()}
    assert api.get("/api/v1/status")["pending"] == 1
    for targets in ("new01", [pending["id"]]):
        refused = api.call("POST", "/api/v1/tasks", {"script": "true", "targets": targets})
        assert refused.status == 422, refused.body
    assert api.get("/api/v1/targets", expr="@*")["nodeset"] == "web01"

    act(api, pending["id"], "accept")
    until_state(api, "new01", "online")
    task = api.submit(witness.say("hello"), "new01")
    assert api.finished(task)["state"] == "SUCCEED"


def test_a_refused_host_goes_and_comes_back_only_as_a_new_one(make_fleet: MakeFleet):
    fleet = make_fleet()
    api = fleet.api
    join = new_token(api, accept="by hand")
    agent = host(fleet, "new01", join)
    agent.start()
    until(lambda: api.items("/api/v1/agents", standing="pending"), 90, "a host that waits")
    (pending,) = api.items("/api/v1/agents", standing="pending")
    act(api, pending["id"], "refuse")
    until_log(agent, "is deleted (refused by admin)")
    assert api.items("/api/v1/agents", standing="pending") == []

    agent.terminate()
    new_identity(agent)
    agent.start()
    until(lambda: api.items("/api/v1/agents", standing="pending"), 90, "it waits again")
    assert api.items("/api/v1/agents", standing="pending")[0]["id"] != pending["id"]


def new_identity(agent: Program) -> None:
    """mschedule-agent --new-identity, and it ends."""
    agent.arguments.append("--new-identity")
    try:
        agent.start()
        assert agent.wait() == 0, agent.log
    finally:
        agent.arguments.remove("--new-identity")
    assert "lie in" in agent.log


# ---- sent away


def test_a_revoked_host_is_told_at_once_and_its_running_script_is_unknown(
    make_fleet: MakeFleet, witness: Witness
):
    # Given a host with a script that runs, one that waits for it, and its poll parked
    fleet = make_fleet(["web01", "web02"], slots=1)
    api, agent = fleet.api, fleet.agents["web01"]
    id = fleet.agent_id("web01")
    running = api.submit(witness.play(), "web01")
    witness.wait_for("start", 1)
    waiting = api.submit(witness.say("late"), "web01")

    # When it is revoked
    view = act(api, id, "revoke", {"reason": "stolen"}).json

    # Then nothing of it is left open, and its poll has ended
    assert (view["standing"], view["reason"]) == ("revoked", "revoked by admin: stolen")
    assert api.run(running)["state"] == "UNKNOWN"
    assert api.run(waiting)["state"] == "SKIPPED"
    assert {api.finished(task)["state"] for task in (running, waiting)} == {"FAILED"}
    until_log(agent, "is revoked (revoked by admin: stolen)")
    refused = api.call("POST", "/api/v1/tasks", {"script": "true", "targets": [id]})
    assert refused.status == 422

    # And what it says about the script comes in when it has a new key
    witness.open()
    give_join(fleet, agent, act(api, id, "re-enrol").json["join"])
    agent.restart()
    assert until_run(api, running, "SUCCEED")["agent"] == id
    assert witness.count("late") == 0


def test_a_host_whose_poll_is_parked_is_refused_without_waiting_for_its_end(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    agent = fleet.agents["web01"]
    assert fleet.api.finished(fleet.api.submit("true", "web01"))["state"] == "SUCCEED"
    act(fleet.api, fleet.agent_id("web01"), "revoke")
    until_log(agent, "is revoked")
    again = fleet.api.call("POST", "/api/v1/tasks", {"script": "true", "targets": "web01"})
    assert again.status == 422


def test_a_deleted_host_is_in_no_list_and_its_runs_still_name_it(make_fleet: MakeFleet):
    fleet = make_fleet(["web01", "web02"])
    api, id = fleet.api, fleet.agent_id("web01")
    task = api.submit("echo was here", "web01")
    api.finished(task)
    act(api, id, "delete")
    assert {agent["hostname"] for agent in api.agents()} == {"web02"}
    assert api.run(task)["hostname"] == "web01"
    assert api.get(f"/api/v1/agents/{id}")["standing"] == "deleted"
    assert api.call("POST", f"/api/v1/agents/{id}/re-enrol").status == 404
    until_log(fleet.agents["web01"], "--new-identity")

    agent = fleet.agents["web01"]
    agent.terminate()
    new_identity(agent)
    agent.start()
    until_state(api, "web01", "online")
    assert fleet.agent_id("web01") != id
    fleet.master.restart()
    until(fleet.is_up, 90, "the fleet")
    assert len(api.agents()) == 2


# ---- names


def test_a_new_hostname_matches_nothing_until_it_is_accepted(make_fleet: MakeFleet):
    fleet = make_fleet(["web01", "db1"])
    api, id, agent = fleet.api, fleet.agent_id("web01"), fleet.agents["web01"]
    act_labels = api.call("PATCH", f"/api/v1/agents/{id}", {"labels": {"env": "prod"}})
    assert act_labels.status == 200
    agent.arguments[agent.arguments.index("--hostname") + 1] = "db1"
    agent.restart()
    until(lambda: api.get(f"/api/v1/agents/{id}")["claimed_hostname"] == "db1", 90, "the claim")
    until_state(api, "web01", "online")

    for expression in ("db*", "@*"):
        assert api.get("/api/v1/targets", expr=expression)["nodeset"] == "db1"
        assert id not in api.get("/api/v1/targets", expr=expression)["ids"]
    assert api.get("/api/v1/targets", expr="@env:prod")["count"] == 0
    refused = api.call("POST", "/api/v1/tasks", {"script": "true", "targets": "web01"})
    assert (refused.status, "calls itself db1 now" in refused.json["error"]["message"]) == (
        422,
        True,
    )
    assert api.finished(api.submit("true", [id]))["state"] == "SUCCEED"
    assert api.get("/api/v1/status")["renamed"] == 1

    other = api.call("POST", f"/api/v1/agents/{id}/accept-hostname", {"hostname": "db7"})
    assert other.status == 409
    act(api, id, "accept-hostname", {"hostname": "db1"})
    assert api.get("/api/v1/targets", expr="@env:prod")["ids"] == [id]
    assert api.get("/api/v1/status")["renamed"] == 0


# ---- copies


def copy_disk(agent: Program, copy: Program, *without: str) -> None:
    """The state directory of one agent becomes that of another, but for its lock."""
    ignore = shutil.ignore_patterns("lock", *without)
    shutil.copytree(agent.state_dir, copy.state_dir, symlinks=True, ignore=ignore)


def test_two_agents_of_one_state_directory_are_quarantined_and_new_keys_heal_them(
    make_fleet: MakeFleet, witness: Witness
):
    # Given a host, and another one started from a copy of its state directory
    fleet = make_fleet()
    api, id, agent = fleet.api, fleet.agent_id("web01"), fleet.agents["web01"]
    assert api.finished(api.submit("true", "web01"))["state"] == "SUCCEED"
    copy = host(fleet, "copy", fleet.join_string("agent"))
    agent.pause()
    copy_disk(agent, copy)
    agent.resume()

    # When both run
    copy.start()

    # Then both are quarantined, and nothing runs on either
    view = until_standing(api, id, "quarantined")
    assert "speak with its key in turn" in view["reason"]
    assert api.get("/api/v1/status")["quarantined"] == 1
    for one in (agent, copy):
        until_log(one, "is quarantined")
    refused = api.call("POST", "/api/v1/tasks", {"script": "true", "targets": [id]})
    assert refused.status == 422
    assert witness.count() == 0

    # And after a new key for the one, and a new identity for the other, both work
    give_join(fleet, agent, act(api, id, "re-enrol").json["join"])
    agent.restart()
    until_standing(api, id, "enrolled")
    until_state(api, "web01", "online")
    until_log(copy, "not enrolled")
    copy.terminate()
    new_identity(copy)
    copy.start()
    until(lambda: len(api.agents()) == 2, 90, "both hosts")
    assert list((copy.state_dir / "aside").iterdir())
    until(fleet.is_up, 90, "both online")
    task = api.submit(witness.say("healed"), "@*", parallel=0)
    assert api.finished(task)["counts"]["SUCCEED"] == 2
    # The join string for the new key may stay where it is
    agent.restart()
    until_state(api, "web01", "online")


def test_restarts_and_lost_connections_never_look_like_a_copy(make_fleet: MakeFleet):
    fleet = make_fleet()
    agent, api = fleet.agents["web01"], fleet.api
    for _ in range(3):
        agent.kill()
        agent.start()
        until_state(api, "web01", "online")
        assert api.finished(api.submit("true", "web01"))["state"] == "SUCCEED"
        fleet.master.restart()
        until(fleet.is_up, 90, "the master")
        assert api.finished(api.submit("true", "web01"))["state"] == "SUCCEED"
    assert api.agents()[0]["standing"] == "enrolled"


def test_a_copied_disk_on_another_machine_joins_as_a_new_host_and_tells_no_results(
    make_fleet: MakeFleet, witness: Witness
):
    # Given a host with a run in its journal, and a copy of its disk on another machine
    fleet = make_fleet()
    api, id, agent = fleet.api, fleet.agent_id("web01"), fleet.agents["web01"]
    machine = fleet.root / "machine-id"
    machine.write_text("another machine\n")
    task = api.submit(witness.play(), "web01")
    witness.wait_for("start", 1)
    copy = host(fleet, "copy", fleet.join_string("agent"), MSCHEDULE_MACHINE_ID_FILE=str(machine))
    copy_disk(agent, copy, "machine-id")

    # When it starts
    copy.start()
    until_state(api, "copy", "online")

    # Then it is a host of its own, and the run is still that of the first
    assert "joins as a new one" in copy.log
    assert {one["standing"] for one in api.agents()} == {"enrolled"}
    assert fleet.agent_id("copy") != id
    (folder,) = (copy.state_dir / "aside").iterdir()
    assert {"journal", "runs", "keys", "id"} <= {path.name for path in folder.iterdir()}
    assert api.run(task)["state"] == "RUNNING"
    witness.open()
    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.count("start") == 1
