"""Pausing, resuming and changing a task, through the API and by buttons."""

import pytest

from tests.web.fake_master import TASK, make_task
from tests.web.test_pages import log_in, send
from wire.requests import TaskChanges
from wire.views import WaveView

ROLLING = {"parallel": 1, "rolling": "1 10%", "between_waves": "ask", "wave_pause": 90.0}
BETWEEN = WaveView(number=1, of=3, released=1)


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


@pytest.mark.parametrize("word", ["pause", "resume"])
async def test_it_pauses_and_resumes(client, master, word):
    master.answer(f"{word}_task", make_task())
    response = await client.post(f"/api/v1/tasks/{TASK}/{word}")
    assert response.status == 200
    assert (await response.json())["id"] == TASK


async def test_it_passes_on_what_is_to_be_changed_and_nothing_else(client, master):
    master.answer("change_task", make_task())
    body = {"parallel": "25%", "fail_count": None}
    response = await client.patch(f"/api/v1/tasks/{TASK}", json=body)
    assert response.status == 200
    assert master.asked("change_task")[0].changes == TaskChanges(parallel="25%", fail_count=None)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [({"script": "true"}, 400, "script"), ({"priority": "high"}, 400, "priority"), ([], 400, None)],
)
async def test_it_refuses_what_cannot_be_changed(client, body, status, field):
    response = await client.patch(f"/api/v1/tasks/{TASK}", json=body)
    assert response.status == status
    assert (await response.json())["error"].get("field") == field


async def test_it_offers_to_continue_between_two_waves(browser, master):
    task = make_task(
        state="PAUSED", reason="waits for a person", counts={}, wave=BETWEEN, settings=ROLLING
    )
    master.answer("get_task", task)
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert f'action="/tasks/{TASK}/resume"' in page
    assert "<button>Continue</button>" in page
    assert "1 of 3" in page


async def test_it_offers_neither_pause_nor_change_for_a_task_that_is_being_stopped(browser, master):
    master.answer("get_task", make_task(stop="cancel"))
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert "/pause" not in page
    assert "/change" not in page


async def test_it_pauses_by_a_button(browser, master):
    master.answer("pause_task", make_task())
    response = await send(browser, f"/tasks/{TASK}/pause", {}, form_page=f"/tasks/{TASK}")
    assert (response.status, response.headers["Location"]) == (303, f"/tasks/{TASK}")


async def test_the_form_changes_only_what_was_edited(browser, master):
    master.answer("get_task", make_task(wave=BETWEEN, settings=ROLLING))
    master.answer("change_task", make_task())
    form = {"parallel": "5", "fail_count": "", "rolling": "1 10%", "wave_pause": "2 min"}
    await send(browser, f"/tasks/{TASK}/change", form, form_page=f"/tasks/{TASK}")
    changes = TaskChanges(parallel=5, wave_pause=120.0)
    assert master.asked("change_task")[0].changes == changes


@pytest.mark.parametrize(
    ("form", "said"), [({"priority": "high"}, "whole number"), ({"rolling": ""}, "100%")]
)
async def test_the_form_says_what_cannot_be_read(browser, master, form, said):
    master.answer("get_task", make_task(wave=BETWEEN, settings=ROLLING))
    response = await send(browser, f"/tasks/{TASK}/change", form, form_page=f"/tasks/{TASK}")
    assert response.status == 422
    assert said in await response.text()
