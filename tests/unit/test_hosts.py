"""The list of hosts: what is shown of memory, in which order, and a window at a time."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from master import hosts
from master.records import Agent
from master.roster import Presence, Roster
from master.targets import natural
from tests.factories import make_agent
from wire.errors import InvalidValue, Malformed
from wire.messages import Heartbeat
from wire.requests import Auth, ListAgents
from wire.states import Standing
from wire.views import AgentView, Page

NOW = 1_000.0

SORTS: dict[str, Callable[[AgentView], Any]] = {
    "hostname": lambda view: 0,
    "state": lambda view: ["online", "stale", "offline"].index(view.state),
    "busy": lambda view: view.busy,
    "last_seen": lambda view: view.last_seen,
    "version": lambda view: natural(view.version),
    "clock_skew": lambda view: -1 if view.clock_skew is None else abs(view.clock_skew),
}


def make_roster(*agents: Agent) -> Roster:
    """All of them online, as at NOW."""
    roster = Roster(5.0)
    for agent in agents:
        roster.registered(agent, NOW)
    return roster


def agent(hostname: str, **fields: Any) -> Agent:
    number = fields.pop("id", hostname)
    return make_agent(id=number, key=f"key of {number}", hostname=hostname, **fields)


def presence(roster: Roster, id: str) -> Presence:
    found = roster.get(id)
    assert found is not None
    return found


def listed(roster: Roster, **asked: Any) -> Page:
    wanted = hosts.check(ListAgents(Auth(), **asked))
    ranks = hosts.Ranks().of(roster.names_version, roster.all())
    return hosts.page(roster.all(), ranks, wanted, NOW)


def names(page: Page) -> list[str]:
    return [view.hostname for view in page.items]


def a_few() -> Roster:
    roster = make_roster(
        agent("web10", ip=["10.0.0.10"], labels={"env": "prod", "role": "web"}, version="0.9.0"),
        agent("web2", ip=["10.0.0.2"], labels={"env": "dev", "role": "web"}, version="0.10.0"),
        agent("DB1", ip=["fe80::AB"], labels={"env": "prod"}, id="f" * 32),
    )
    presence(roster, "web2").heard_at = NOW - 15.0
    presence(roster, "f" * 32).heard_at = NOW - 60.0
    return roster


def test_it_lists_hosts_as_people_count() -> None:
    page = listed(a_few())
    assert names(page) == ["DB1", "web2", "web10"]
    assert (page.total, page.next) == (3, None)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"text": "WEB"}, ["web2", "web10"]),
        ({"text": " db "}, ["DB1"]),
        ({"text": "10.0.0."}, ["web2", "web10"]),
        ({"text": "80::ab"}, ["DB1"]),
        ({"text": "ffff"}, ["DB1"]),
        ({"text": "nothing"}, []),
        ({"text": ""}, ["DB1", "web2", "web10"]),
        ({"state": "online"}, ["web10"]),
        ({"state": "stale"}, ["web2"]),
        ({"state": "offline"}, ["DB1"]),
        ({"label": "env:prod"}, ["DB1", "web10"]),
        ({"label": "role"}, ["web2", "web10"]),
        ({"label": "role:"}, []),
        ({"label": "nothing:x"}, []),
        ({"label": "env:prod", "text": "web", "state": "online"}, ["web10"]),
        ({"sort": "-hostname"}, ["web10", "web2", "DB1"]),
        ({"sort": "state"}, ["web10", "web2", "DB1"]),
        ({"sort": "-last_seen"}, ["web10", "web2", "DB1"]),
        ({"sort": "version", "text": "web"}, ["web10", "web2"]),
    ],
)
def test_it_filters_and_sorts(asked: dict[str, Any], found: list[str]) -> None:
    page = listed(a_few(), **asked)
    assert names(page) == found
    assert page.total == len(found)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"sort": "colour"}, "sort"),
        ({"sort": "--busy"}, "sort"),
        ({"state": "asleep"}, "state"),
        ({"offset": -1}, "offset"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "WzFd"}, "cursor"),
    ],
)
def test_it_says_what_is_wrong(asked: dict[str, Any], field: str) -> None:
    with pytest.raises((InvalidValue, Malformed)) as caught:
        listed(a_few(), **asked)
    assert caught.value.field == field


def test_it_refuses_a_cursor_of_a_list_that_was_sorted_otherwise() -> None:
    cursor = listed(a_few(), limit=1, sort="busy").next
    for sort in ("version", "hostname", "last_seen"):
        with pytest.raises(Malformed, match="sorted otherwise"):
            listed(a_few(), limit=1, sort=sort, cursor=cursor)


def test_it_shows_a_window_of_rows() -> None:
    roster = make_roster(*(agent(f"web{n}") for n in range(50)))
    page = listed(roster, limit=5, offset=20)
    assert names(page) == [f"web{n}" for n in range(20, 25)]
    assert page.total == 50
    assert names(listed(roster, limit=5, cursor=page.next)) == [f"web{n}" for n in range(25, 30)]
    assert names(listed(roster, limit=5, offset=50)) == []
    assert listed(roster, limit=5, offset=10**9).next is None


def test_it_has_nothing_to_list_of_no_hosts() -> None:
    assert listed(Roster(5.0)) == Page([], None, 0)


def test_it_shows_what_a_host_has_said_last() -> None:
    roster = make_roster(agent("web1", facts={"os": "Debian", "cpus": 8}, version="0.2.0"))
    beat = Heartbeat("", "web1", "web1", ["10.9.9.9"], busy=3, clock=NOW + 2)
    roster.beat(beat, presence(roster, "web1"), wall=NOW)
    (view,) = listed(roster).items
    assert (view.busy, view.ip, view.clock_skew, view.version) == (3, ["10.9.9.9"], 2.0, "0.2.0")
    assert view.facts == {"os": "Debian", "cpus": 8}
    assert listed(roster, facts=False).items[0].facts == {}


def test_it_lists_a_host_that_is_given_no_work_as_well() -> None:
    roster = make_roster(agent("web1"))
    roster.set_standing("web1", Standing.QUARANTINED)
    (view,) = listed(roster).items
    assert (view.standing, view.state) == ("quarantined", "offline")


def test_it_goes_on_from_a_host_that_is_no_longer_there() -> None:
    names_then = [agent(f"web{n}") for n in range(6)]
    cursor = listed(make_roster(*names_then), limit=3).next
    assert names(listed(make_roster(*names_then[3:]), cursor=cursor)) == ["web3", "web4", "web5"]


def test_it_ranks_anew_only_when_a_name_came_or_changed() -> None:
    roster = make_roster(agent("web1"))
    before = roster.names_version
    roster.registered(agent("web1"), NOW)
    assert roster.names_version == before
    roster.registered(agent("web9", id="web1"), NOW)
    assert roster.names_version > before
    assert names(listed(roster)) == ["web9"]


@st.composite
def fleets(draw: st.DrawFn) -> Roster:
    hostnames = draw(st.lists(st.from_regex(r"[a-b]{1,2}[0-9]{0,2}", fullmatch=True), max_size=20))
    roster = make_roster(
        *(
            agent(
                name,
                id=f"{number:032x}",
                version=draw(st.sampled_from(["0.9", "0.10", "1.0rc1", ""])),
            )
            for number, name in enumerate(hostnames)
        )
    )
    for one in roster.all():
        one.busy = draw(st.integers(0, 2))
        one.heard_at = NOW - draw(st.sampled_from([0.0, 0.125, 15.0, 60.0]))
        one.skew_s = draw(st.none() | st.sampled_from([-2.5, 0.0, 0.1, 2.5]))
    return roster


@given(fleets(), st.sampled_from(sorted(SORTS)), st.booleans(), st.integers(1, 7))
def test_walking_all_pages_gives_each_host_once_in_order(
    roster: Roster, sort: str, descending: bool, limit: int
) -> None:
    asked = "-" + sort if descending else sort
    walked: list[AgentView] = []
    cursor = None
    while True:
        page = listed(roster, limit=limit, cursor=cursor, sort=asked)
        assert page.total == len(roster)
        walked += page.items
        cursor = page.next
        if cursor is None:
            break
        assert len(page.items) == limit
    wanted = sorted(
        listed(roster).items,
        key=lambda view: (SORTS[sort](view), natural(view.hostname), view.id),
        reverse=descending,
    )
    assert msgspec.to_builtins(walked) == msgspec.to_builtins(wanted)
