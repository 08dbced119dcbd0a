"""Can a saved group be used wherever hosts are chosen, and does it change at once?"""

from collections.abc import Iterator

import pytest

from tests.fleet import Api, Fleet
from tests.support import until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("groups"), ["web01", "web02", "db1"]) as started:
        yield started


def hosts_of(api: Api, expression: str) -> str:
    return str(api.get("/api/v1/targets", expr=expression)["nodeset"])


def test_it_is_saved_used_changed_and_removed(api: Api, fleet: Fleet):
    group = {"name": "shop", "hosts": "web*", "note": "front"}
    made = api.call("POST", "/api/v1/groups", group)
    assert (made.status, made.headers["location"]) == (201, "/api/v1/groups/shop")
    assert (made.json["count"], made.json["nodeset"]) == (2, "web[01-02]")
    assert hosts_of(api, "@shop!web01") == "web02"

    task = api.submit("true", "@shop", parallel=0)
    changed = api.call("PUT", "/api/v1/groups/shop", {"hosts": "db1,web02"})
    assert (changed.status, changed.json["nodeset"]) == (200, "db1,web02")
    assert hosts_of(api, "@shop") == "db1,web02"
    assert {run["hostname"] for run in api.runs(task)} == {"web01", "web02"}

    fleet.master.kill()
    fleet.master.start()
    until(fleet.is_up, 60, "the fleet")
    assert [one["name"] for one in api.get("/api/v1/groups")["items"]] == ["shop"]
    assert hosts_of(api, "@shop") == "db1,web02"

    assert api.call("DELETE", "/api/v1/groups/shop").status == 200
    gone = api.call("GET", "/api/v1/targets?expr=@shop")
    assert (gone.status, gone.json["error"]["field"]) == (422, "targets")


@pytest.mark.parametrize(
    ("group", "status", "field"),
    [
        ({"name": "a b", "hosts": "web*"}, 422, "name"),
        ({"name": "x" * 64, "hosts": "web*"}, 422, "name"),
        ({"name": "a", "hosts": "@a"}, 422, "hosts"),
        ({"name": "a", "hosts": "web[1"}, 422, "hosts"),
        ({"name": "a", "hosts": 5}, 400, "hosts"),
        ({"name": "a"}, 400, "hosts"),
    ],
)
def test_it_says_what_is_wrong(api: Api, group: dict[str, object], status: int, field: str):
    answer = api.call("POST", "/api/v1/groups", group)
    assert (answer.status, answer.json["error"]["field"]) == (status, field)


def test_a_group_without_its_host_is_shown_with_the_reason(api: Api):
    assert api.call("POST", "/api/v1/groups", {"name": "old", "hosts": "web*,web99"}).status == 201
    group = api.get("/api/v1/groups/old")
    assert (group["count"], group["problem"]) == (0, "there is no host named web99")
