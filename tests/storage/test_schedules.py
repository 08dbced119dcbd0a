"""Schedules in the store: decided once, edited live, listed; on a clock that the test turns."""

from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from master import sealing
from master.rights import Person
from master.schedule import BACKLOG
from master.schedule_aims import ScheduleAims
from tests.factories import make_callback
from tests.storage.schedule_world import ACT, AUTH, DAY_S, VAULT, world
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound
from wire.plans import PlanSpec, PlanStep
from wire.requests import ById, Saved, Submission
from wire.schedules import (
    AddSchedule,
    ChangeSchedule,
    GetTimeline,
    ListFirings,
    ListSchedules,
    RunSchedule,
    SchedulePatch,
    ScheduleSpec,
    Timing,
)
from wire.scripts import NewScript, ScriptChange

START = 1_800_000_000.5
MINUTELY = Timing("every", every=60)


@pytest.fixture
def town(tmp_path):
    with world(tmp_path, seed=1, since=START) as made:
        yield Town(made)


class Town:
    """A world with few words for what the tests do there."""

    def __init__(self, made):
        self.world = made
        self.clock = made.clock
        self.desk = made.processes[0].desk
        self.store = made.processes[0].storage

    def add(self, name="nightly", when=MINUTELY, task=None, **values):
        if task is None and "plan" not in values:
            task = Submission(script="true", targets="@*")
        spec = ScheduleSpec(name, when, task, **values)
        return self.desk.add_schedule(self.world.alice, AddSchedule(AUTH, spec), ACT)

    def change(self, id, **values):
        ask = ChangeSchedule(AUTH, id, SchedulePatch(**values))
        return self.desk.change_schedule(self.world.alice, ask, ACT)

    def pause(self, id):
        return self.desk.pause_schedule(self.world.alice, ById(AUTH, id), ACT)

    def resume(self, id):
        return self.desk.resume_schedule(self.world.alice, ById(AUTH, id), ACT)

    def remove(self, id):
        return self.desk.remove_schedule(self.world.alice, ById(AUTH, id), ACT)

    def may_steer(self, id):
        return self.desk.get_schedule(self.world.alice, ById(AUTH, id)).may_steer

    def run(self, id, key=None):
        return self.desk.run_schedule(self.world.alice, RunSchedule(AUTH, id, key), ACT)

    def pass_s(self, seconds):
        self.world.advance(self.clock.now + seconds)

    def end_tasks(self):
        process = self.world.processes[0]
        for task in self.store.active_tasks().wait():
            process.dispatcher.apply(self.store.cancel_task(task.id, ACT).wait())
        process.round()

    def firings(self, schedule=None, state=None, limit=100, cursor=None):
        ask = ListFirings(AUTH, schedule, state, limit, cursor)
        return self.desk.get_firings(self.world.alice, ask)

    def states(self, schedule):
        return [firing.state for firing in reversed(self.firings(schedule).items)]

    def names(self, **values):
        ask = ListSchedules(AUTH, **values)
        return [one.name for one in self.desk.get_schedules(self.world.alice, ask).items]

    def timeline(self, hours=24):
        return self.desk.get_timeline(self.world.alice, GetTimeline(AUTH, hours))


def test_it_makes_a_task_for_each_due_instant(town):
    made = town.add()
    town.pass_s(180)
    town.end_tasks()
    assert town.states(made.id) == ["fired", "skipped", "skipped"]
    (task,) = town.store.tasks(10).wait().items
    assert (task.created_by, task.name, task.schedule) == ("schedule nightly", "nightly", made.id)


def test_it_decides_nothing_twice_when_the_clock_goes_back(town):
    made = town.add(overlap="allow")
    town.pass_s(300)
    before = len(town.firings(made.id).items)
    town.world.set_back(3600)
    town.pass_s(3500)
    assert len(town.firings(made.id).items) == before
    town.pass_s(200)
    assert len(town.firings(made.id).items) > before


def test_it_goes_on_from_now_when_it_is_resumed_after_a_clock_that_was_ahead(town):
    made = town.add(overlap="allow", misfire="skip")
    town.clock.now += 365 * DAY_S
    town.world.processes[0].scheduler.round()
    town.clock.now -= 365 * DAY_S
    view = town.change(made.id, misfire="once")
    assert "clock that was ahead" in view.reason
    town.pause(made.id)
    town.resume(made.id)
    town.pass_s(181)
    oldest = town.store.schedules.firings(made.id, "fired", 10_000, None).wait()
    while oldest.next:
        oldest = town.store.schedules.firings(made.id, "fired", 10_000, oldest.next).wait()
    assert len(oldest.items) in (
        2,
        3,
    )  # all but the one that the row of the long absence begins with


def test_it_tells_of_a_year_of_absence_in_few_rows(town):
    made = town.add(when=Timing("every", every=1), misfire="skip")
    town.world.outage(365 * DAY_S)
    store = town.world.processes[0].storage.schedules
    rows = store.firings(made.id, None, 10_000, None).wait()
    more = store.firings(made.id, None, 10_000, rows.next).wait()
    (covering,) = [row for row in more.items if row.until_at is not None]
    assert "nobody was there" in covering.reason
    assert BACKLOG <= len(rows.items) + len(more.items) <= BACKLOG + 2


def test_it_waits_for_the_task_before_and_goes_on_after_it(town):
    made = town.add(overlap="wait")
    town.pass_s(120)
    assert town.states(made.id) == ["fired", "waiting"]
    town.end_tasks()
    assert town.states(made.id) == ["fired", "fired"]


def test_it_cancels_the_task_before_and_goes_on_when_it_has_ended(town):
    made = town.add(overlap="replace")
    town.pass_s(120)
    assert town.states(made.id) == ["fired", "fired"]
    states = [task.state for task in town.store.tasks(10).wait().items]
    assert states == ["WAITING", "CANCELLED"]


def test_it_takes_away_what_waits_when_it_is_paused(town):
    made = town.add(overlap="wait")
    town.pass_s(120)
    assert town.pause(made.id).reason == "paused by alice"
    town.end_tasks()
    assert town.states(made.id) == ["fired", "skipped"]
    town.pass_s(600)
    assert town.states(made.id) == ["fired", "skipped"]
    town.resume(made.id)
    town.pass_s(61)
    assert town.states(made.id)[2:] == ["fired"]


def test_it_decides_what_came_up_before_an_edit_as_it_was(town):
    made = town.add()
    town.clock.now = START + 60 - START % 60
    town.change(made.id, when=Timing("every", every=3600))
    assert town.states(made.id) == ["fired"]
    town.pass_s(600)
    assert len(town.firings(made.id).items) <= 2


def test_it_refuses_an_edit_of_what_somebody_else_has_edited(town):
    made = town.add()
    town.change(made.id, revision=made.revision, overlap="allow")
    with pytest.raises(Conflict, match="look at it again"):
        town.change(made.id, revision=made.revision, overlap="wait")


def test_it_frees_its_name_when_it_is_deleted_and_keeps_what_became_of_it(town):
    made = town.add()
    town.pass_s(60)
    with pytest.raises(Conflict, match="already"):
        town.add(name="NIGHTLY")
    town.remove(made.id)
    with pytest.raises(NotFound):
        town.pause(made.id)
    town.add()
    assert [firing.schedule_name for firing in town.firings().items] == ["nightly"]


def test_it_runs_by_hand_beside_all_that_is_due_and_once_for_a_key(town):
    made = town.add(when=Timing("every", every=86_400))
    first, again = town.run(made.id, "k"), town.run(made.id, "k")
    assert (first.created, again.created, first.id) == (True, False, again.id)
    with pytest.raises(Conflict, match=first.id):
        town.run(made.id)
    (firing,) = town.firings(made.id).items
    assert (firing.state, firing.by, firing.task) == ("fired", "alice", first.id)


# ---- plans


def make_spec(*scripts, **fields):
    """A plan of one task a step."""
    return PlanSpec(
        steps=[
            PlanStep(f"s{number}", [Submission(script=script, targets="@*", **fields)], "ended")
            for number, script in enumerate(scripts)
        ]
    )


def plans_of(town):
    return town.store.plans.page(100, None).wait().items


def test_a_limited_operator_schedules_plans_of_their_hosts_alone(town):
    alice, town.world.alice = town.world.alice, Person("otto", "operator", hosts="web01")
    with pytest.raises(Forbidden, match="db1"):
        town.add(plan=make_spec("true"))
    spec = make_spec("true")
    spec.steps[0].tasks[0].targets = "web01"
    mine = town.add(plan=spec)
    with pytest.raises(Forbidden, match="db1"):
        town.change(mine.id, plan=make_spec("true"))
    town.world.alice = alice
    others = town.add(name="of alice", plan=make_spec("true"))
    town.world.alice = Person("otto", "operator", hosts="web01")
    for act in (town.pause, town.run, town.remove):
        with pytest.raises(Forbidden, match="db1"):
            act(others.id)
    assert (town.may_steer(others.id), town.may_steer(mine.id)) == (False, True)


def test_it_makes_a_plan_for_each_due_instant(town):
    made = town.add(plan=make_spec("true", "false"))
    town.pass_s(60)
    (line,) = plans_of(town)
    plan = town.store.plans.view(line.id).wait()
    assert (plan.name, plan.created_by, plan.owner) == ("nightly", "schedule nightly", "alice")
    assert (plan.schedule, [step.state for step in plan.steps]) == (made.id, ["RUNNING", "WAITING"])
    (firing,) = town.firings(made.id).items
    assert (firing.plan, firing.plan_state, firing.task) == (plan.id, "RUNNING", None)
    assert plan.due_at == firing.due_at
    assert town.world.processes[0].dispatcher.told == [("RUNNING", "s0")]
    town.pass_s(60)
    assert town.states(made.id) == ["fired", "skipped"]
    assert f"plan {plan.id} has not ended" in town.firings(made.id).items[0].reason


def test_a_firing_waits_for_the_end_of_the_whole_plan(town):
    made = town.add(plan=make_spec("true", "true"), overlap="wait")
    town.pass_s(120)
    town.end_tasks()
    assert town.states(made.id) == ["fired", "waiting"]  # its second step has begun
    town.end_tasks()
    assert town.states(made.id) == ["fired", "fired"]


def test_it_cancels_the_plan_before_and_goes_on_when_it_has_ended(town):
    made = town.add(plan=make_spec("true", "true"), overlap="replace")
    town.pass_s(120)
    assert town.states(made.id) == ["fired", "fired"]
    assert [plan.state for plan in plans_of(town)] == ["RUNNING", "CANCELLED"]


def test_it_runs_a_plan_by_hand_once_for_a_key(town):
    made = town.add(when=Timing("every", every=86_400), plan=make_spec("true"))
    first, again = town.run(made.id, "k"), town.run(made.id, "k")
    assert (first.kind, first.created, again.created, again.id) == ("plan", True, False, first.id)
    with pytest.raises(Conflict, match=f"plan {first.id} of this schedule has not ended"):
        town.run(made.id)
    (firing,) = town.firings(made.id).items
    assert (firing.state, firing.by, firing.plan) == ("fired", "alice", first.id)


def test_a_plan_takes_the_place_of_a_task_and_the_other_way_round(town):
    made = town.add(overlap="wait")
    town.pass_s(60)
    changed = town.change(made.id, plan=make_spec("true"))
    assert (changed.task, changed.plan["steps"][0]["name"]) == (None, "s0")
    town.pass_s(60)
    assert town.states(made.id) == ["fired", "waiting"]  # for the task of before
    town.end_tasks()
    assert len(plans_of(town)) == 1
    assert town.change(made.id, task=Submission(script="true", targets="@*")).plan is None
    for wrong in ({"task": Submission(script="true", targets="@*"), "plan": make_spec("true")},):
        with refused("task"):
            town.change(made.id, **wrong)
    with refused("task"):
        town.add(name="nothing", plan=None)


def test_it_names_what_is_wrong_with_a_plan(town):
    for plan, field in (
        (PlanSpec(steps=[]), "plan.steps"),
        (make_spec("true", ""), "plan.steps[1].tasks[0].script"),
        (make_spec("true", secrets={"A": "abc"}), "plan.steps[0].tasks[0].secrets"),
        (make_spec("true", callbacks=["nobody"]), "plan.steps[0].tasks[0].callbacks"),
    ):
        with refused(field):
            town.add(plan=plan)


def test_it_skips_a_firing_whose_plan_is_sound_no_more(town):
    scripts = town.store.scripts
    scripts.add(NewScript("ship", "true"), ACT).wait()
    spec = make_spec("true", "true")
    spec.steps[1].tasks[0] = Submission(saved=Saved("ship"), targets="@*")
    made = town.add(plan=spec)
    (use,) = scripts.one("ship").wait().uses
    assert (use.kind, use.id) == ("schedule", made.id)
    scripts.change("ship", ScriptChange(disabled=True), ACT).wait()
    town.pass_s(60)
    (firing,) = town.firings(made.id).items
    assert (firing.state, firing.reason) == ("skipped", "the script ship is disabled")
    assert plans_of(town) == []


def test_it_tells_of_what_was_missed_though_it_fires_in_the_same_moment(town):
    callback = make_callback(events=["schedule.missed"])
    town.store.callbacks.add(callback, ACT).wait()
    made = town.add(misfire="skip", overlap="allow")
    town.clock.now += 300
    town.world.processes[0].round()
    assert town.states(made.id) == ["missed"] * 4 + ["fired"]
    found = town.store.callbacks.deliveries(callback.id, 10, None, None).wait().items
    assert [one.event for one in found] == ["schedule.missed"] * 4


# ---- secrets

SECRET = {"TOKEN": "correct horse"}


def values(town):
    """The secret variables of each task that is active."""
    return [
        town.store._database.writing(
            lambda tx, task=task: sealing.values_of(tx, task, VAULT).variables
        ).wait()
        for task in town.store.active_tasks().wait()
    ]


def test_its_tasks_have_the_secrets_that_nobody_sees(town):
    task = Submission(script="true", targets="@*", secrets=SECRET)
    made = town.add(task=task)
    assert made.task["secrets"] == {"TOKEN": ""}
    town.pass_s(60)
    assert values(town) == [SECRET]


def test_its_plans_have_them_too_and_keep_them_for_later_steps(town):
    made = town.add(plan=make_spec("true", "true", secrets=SECRET))
    assert made.plan["steps"][0]["tasks"][0]["secrets"] == {"TOKEN": ""}
    town.pass_s(60)
    assert values(town) == [SECRET]
    town.end_tasks()
    assert values(town) == [SECRET]
    (line,) = plans_of(town)
    assert "correct" not in repr(town.store.plans.situation(line.id).wait())


def test_an_edit_keeps_secrets_for_their_owner_alone(town):
    task = Submission(script="true", targets="@*", secrets=SECRET)
    made = town.add(task=task)
    town.change(made.id, overlap="allow")
    edited = Submission(script="echo", targets="@*", secrets={"TOKEN": ""})
    town.change(made.id, task=edited)
    town.pass_s(60)
    assert values(town) == [SECRET]
    town.world.alice = Person("bob", "operator", person="another")
    assert town.change(made.id, name="of bob").owner == "bob"
    town.world.alice = Person("carol", "operator", person="third")
    with refused("task.secrets"):
        town.change(made.id, task=replace(edited, script="env | mail carol"))


def test_it_skips_firings_whose_secrets_do_not_open(town):
    made = town.add(task=Submission(script="true", targets="@*", secrets=SECRET))
    assert town.store.other_secret_key(VAULT.key_id).wait() is None
    town.store._database.writing(
        lambda tx: tx.execute("seal_schedule", id=made.id, key_id="lost", sealed=b"lost" * 9)
    ).wait()
    assert town.store.other_secret_key(VAULT.key_id).wait() == "lost"
    town.pass_s(60)
    assert "do not open" in town.firings(made.id).items[0].reason
    assert town.store.forget_other_secrets(VAULT.key_id, ACT).wait() == 1
    town.pass_s(60)
    assert "TOKEN has no value" in town.firings(made.id).items[0].reason


def test_it_lists_by_name_filtered_and_page_by_page(town):
    for name in ("backup", "Cleanup", "audit"):
        town.add(name=name, paused=name == "audit")
    assert town.names() == ["audit", "backup", "Cleanup"]
    assert town.names(text="UP") == ["backup", "Cleanup"]
    assert town.names(state="paused") == ["audit"]
    ask = ListSchedules(AUTH, limit=2)
    first = town.desk.get_schedules(town.world.alice, ask)
    assert town.names(cursor=first.next) == ["Cleanup"]


def test_it_lists_firings_newest_first_page_by_page_and_by_state(town):
    made = town.add()
    town.add(name="other", overlap="allow")
    town.pass_s(300)
    every = town.firings(limit=10_000).items
    assert [one.due_at for one in every] == sorted((one.due_at for one in every), reverse=True)
    first = town.firings(limit=7)
    rest = town.firings(cursor=first.next)
    assert first.items + rest.items == every
    assert {one.schedule for one in town.firings(state="skipped").items} == {made.id}


def test_it_tells_the_coming_hours_and_sums_up_what_comes_often(town):
    town.add(name="daily", when=Timing("cron", cron="30 2 * * *", zone="Europe/Berlin"))
    town.add(name="often")
    town.add(name="paused", paused=True)
    told = town.timeline()
    assert [(one.name, one.local[11:16]) for one in told.firings] == [("daily", "02:30")]
    assert [(one.name, one.count) for one in told.frequent] == [("often", 1440)]


def test_it_forgets_what_became_of_it_after_a_while(town):
    made = town.add(overlap="allow")
    town.pass_s(180)
    town.remove(made.id)
    assert town.store.schedules.forget(DAY_S, 100).wait() == 0
    town.clock.now += 2 * DAY_S
    assert town.store.schedules.forget(DAY_S, 2).wait() == 2
    assert town.store.schedules.forget(DAY_S, 100).wait() == 2
    assert town.firings().items == []


@contextmanager
def refused(field):
    with pytest.raises(InvalidValue) as caught:
        yield
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


def test_it_names_what_is_wrong_with_a_schedule(town):
    with refused("name"):
        town.add(name=" ")
    with refused("overlap"):
        town.add(overlap="sometimes")
    with refused("misfire_most"):
        town.add(misfire_most=0)
    with refused("when.cron"):
        town.add(when=Timing("cron", cron="* * *"))
    with refused("when.at"):
        town.add(when=Timing("once", at="2020-01-01"))
    for task, field in (
        (Submission(script="true", targets="web77"), "task.targets"),
        (Submission(script="", targets="@*"), "task.script"),
        (Submission(script="true", targets="@*", expect="x"), "task.expect"),
        (Submission(script="true", targets="@*", secrets={"A": "abc"}), "task.secrets"),
        (Submission(script="true", targets="@*", secrets={"A": ""}), "task.secrets"),
    ):
        with refused(field):
            town.add(task=task)


def test_it_skips_a_firing_whose_hosts_are_not_there(town):
    made = town.add(task=Submission(script="true", targets="@role:none"))
    town.pass_s(60)
    (firing,) = town.firings(made.id).items
    assert firing.state == "skipped"
    assert "names no host" in firing.reason


def test_it_puts_off_a_schedule_that_cannot_fire_and_fires_the_others(town, monkeypatch):
    broken = town.add(name="broken")
    sound = town.add(name="sound")
    real = ScheduleAims._task_of

    def task_of(self, schedule, *rest):
        if schedule.id == broken.id:
            raise NotFound("its script is gone")
        return real(self, schedule, *rest)

    monkeypatch.setattr(ScheduleAims, "_task_of", task_of)
    town.pass_s(60)
    assert town.states(broken.id) == ["skipped"]
    assert town.states(sound.id) == ["fired"]


def test_it_refuses_a_callback_that_is_not_there(town):
    with refused("task.callbacks"):
        town.add(task=Submission(script="true", targets="@*", callbacks=["nobody"]))


def test_it_refuses_a_saved_script_that_is_not_there(town):
    saved = Submission(saved=Saved("nothing"), targets="@*")
    with pytest.raises(NotFound, match="nothing"):
        town.add(task=saved)
