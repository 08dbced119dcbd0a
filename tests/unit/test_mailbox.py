"""Parked polls, and whom a free place wakes."""

import itertools
from typing import Any

import pytest

from master import mailbox as mailbox_module
from master.mailbox import A_TURN, AT_ONCE, FEW, Mailbox, Parked, Windows
from master.records import Task
from wire.messages import Poll
from wire.states import TaskState


def make_task(**fields: Any) -> Task:
    given: dict[str, Any] = {
        "id": "t1", "seq": 1, "name": "", "state": TaskState.RUNNING, "reason": "", "stop": None,
        "created_by": "alice", "created_at": 0.0, "started_at": None, "ended_at": None,
        "parallel": 1, "fail_count": None, "fail_rate": None, "on_limit": "finish",
        "priority": 0, "offline": "wait", "expires_at": 1e9, "lost_after": 900.0,
        "total": 3, "waiting": 3, "running": 0,
    }  # fmt: skip
    return Task(**(given | fields))


def make_parked(agent: str, free: int = 1, deadline: float = 30.0) -> Parked:
    poll = Poll(session="s", instance="i", hw=0, free=free)
    return Parked(agent=agent, call=None, poll=poll, deadline=deadline)  # type: ignore[arg-type]


class Looks:
    """Notes for whom a look was begun, and says whether one is parked."""

    def __init__(self, mailbox: Mailbox):
        self.mailbox = mailbox
        self.agents: list[str] = []

    def __call__(self, agent: str) -> bool:
        self.agents.append(agent)
        return self.mailbox.get(agent) is not None


def make_windows(*agents: str, free: int = 1) -> tuple[Windows, Mailbox, Looks]:
    mailbox = Mailbox()
    for agent in agents:
        mailbox.park(make_parked(agent, free))
    looks = Looks(mailbox)
    return Windows(mailbox, looks), mailbox, looks


def test_the_newest_poll_is_the_return_address() -> None:
    mailbox = Mailbox()
    first, second = make_parked("a"), make_parked("a")
    assert mailbox.park(first) is None
    assert mailbox.park(second) is first
    assert not mailbox.take(first)
    assert mailbox.take(second)
    assert mailbox.get("a") is None


def test_overdue_polls_are_removed_but_not_while_a_look_is_under_way() -> None:
    mailbox = Mailbox()
    idle, busy = make_parked("a", deadline=1.0), make_parked("b", deadline=2.0)
    busy.looking = True
    mailbox.park(idle)
    mailbox.park(busy)
    assert mailbox.overdue(5.0) == [idle]
    assert mailbox.get("b") is busy
    busy.looking = False
    assert mailbox.overdue(10.0) == [busy]
    assert len(mailbox) == 0


def test_a_new_task_wakes_only_as_many_as_may_start() -> None:
    windows, _, looks = make_windows("a", "b", "c")
    windows.open(make_task(parallel=2), ["a", "b", "c"])
    assert looks.agents == ["a", "b"]


def test_parallel_0_wakes_all_that_are_parked_with_a_free_slot() -> None:
    windows, mailbox, looks = make_windows("a", "c")
    mailbox.park(make_parked("b", free=0))
    windows.open(make_task(parallel=0), ["a", "b", "c", "away"])
    assert looks.agents == ["a", "c"]


def test_a_freed_place_goes_to_the_next_agent_that_is_there() -> None:
    windows, _, looks = make_windows("a", "c")
    windows.open(make_task(), ["a", "away", "c"])
    windows.saw(make_task(waiting=2, running=1))
    windows.looked("a")
    assert looks.agents == ["a"]
    windows.saw(make_task(waiting=2, running=0))
    assert looks.agents == ["a", "c"]


def test_a_wake_that_claimed_nothing_gives_its_place_to_the_next() -> None:
    windows, _, looks = make_windows("a", "b")
    windows.open(make_task(), ["a", "b"])
    windows.looked("a")
    assert looks.agents == ["a", "b"]


def test_a_task_that_is_stopped_or_over_wakes_nobody() -> None:
    windows, _, looks = make_windows("a", "b")
    windows.open(make_task(running=1), ["a", "b"])
    windows.saw(make_task(state=TaskState.CANCELLED, waiting=0))
    assert looks.agents == []
    assert windows.get("t1") is None


def test_an_agent_that_came_back_when_there_was_no_place_gets_the_next_one() -> None:
    # Given an agent that was busy when it was its turn
    windows, mailbox, looks = make_windows("b")
    mailbox.park(make_parked("a", free=0))
    windows.open(make_task(), ["a", "b"])
    assert looks.agents == ["b"]
    windows.saw(make_task(waiting=1, running=1))
    windows.handed_out("t1", "b")
    windows.looked("b")

    # When it polls with a free slot, looks in vain, and a place becomes free
    mailbox.park(make_parked("a"))
    windows.looked("a")
    windows.saw(make_task(waiting=1, running=0))

    # Then it is woken; who had its run is not
    assert looks.agents == ["b", "a"]


def test_a_look_in_vain_while_there_are_places_is_not_repeated() -> None:
    windows, _, looks = make_windows("a")
    windows.open(make_task(parallel=2), ["a"])
    windows.looked("a")
    windows.saw(make_task(parallel=2))
    assert looks.agents == ["a"]


def test_thousands_that_are_away_are_passed_over_for_one_that_is_there() -> None:
    windows, mailbox, looks = make_windows(*(f"a{n}" for n in range(3000)), "there")
    present = looks.mailbox.get("there")
    windows = Windows(mailbox, lambda agent: looks(agent) and mailbox.get(agent) is present)
    windows.open(make_task(total=3001, waiting=3001), [*(f"a{n}" for n in range(3000)), "there"])
    assert len(looks.agents) == 3001
    windows.saw(make_task(waiting=3000, running=1))
    windows.looked("there")
    assert windows.get("t1") is not None


def test_a_look_of_an_agent_costs_nothing_for_windows_it_is_not_in() -> None:
    windows, _, looks = make_windows("a", "b")
    windows.open(make_task(id="t1", running=1), ["a"])
    windows.open(make_task(id="t2"), ["b"])
    windows.looked("b")
    assert looks.agents == ["b"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "LONG_S", 3600.0)


def make_crowd(prefix: str, size: int) -> tuple[Task, list[str]]:
    task = make_task(id=prefix, parallel=0, total=size, waiting=size)
    return task, [f"{prefix}{n}" for n in range(size)]


def make_paced(*crowds: list[str]) -> tuple[Windows, Looks, list[bool]]:
    mailbox = Mailbox()
    for agent in itertools.chain(*crowds):
        mailbox.park(make_parked(agent))
    looks, free = Looks(mailbox), [True]
    return Windows(mailbox, looks, lambda: free[0]), looks, free


def test_a_crowd_is_woken_for_a_few_at_once_and_for_one_more_when_a_look_has_ended() -> None:
    task, agents = make_crowd("a", AT_ONCE * 3)
    windows, looks, _ = make_paced(agents)
    windows.open(task, agents)
    assert looks.agents == agents[:AT_ONCE]
    windows.looked("a0")
    windows.looked("a1")
    assert looks.agents == agents[: AT_ONCE + 2]


def test_a_small_task_is_woken_for_at_once_beside_a_crowd() -> None:
    crowd, agents = make_crowd("a", AT_ONCE * 3)
    small, few = make_crowd("b", FEW)
    windows, looks, _ = make_paced(agents, few)
    windows.open(crowd, agents)
    windows.open(small, few)
    assert looks.agents == agents[:AT_ONCE] + few


def test_crowds_take_turns() -> None:
    (first, agents), (second, others) = make_crowd("a", 300), make_crowd("b", 300)
    windows, looks, free = make_paced(agents, others)
    free[0] = False
    windows.open(first, agents)
    windows.open(second, others)
    windows.go_on()
    woken = looks.agents
    assert woken[:A_TURN] == agents[:A_TURN] and woken[A_TURN : 2 * A_TURN] == others[:A_TURN]
    assert len(woken) == AT_ONCE


def test_a_crowd_waits_until_all_that_arrived_is_read() -> None:
    task, agents = make_crowd("a", AT_ONCE * 3)
    windows, looks, free = make_paced(agents)
    windows.open(task, agents)
    free[0] = False
    windows.looked("a0")
    assert len(looks.agents) == AT_ONCE
    windows.go_on()
    assert len(looks.agents) == AT_ONCE + 1


def test_a_crowd_gets_on_however_much_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    task, agents = make_crowd("a", AT_ONCE * 3)
    windows, looks, free = make_paced(agents)
    windows.open(task, agents)
    free[0] = False
    monkeypatch.setattr(mailbox_module, "LONG_S", 0.0)
    windows.looked("a0")
    assert len(looks.agents) == AT_ONCE + 1


def test_a_crowd_that_is_over_is_not_gone_on_with() -> None:
    task, agents = make_crowd("a", AT_ONCE * 3)
    windows, looks, _ = make_paced(agents)
    windows.open(task, agents)
    windows.saw(make_task(id="a", state=TaskState.CANCELLED, waiting=0))
    windows.looked("a0")
    windows.go_on()
    assert len(looks.agents) == AT_ONCE
