"""Every method that changes something writes one record of it, together with what it changes; and
one when it is refused.

The examples are all there are: a method without one fails the first test.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from master.audit import of_system
from master.passwords import Passwords
from tests.storage.cast import Clock
from tests.storage.company import PASSWORD, Company
from utils import state_dir
from wire.errors import Internal, Pending, Refusal
from wire.messages import Poll, Result
from wire.states import Cause, RunState

WRONG = "a wrong password"
EVERY_DAY = {"kind": "cron", "cron": "0 3 * * *"}


class Example(NamedTuple):
    """A call that changes something; `by` None: alice makes it.

    `refused`: what of the payload is otherwise when it is refused, where no credential is needed.
    """

    payload: dict[str, Any]
    by: str | None = None
    refused: dict[str, Any] = {}
    who: str = "alice"


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def company(tmp_path_factory, clock):
    with pytest.MonkeyPatch.context() as patch, state_dir(tmp_path_factory.mktemp("m")) as folder:
        patch.setattr("master.SteadyClock", lambda: clock)
        patch.setattr("master.Passwords", lambda: Passwords(time_cost=1, memory_kib=64))
        company = Company(folder)
        yield company
        company.close()


# ---- the examples


def submission(house: Company) -> dict[str, Any]:
    return {"script": "true", "targets": [house.enrolled()]}


def pending(house: Company) -> str:
    id, register = house.host(accept="by hand")
    with pytest.raises(Pending):
        house.register(f"key of {id}", **register)
    return id


def renamed(house: Company) -> dict[str, Any]:
    """A host that calls itself something else now."""
    id, register = house.host()
    house.register(f"key of {id}", **register)
    register["hostname"] = house.new("other")
    house.register(f"key of {id}", **register)
    return {"id": id, "hostname": register["hostname"]}


def cancelled(house: Company) -> str:
    task = house.task()
    house.call("cancel_task", house.alice, id=task)
    return task


def paused(house: Company) -> str:
    task = house.task()
    house.call("pause_task", house.alice, id=task)
    return task


def run_of(house: Company) -> str:
    return str(house.call("get_runs", house.alice, task=house.task())["items"][0]["id"])


def queue(house: Company, **fields: Any) -> str:
    submission = {"script": "true", "mode": "queue", "open": True, "items": ["a"], **fields}
    return str(house.call("add_task", house.alice, submission=submission)["id"])


def with_dead_item(house: Company) -> str:
    """A queue whose one item has failed as often as it is tried."""
    house.storage.release(of_system("handouts.release")).wait()  # see `held`
    agent, task = house.enrolled(), queue(house, max_attempts=1)
    poll = Poll(session="", instance="i", hw=0, free=1)
    (grant,) = house.storage.poll(agent, poll, [(task,)]).wait().grants
    house.storage.finish(
        agent,
        Result(
            session="",
            hw=grant.grant,
            free=1,
            run=grant.run,
            attempt=1,
            grant=grant.grant,
            state=RunState.FAILED,
            cause=Cause.EXIT,
            code=1,
        ),
    ).wait()
    return task


def held(house: Company) -> dict[str, Any]:
    house.storage.hold("an older store").wait()
    return {}


def group(house: Company) -> dict[str, Any]:
    made = {"name": house.new("group"), "hosts": "@*"}
    house.call("add_host_group", house.alice, group=made)
    return made


def script(house: Company) -> str:
    name = house.new("script")
    house.call("add_script", house.alice, script={"name": name, "script": "true"})
    return name


def timed(house: Company, **fields: Any) -> dict[str, Any]:
    return {"name": house.new("nightly"), "when": EVERY_DAY, "task": submission(house), **fields}


def schedule(house: Company, **fields: Any) -> str:
    return str(house.call("add_schedule", house.alice, spec=timed(house, **fields))["id"])


def steps(house: Company) -> dict[str, Any]:
    return {
        "name": house.new("release"),
        "steps": [{"name": "try", "tasks": [submission(house)]}],
    }


def plan(house: Company) -> str:
    return str(house.call("add_plan", house.alice, spec=steps(house))["id"])


def ended_plan(house: Company) -> str:
    id = plan(house)
    house.call("cancel_plan", house.alice, id=id)
    house.master._planner.round()
    return id


def receiver(house: Company) -> dict[str, Any]:
    return {"name": house.new("chat"), "url": "https://hooks.example.org/x"}


def callback(house: Company) -> str:
    return str(house.call("add_callback", house.alice, callback=receiver(house))["callback"]["id"])


def delivery(house: Company) -> str:
    return str(house.call("test_callback", house.alice, id=callback(house))["id"])


def somebody(house: Company) -> dict[str, Any]:
    return house.person(house.new("person"))


def another_session(house: Company) -> Example:
    """Of the one who asks."""
    name = str(somebody(house)["name"])
    asking = house.log_in(name)
    house.log_in(name)
    sessions = house.call("get_sessions", asking)["items"]
    other = next(one["id"] for one in sessions if not one["current"])
    return Example({"id": other}, by=asking, who=name)


def own_session(house: Company, **payload: Any) -> Example:
    name = str(somebody(house)["name"])
    return Example(payload, by=house.log_in(name), who=name)


def logging_in(house: Company) -> Example:
    name = str(somebody(house)["name"])
    return Example({"name": name, "password": PASSWORD}, refused={"password": WRONG}, who=name)


def setting_up(house: Company) -> Example:
    code = house.storage.people.make_setup_code(3600.0, of_system("setup_code.print")).wait()
    name = house.new("person")
    payload = {"code": code, "name": name, "password": PASSWORD}
    return Example(payload, refused={"code": "AAAAA-AAAAA-AAAAA-AAAAA"}, who=name)


def by_token(house: Company) -> Example:
    made = house.token_of(house.alice)
    return Example({}, by=made["secret"])


Make = Callable[[Company], Example | dict[str, Any]]

EXAMPLES: dict[str, Make] = {
    "add_task": lambda house: {"submission": submission(house)},
    "retry_task": lambda house: {"id": cancelled(house), "states": ["CANCELLED"]},
    "cancel_task": lambda house: {"id": house.task()},
    "pause_task": lambda house: {"id": house.task()},
    "resume_task": lambda house: {"id": paused(house)},
    "change_task": lambda house: {"id": house.task(), "changes": {"priority": 7}},
    "cancel_run": lambda house: {"id": run_of(house)},
    "add_items": lambda house: {"id": queue(house), "upload": "u", "start": 0, "items": ["b"]},
    "close_queue": lambda house: {"id": queue(house)},
    "put_back": lambda house: {"id": with_dead_item(house)},
    "set_labels": lambda house: {"labels": {house.enrolled(): {"env": "prod"}}},
    "release_handouts": held,
    "accept_agent": lambda house: {"id": pending(house)},
    "refuse_agent": lambda house: {"id": pending(house)},
    "revoke_agent": lambda house: {"id": house.enrolled()},
    "delete_agent": lambda house: {"id": house.enrolled()},
    "reenrol_agent": lambda house: {"id": house.enrolled()},
    "accept_hostname": renamed,
    "add_join_token": lambda house: {"name": "hosts"},
    "remove_join_token": lambda house: {
        "id": house.call("add_join_token", house.alice, name="x")["token"]["id"]
    },
    "log_in": logging_in,
    "set_up": setting_up,
    "log_in_by_token": by_token,
    "log_out": own_session,
    "log_out_everywhere": own_session,
    "change_password": lambda house: own_session(house, old=PASSWORD, new="another password"),
    "end_session": another_session,
    "add_token": lambda house: {"name": "deploy", "role": "viewer"},
    "revoke_token": lambda house: {"id": house.token_of(house.alice)["token"]["id"]},
    "add_person": lambda house: {
        "name": house.new("person"), "role": "viewer", "password": PASSWORD
    },
    "change_person": lambda house: {"id": somebody(house)["id"], "role": "viewer"},
    "remove_person": lambda house: {"id": somebody(house)["id"]},
    "add_host_group": lambda house: {"group": {"name": house.new("group"), "hosts": "@*"}},
    "change_host_group": lambda house: {"group": {**group(house), "note": "all of them"}},
    "remove_host_group": lambda house: {"name": group(house)["name"]},
    "add_script": lambda house: {"script": {"name": house.new("script"), "script": "true"}},
    "add_script_version": lambda house: {"name": script(house), "version": {"script": "false"}},
    "change_script": lambda house: {"name": script(house), "change": {"disabled": True}},
    "change_script_version": lambda house: {
        "name": script(house), "version": 1, "state": "disabled"
    },
    "add_schedule": lambda house: {"spec": timed(house)},
    "change_schedule": lambda house: {"id": schedule(house), "patch": {"overlap": "wait"}},
    "pause_schedule": lambda house: {"id": schedule(house)},
    "resume_schedule": lambda house: {"id": schedule(house, paused=True)},
    "remove_schedule": lambda house: {"id": schedule(house)},
    "run_schedule": lambda house: {"id": schedule(house)},
    "add_plan": lambda house: {"spec": steps(house)},
    "cancel_plan": lambda house: {"id": plan(house)},
    "resume_plan": lambda house: {"id": ended_plan(house)},
    "add_callback": lambda house: {"callback": receiver(house)},
    "change_callback": lambda house: {"id": callback(house), "changes": {"active": False}},
    "remove_callback": lambda house: {"id": callback(house)},
    "test_callback": lambda house: {"id": callback(house)},
    "resend_delivery": lambda house: {"id": delivery(house)},
}  # fmt: skip
each = pytest.mark.parametrize("method", EXAMPLES)


def example(house: Company, method: str) -> Example:
    made = EXAMPLES[method](house)
    return made if isinstance(made, Example) else Example(made)


# ---- the tests


def test_there_is_an_example_of_every_method_that_changes_something(company):
    assert set(EXAMPLES) == set(company.changing())


@each
def test_what_is_done_has_one_record(company, method):
    one = example(company, method)
    before = company.last_act()

    company.call(method, _credential(company, method, one), **one.payload)

    action = company.changing()[method].action
    assert company.acts_since(before) == [(one.who, action, "ok")]


@each
def test_what_is_refused_has_one_record_and_changes_nothing(company, clock, method):
    one = example(company, method)
    clock.now += 61  # refused attempts are written down so many a minute
    before, stored = company.last_act(), _without_audit(company)
    least = company.changing()[method].least
    refused_to = company.bob if least in ("operator", "admin") else None

    with pytest.raises(Refusal) as refusal:
        company.call(method, refused_to, **(one.payload | one.refused))

    who = "bob" if refused_to else ""
    action = company.changing()[method].action
    assert company.acts_since(before) == [(who, action, refusal.value.code)]
    assert refusal.value.code in ("forbidden", "unauthenticated")
    assert _without_audit(company) == stored


@each
def test_what_cannot_be_written_down_is_not_done(company, method):
    """The record and what it tells of are one transaction: without it, nothing is changed."""
    one = example(company, method)
    before = company.dump()
    company.sql("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
    try:
        with pytest.raises(Internal):
            company.call(method, _credential(company, method, one), **one.payload)
    finally:
        company.sql("DROP TRIGGER full")
    assert company.dump() == before


def _credential(house: Company, method: str, one: Example) -> str | None:
    return None if house.changing()[method].least == "anyone" else one.by or house.alice


def _without_audit(house: Company) -> list[str]:
    return [line for line in house.dump() if not line.startswith('INSERT INTO "audit"')]
