"""Secrets in form and API: they go to the master, and never come back in any page or answer."""

import json
import logging

import pytest

from tests.web.fake_master import TASK, make_task
from tests.web.test_pages import FORM, hidden, log_in, send
from wire.errors import Conflict, InvalidValue, SecretsUnreadable, Unavailable
from wire.views import Added

SECRET, CONTENT = "correct-horse", "-----BEGIN-----\nbattery-staple\n"
FIELDS = FORM | {
    "secret_name": ["TOKEN", "", " OTHER "],
    "secret": [SECRET, "", "staple-other"],
    "secret_file_name": ["KEY"],
    "secret_file": [CONTENT.replace("\n", "\r\n")],
}
VALUES = (SECRET, "staple-other", "battery-staple")


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


def shows_no_value(text):
    return not any(value in text for value in VALUES)


# ---- the form


async def test_it_submits_what_was_typed(browser, master):
    master.answer("add_task", Added(TASK, True))
    assert (await send(browser, "/tasks/new", FIELDS)).status == 303
    submission = master.asked("add_task")[0].submission
    assert submission.secrets == {"TOKEN": SECRET, "OTHER": "staple-other"}
    assert submission.secret_files == {"KEY": CONTENT}


async def test_it_takes_a_form_whose_rows_are_empty(browser, master):
    master.answer("add_task", Added(TASK, True))
    empty = {"secret_name": ["", ""], "secret": ["", ""], "secret_file_name": "", "secret_file": ""}
    assert (await send(browser, "/tasks/new", FORM | empty)).status == 303
    submission = master.asked("add_task")[0].submission
    assert (submission.secrets, submission.secret_files) == ({}, {})


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidValue("secrets: the value of TOKEN is too short", field="secrets"),
        InvalidValue("timeout is wrong", field="timeout"),
        Conflict("the fleet has changed", field="expect"),
        Unavailable("away"),
    ],
)
async def test_it_never_puts_values_back_and_says_so(browser, master, refusal):
    master.answer("add_task", refusal)
    response = await send(browser, "/tasks/new", FIELDS)
    page = await response.text()
    assert response.status == refusal.status
    assert shows_no_value(page)
    assert "Type the values: they are never put back into a page." in page
    assert 'name="secret_name" value="TOKEN"' in page
    assert 'name="secret_file_name" value="KEY"' in page


async def test_it_keeps_the_names_over_a_preview_without_javascript(browser):
    page = await (await send(browser, "/tasks/new", FIELDS | {"do": "preview"})).text()
    assert shows_no_value(page)
    assert 'value="OTHER"' in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"secret_name": "TOKEN", "secret": ""}, "TOKEN has no value: type it"),
        ({"secret_name": "", "secret": SECRET}, "A value has no name."),
        ({"secret_name": ["A", "A"], "secret": [SECRET, SECRET]}, "A is there twice"),
        ({"secret_name": ["A", "B"], "secret": [SECRET]}, "B has no value"),
        ({"secret_file_name": "KEY", "secret_file": ""}, "KEY has no value"),
    ],
)
async def test_it_runs_nothing_when_a_secret_is_not_whole(browser, master, fields, said):
    response = await send(browser, "/tasks/new", FORM | fields)
    page = await response.text()
    assert response.status == 422
    assert said in page
    assert shows_no_value(page)
    assert master.asked("add_task") == []


async def test_it_asks_anew_for_the_secrets_of_a_task_that_is_run_again(browser, master):
    settings = {"targets": "web*", "secrets": ["TOKEN"], "secret_files": ["KEY"]}
    master.answer("get_task", make_task(settings=settings))
    page = await (await browser.get(f"/tasks/new?from={TASK}")).text()
    assert 'name="secret_name" value="TOKEN"' in page
    assert 'name="secret_file_name" value="KEY"' in page
    assert "Type the values: they are never put back into a page." in page
    assert 'id="more" open' in page
    fields = FORM | {"secret_name": "TOKEN", "secret": "", "csrf": hidden(page, "csrf")}
    response = await browser.post("/tasks/new", data=fields, allow_redirects=False)
    assert response.status == 422


async def test_it_shows_the_names_on_the_page_of_the_task(browser, master):
    master.answer("get_task", make_task(settings={"secrets": ["TOKEN", "OTHER"]}))
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert "TOKEN, OTHER" in page


async def test_it_has_fields_that_a_browser_neither_shows_nor_fills_in(browser):
    page = await (await browser.get("/tasks/new")).text()
    assert page.count('name="secret" type="password" autocomplete="new-password"') == 3
    assert "Type the values" not in page


# ---- the API


async def test_it_passes_secrets_on(client, master):
    master.answer("add_task", Added(TASK, True))
    body = {
        "script": "true",
        "targets": "*",
        "secrets": {"A": SECRET},
        "secret_files": {"B": "xyzw"},
    }
    assert (await client.post("/task", json=body)).status == 201
    submission = master.asked("add_task")[0].submission
    assert (submission.secrets, submission.secret_files) == ({"A": SECRET}, {"B": "xyzw"})


@pytest.mark.parametrize(
    "secrets",
    [
        SECRET,
        [SECRET],
        {"A": [SECRET]},
        {"A": {"B": SECRET}},
        {"A": 12345678901234567890123},
        {"A": 1e999},
    ],
)
@pytest.mark.parametrize("field", ["secrets", "secret_files"])
async def test_it_refuses_another_form_without_quoting_it(client, caplog, field, secrets):
    caplog.set_level(logging.DEBUG)
    body = json.dumps({"script": "true", "targets": "*", field: secrets})
    body = body.replace("Infinity", "1e999")
    response = await client.post("/task", data=body)
    text = await response.text()
    assert response.status in (400, 422)
    assert SECRET not in text + caplog.text
    assert "1234567890" not in text + caplog.text


async def test_it_says_when_a_retry_has_lost_its_secrets(client, master):
    master.answer("retry_task", SecretsUnreadable("secret TOKEN of task t1 is damaged"))
    response = await client.post(f"/api/v1/tasks/{TASK}/retry", json={"states": ["FAILED"]})
    assert response.status == 409
    assert (await response.json())["error"]["code"] == "secrets_unreadable"
