"""Does a task run where its submitter meant, and nowhere else?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Answer, Api, Fleet
from tests.support import until

ALONE = ["web01", "web02", "web10", "db1"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four hosts with names of their own, and two that both say they are `twin`."""
    with Fleet(tmp_path_factory.mktemp("targets"), ALONE) as started:
        for name in ("twin-a", "twin-b"):
            started.add_agent(name, hostname="twin")
        until(lambda: len(twins(started.api)) == 2, 60, "the twins")
        label(started.api, web01="prod", web02="prod", web10="test", db1="prod")
        yield started


def twins(api: Api) -> list[str]:
    return sorted(agent["id"] for agent in api.agents() if agent["hostname"] == "twin")


def label(api: Api, **environments: str) -> None:
    """Give hosts the label env, as a person would."""
    labels = {name: {"env": value} for name, value in environments.items()}
    answer = api.call("POST", "/api/v1/agents/labels", {"labels": labels})
    assert answer.status == 200, answer.body


def hosts_of(api: Api, task: str) -> list[str]:
    return [run["hostname"] for run in api.runs(task)]


def refused(api: Api, targets: Any, **fields: Any) -> Answer:
    """A submission that must not be accepted."""
    before = api.items("/api/v1/tasks")
    answer = api.call("POST", "/api/v1/tasks", {"script": "true", "targets": targets, **fields})
    assert answer.status >= 400
    assert api.items("/api/v1/tasks") == before
    return answer


# ---- expressions


@pytest.mark.parametrize(
    ("expression", "hosts"),
    [
        ("web01", ["web01"]),
        ("web[01-02],db1", ["db1", "web01", "web02"]),
        ("web*", ["web01", "web02", "web10"]),
        ("web*!web01", ["web02", "web10"]),
        ("web*&web1?", ["web10"]),
        ("@env:prod", ["db1", "web01", "web02"]),
        ("@env:prod&web*", ["web01", "web02"]),
        ("@env:prod!db1", ["web01", "web02"]),
        ("@*!web*!db1", ["twin", "twin"]),
    ],
)
def test_an_expression_runs_on_the_hosts_that_it_names(
    api: Api, expression: str, hosts: list[str], tmp_path: Path
):
    task = api.submit(f'echo x >> {tmp_path}/"$MSCHEDULE_AGENT_ID"', expression, parallel=0)

    assert api.finished(task)["state"] == "SUCCEED"
    assert sorted(hosts_of(api, task)) == hosts
    ran = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert ran == {run["agent"]: "x\n" for run in api.runs(task)}


def test_ids_choose_targets_in_their_order_and_once(api: Api):
    ids = {agent["hostname"]: agent["id"] for agent in api.agents()}
    wanted = [ids["web10"], ids["db1"], ids["web10"]]

    task = api.submit("true", wanted)

    api.finished(task)
    assert hosts_of(api, task) == ["web10", "db1"]


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        ("web03", ["web03"]),
        ("web[01-04]", ["web03", "web04"]),
        (["0" * 32], ["0" * 32]),
        ("@role:db", ["@role:db"]),
        ("nobody*", ["nobody*"]),
        ("@saved", ["@saved"]),
        ("web[01-", ["web[01-"]),
        ("web[1-99999]x[1-99999]", []),
        ("", []),
        ([], []),
    ],
)
def test_targets_that_are_not_there_are_refused_by_name(api: Api, targets: Any, named: list[str]):
    answer = refused(api, targets)

    assert answer.status == 422
    assert answer.json["error"]["field"] == "targets"
    for name in named:
        assert name in answer.json["error"]["message"]


# ---- two agents that bear one hostname


def test_a_hostname_that_two_agents_bear_is_refused_with_both_ids(api: Api):
    for expression in ("twin", "web01,twin", "@*&twin"):
        answer = refused(api, expression)
        assert answer.status == 422
        assert "twin" in answer.json["error"]["message"]
        for id in twins(api):
            assert id in answer.json["error"]["message"]


def test_either_of_two_agents_with_one_hostname_is_chosen_by_its_id(api: Api, tmp_path: Path):
    for id in twins(api):
        task = api.submit(f'echo "$MSCHEDULE_AGENT_ID" >> {tmp_path}/ran', [id])
        assert api.finished(task)["state"] == "SUCCEED"
        run = api.run(task)
        assert (run["agent"], run["hostname"]) == (id, "twin")

    assert (tmp_path / "ran").read_text().split() == twins(api)


def test_both_agents_with_one_hostname_run_a_task_together(api: Api, tmp_path: Path):
    task = api.submit(f'touch {tmp_path}/"$MSCHEDULE_AGENT_ID"', twins(api), parallel=0)

    assert api.finished(task)["counts"]["SUCCEED"] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == twins(api)


# ---- previews


def preview(api: Api, expression: str) -> dict[str, Any]:
    return dict(api.get("/api/v1/targets", expr=expression))


def test_a_preview_folds_counts_and_names_what_would_run(api: Api):
    found = preview(api, "@env:prod")

    assert (found["nodeset"], found["count"], found["offline"]) == ("db1,web[01-02]", 3, 0)
    ids = {agent["id"] for agent in api.agents() if agent["labels"].get("env") == "prod"}
    assert set(found["ids"]) == ids
    assert preview(api, "web01,web02,db1")["digest"] == found["digest"]
    assert preview(api, "web01,web02")["digest"] != found["digest"]


def test_a_submission_that_expects_what_was_previewed_is_taken(api: Api):
    digest = preview(api, "@env:prod")["digest"]

    task = api.submit("true", "@env:prod", expect=digest, parallel=0)

    assert api.finished(task)["counts"]["SUCCEED"] == 3


def test_a_submission_that_expects_other_hosts_is_refused_with_what_changed(api: Api):
    # Given a preview, after which one host left the group and another joined it
    digest = preview(api, "@env:prod")["digest"]
    label(api, web01="test", web10="prod")
    try:
        # When it is submitted as it was previewed
        answer = refused(api, "@env:prod", expect=digest)

        # Then nothing runs, and the answer names both
        assert (answer.status, answer.json["error"]["field"]) == (409, "expect")
        assert "web01" in answer.json["error"]["message"]
        assert "web10" in answer.json["error"]["message"]
        assert "db1" not in answer.json["error"]["message"]
    finally:
        label(api, web01="prod", web10="test")


def test_a_submission_that_expects_what_nobody_was_shown_is_refused(api: Api):
    assert refused(api, "@env:prod", expect="0" * 64).status == 409
