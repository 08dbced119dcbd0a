"""The pages of saved groups, as a browser without JavaScript uses them."""

from typing import Any

import pytest

from tests.web.fake_master import OTTO
from tests.web.test_pages import log_in, send
from wire.errors import InvalidValue
from wire.host_groups import HostGroup, HostGroups, HostGroupView, Use

NOW = "2026-11-21T08:50:00.123Z"


def make_group(**changes: Any) -> HostGroupView:
    values: dict[str, Any] = {
        "name": "shop",
        "hosts": "web*",
        "note": "front",
        "changed_by": "alice",
        "changed_at": NOW,
        "count": 2,
        "nodeset": "web[01-02]",
    }
    return HostGroupView(**(values | changes))


@pytest.fixture
async def browser(stranger, master):
    """Alice, logged in, with a saved group."""
    assert (await log_in(stranger)).status == 303
    master.answer("get_host_groups", HostGroups([make_group()]))
    used_by = [Use("schedule", "nightly"), Use("person", "olga"), Use("group", "all")]
    master.answer("get_host_group", make_group(used_by=used_by))
    return stranger


async def text_of(browser, path):
    response = await browser.get(path)
    assert response.status == 200, await response.text()
    return await response.text()


async def test_it_lists_groups_with_what_they_mean(browser, master):
    page = await text_of(browser, "/groups")
    assert 'href="/groups/shop"' in page
    assert "web*" in page
    master.answer("get_host_groups", HostGroups([]))
    assert "No group has been saved yet" in await text_of(browser, "/groups")


async def test_it_shows_who_uses_a_group_before_it_is_changed(browser):
    page = await text_of(browser, "/groups/shop")
    assert "web[01-02]" in page
    assert "nightly" in page
    assert "olga, whom it limits" in page
    assert 'href="/groups/all"' in page
    assert "Remove group" not in page


async def test_it_saves_and_changes(browser, master):
    master.answer("add_host_group", make_group())
    form = {"name": "shop", "hosts": "web*", "note": ""}
    response = await send(browser, "/groups", form, form_page="/groups")
    assert (response.status, response.headers["Location"]) == (303, "/groups")
    assert master.asked("add_host_group")[0].group == HostGroup("shop", "web*")

    master.answer("change_host_group", make_group())
    form = {"hosts": "db1", "note": "n"}
    await send(browser, "/groups/shop", form, form_page="/groups/shop")
    assert master.asked("change_host_group")[0].group == HostGroup("shop", "db1", "n")


async def test_it_keeps_what_was_typed_when_it_is_refused(browser, master):
    master.answer("add_host_group", InvalidValue("hosts: a bracket is open", field="hosts"))
    form = {"name": "shop", "hosts": "web[1", "note": ""}
    response = await send(browser, "/groups", form, form_page="/groups")
    page = await response.text()
    assert response.status == 422
    assert 'value="web[1"' in page
    assert 'id="wrong-hosts"' in page


async def test_it_removes_one_that_nothing_uses(browser, master):
    master.answer("get_host_group", make_group(used_by=[]))
    master.answer("remove_host_group", make_group())
    response = await send(browser, "/groups/shop/remove", {}, form_page="/groups/shop")
    assert (response.status, response.headers["Location"]) == (303, "/groups")


@pytest.mark.parametrize(("kind", "offered"), [("person", False), ("schedule", True)])
async def test_a_group_that_limits_somebody_is_changed_by_admins_alone(
    stranger, master, kind, offered
):
    assert (await log_in(stranger, OTTO)).status == 303
    master.answer("get_host_group", make_group(used_by=[Use(kind, "olga")]))
    assert ('action="/groups/shop"' in await text_of(stranger, "/groups/shop")) == offered
