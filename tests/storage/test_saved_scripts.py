"""Saved scripts in the store: versions that stay, and what disabling them stops."""

import pytest

from tests.storage.cast import by
from wire.errors import Conflict, InvalidValue, NotFound
from wire.scripts import NewScript, NewVersion, Parameter, ScriptChange
from wire.states import TaskState


@pytest.fixture
def scripts(house):
    return house.store.scripts


def save(scripts, name="greet", **values):
    return scripts.add(NewScript(name, "echo one\n", **values), by("alice")).wait()


def add_version(scripts, script="echo two\n", **values):
    return scripts.add_version("greet", NewVersion(script, **values), by("bob")).wait()


def test_it_keeps_each_version_as_it_was_saved(scripts):
    save(scripts, description="says hello", parameters=[Parameter("WORD", default="x")])
    add_version(scripts, note="shorter")
    view = scripts.one("greet").wait()
    assert (view.description, view.latest, view.newest) == ("says hello", 2, 2)
    second, first = view.versions
    assert (first.author, second.author, second.note) == ("alice", "bob", "shorter")
    assert first.parameters == [Parameter("WORD", default="x")]
    assert scripts.version("greet", 1).wait().script == "echo one\n"


def test_the_latest_is_the_newest_that_is_online(scripts):
    save(scripts)
    add_version(scripts, state="draft")
    assert scripts.runnable("greet", None).wait().number == 1
    assert scripts.runnable("greet", 2).wait().script == b"echo two\n"
    scripts.change_version("greet", 2, "online", by()).wait()
    assert scripts.runnable("greet", None).wait().number == 2


def test_nothing_that_is_disabled_can_run(scripts):
    save(scripts)
    scripts.change_version("greet", 1, "disabled", by()).wait()
    with pytest.raises(Conflict, match="version 1 of the script greet is disabled"):
        scripts.runnable("greet", 1).wait()
    with pytest.raises(Conflict, match="no version of the script greet is online"):
        scripts.runnable("greet", None).wait()
    add_version(scripts)
    scripts.change("greet", ScriptChange(disabled=True), by()).wait()
    with pytest.raises(Conflict, match="the script greet is disabled"):
        scripts.runnable("greet", 2).wait()
    scripts.change("greet", ScriptChange(disabled=False), by()).wait()
    assert scripts.runnable("greet", None).wait().number == 2


def test_disabling_a_version_skips_what_waits_of_its_tasks_and_of_no_others(house, scripts):
    save(scripts)
    add_version(scripts)
    agents = house.enrol("web01", "web02")
    old = house.submit(agents, parallel=1, saved=("greet", 1))
    new = house.submit(agents, saved=("greet", 2))
    running = house.run_one(agents[0])
    scripts.change_version("greet", 1, "disabled", by("olga")).wait()
    assert sorted(house.states(old.id)) == ["RUNNING", "SKIPPED"]
    assert house.states(new.id) == ["WAITING", "WAITING"]
    skipped = [run for run in house.store.runs(old.id, 10).wait().items if run.state == "SKIPPED"]
    assert skipped[0].reason == "version 1 of the script greet was disabled by olga"
    house.finish(running)
    assert house.task(old.id).state is TaskState.FAILED


def test_a_task_is_refused_when_its_script_was_disabled_meanwhile(house, scripts):
    save(scripts)
    agents = house.enrol("web01")
    scripts.change("greet", ScriptChange(disabled=True), by()).wait()
    with pytest.raises(Conflict):
        house.submit(agents, saved=("greet", 1))
    assert house.sql("SELECT count(*) FROM tasks") == [(0,)]


def test_it_says_which_tasks_were_made_from_it(house, scripts):
    save(scripts)
    task = house.submit(house.enrol("web01"), saved=("greet", 1), name="morning")
    (use,) = scripts.one("greet").wait().uses
    assert (use.kind, use.id, use.name, use.version) == ("task", task.id, "morning", "1")


def test_a_version_outlives_the_tasks_that_ran_it(house, scripts):
    save(scripts)
    sha256 = scripts.one("greet").wait().versions[0].sha256
    assert house.sql("SELECT count(*) FROM scripts WHERE sha256 = ?", sha256) == [(1,)]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"state": "ready"}, "state"),
        ({"note": "x" * 2001}, "note"),
        ({"description": "\x1b[2J"}, "description"),
        ({"parameters": [Parameter("1A")]}, "parameters"),
    ],
)
def test_it_refuses_what_makes_no_sense(scripts, values, field):
    with pytest.raises(InvalidValue) as refused:
        save(scripts, **values)
    assert refused.value.field == field
    assert scripts.all().wait() == []


def test_it_refuses_a_name_that_is_taken_and_one_that_is_not_there(scripts):
    save(scripts)
    with pytest.raises(Conflict):
        save(scripts)
    with pytest.raises(NotFound):
        scripts.one("nope").wait()
    with pytest.raises(NotFound):
        scripts.version("greet", 2).wait()
    with pytest.raises(NotFound):
        scripts.change_version("greet", 9, "online", by()).wait()
