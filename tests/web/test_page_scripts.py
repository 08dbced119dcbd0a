"""The pages of saved scripts, as a browser without JavaScript uses them."""

from typing import Any

import pytest

from tests.web.test_pages import log_in, send
from webserver.diffs import DiffLine
from webserver.page_scripts import Pair, line_of, pairs_of, parameters_of
from wire.errors import InvalidValue
from wire.scripts import NewVersion, Parameter, Scripts, ScriptUse, ScriptView, VersionView
from wire.views import Added

NOW = "2026-11-21T08:50:00.123Z"


def make_version(number=2, **changes):
    values: dict[str, Any] = {
        "number": number,
        "state": "online",
        "sha256": "5891b5b522d5df08" * 4,
        "bytes": 9,
        "note": "shorter",
        "author": "alice",
        "created_at": NOW,
        "parameters": [Parameter("WORD", default="hello"), Parameter("KEY", kind="secret")],
        "script": "echo <hi>\n",
    }
    return VersionView(**(values | changes))


def make_script(**changes):
    values: dict[str, Any] = {
        "name": "greet",
        "description": "says hello",
        "disabled": False,
        "latest": 2,
        "newest": 2,
        "changed_by": "alice",
        "changed_at": NOW,
        "versions": [make_version(2), make_version(1, state="disabled")],
        "uses": [ScriptUse("task", "t1", "morning", "2", "SUCCEED", NOW)],
    }
    return ScriptView(**(values | changes))


@pytest.fixture
async def browser(stranger, master):
    """Alice, logged in, with a saved script."""
    assert (await log_in(stranger)).status == 303
    master.answer("get_scripts", Scripts([make_script(versions=None, uses=None)]))
    master.answer("get_script", make_script())
    master.answer("get_script_version", make_version())
    return stranger


async def text_of(browser, path):
    response = await browser.get(path)
    assert response.status == 200, await response.text()
    return await response.text()


async def test_it_lists_what_is_saved(browser, master):
    page = await text_of(browser, "/scripts")
    assert 'href="/scripts/greet"' in page
    assert 'href="/tasks/new?saved=greet"' in page
    master.answer("get_scripts", Scripts([]))
    assert "No script has been saved yet" in await text_of(browser, "/scripts")


async def test_it_shows_versions_uses_and_the_next_one_to_write(browser):
    page = await text_of(browser, "/scripts/greet")
    assert "WORD = hello" in page
    assert "KEY secret" in page
    assert "echo &lt;hi&gt;" in page
    assert 'href="/tasks/t1"' in page
    assert 'href="/scripts/greet/diff?left=1&amp;right=2"' in page


async def test_it_saves_a_version_as_it_was_typed(browser, master):
    master.answer("add_script_version", make_script())
    form = {"script": "echo two\n", "parameters": "N number = 1", "note": "n", "state": "draft"}
    url = "/scripts/greet/versions"
    response = await send(browser, url, form, form_page="/scripts/greet")
    assert (response.status, response.headers["Location"]) == (303, "/scripts/greet")
    expected = NewVersion("echo two\n", [Parameter("N", kind="number", default="1")], "n", "draft")
    assert master.asked("add_script_version")[0].version == expected


async def test_it_keeps_what_was_typed_when_it_is_refused(browser, master):
    master.answer("add_script", InvalidValue("name is ''; it takes letters", field="name"))
    form = {"name": "", "script": "echo kept\n", "state": "online"}
    response = await send(browser, "/scripts", form, form_page="/scripts")
    page = await response.text()
    assert response.status == 422
    assert "echo kept" in page
    assert 'id="wrong-name"' in page


@pytest.mark.parametrize(("word", "disabled"), [("disable", True), ("enable", False)])
async def test_it_disables_and_enables(browser, master, word, disabled):
    master.answer("change_script", make_script())
    await send(browser, "/scripts/greet", {"do": word}, form_page="/scripts/greet")
    assert master.asked("change_script")[0].change.disabled is disabled


async def test_it_shows_two_versions_side_by_side(browser, master):
    page = await text_of(browser, "/scripts/greet/diff?left=1&right=2")
    assert "the same, byte for byte" in page
    assert (await browser.get("/scripts/greet/diff?left=1&right=x")).status == 404


async def test_the_form_of_a_task_asks_for_the_parameters(browser):
    page = await text_of(browser, "/tasks/new?saved=greet")
    assert 'name="parameter.WORD" value="hello"' in page
    assert 'name="parameter.KEY" type="password"' in page
    assert 'name="script"' not in page


async def test_it_submits_a_saved_script_with_its_values(browser, master):
    master.answer("add_task", Added("t9", True))
    form = {"saved": "greet", "saved_version": "", "targets": "web*", "key": "k1"}
    form |= {"parameter.WORD": "bye", "parameter.KEY": "hunter22"}
    response = await send(browser, "/tasks/new", form, form_page="/tasks/new?saved=greet")
    assert response.status == 303
    submission = master.asked("add_task")[0].submission
    assert submission.script is None
    assert submission.saved.version is None
    assert submission.saved.parameters == {"WORD": "bye", "KEY": "hunter22"}


async def test_a_secret_is_not_put_back_when_the_task_is_refused(browser, master):
    master.answer("add_task", InvalidValue("parameters: WORD is missing", field="parameters"))
    form = {"saved": "greet", "targets": "web*", "parameter.KEY": "hunter22"}
    response = await send(browser, "/tasks/new", form, form_page="/tasks/new?saved=greet")
    page = await response.text()
    assert response.status == 422
    assert "WORD is missing" in page
    assert "hunter22" not in page


@pytest.mark.parametrize(
    ("line", "parameter"),
    [
        ("WORD", Parameter("WORD")),
        (
            "WORD? = a b # what to say",
            Parameter("WORD", optional=True, default="a b", help="what to say"),
        ),
        ("TAG text(v[0-9]+)", Parameter("TAG", pattern="v[0-9]+")),
        (
            "ENV choice(dev, prod) = dev",
            Parameter("ENV", kind="choice", choices=["dev", "prod"], default="dev"),
        ),
        ("KEY secret # of the store", Parameter("KEY", kind="secret", help="of the store")),
    ],
)
def test_a_parameter_is_read_as_it_is_written(line, parameter):
    assert parameters_of(line) == [parameter]
    assert line_of(parameter) == line


@pytest.mark.parametrize("line", ["1A", "A B C", "= x", "A number("])
def test_it_says_which_line_cannot_be_read(line):
    with pytest.raises(InvalidValue, match="can't be read") as refused:
        parameters_of(line)
    assert refused.value.field == "parameters"


def test_what_was_removed_stands_beside_what_was_added():
    lines = [
        DiffLine("hunk", "@@"),
        DiffLine("same", "a"),
        DiffLine("removed", "b"),
        DiffLine("removed", "c"),
        DiffLine("added", "B"),
        DiffLine("same", "d"),
    ]
    assert pairs_of(lines) == [
        Pair("a", "a", same=True),
        Pair("b", "B", same=False),
        Pair("c", None, same=False),
        Pair("d", "d", same=True),
    ]
