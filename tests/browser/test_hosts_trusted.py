"""Hosts that wait, are accepted and revoked; and join strings, seen once."""

from playwright.sync_api import expect

from tests.acceptance.test_trusted_hosts import host, new_token, until_standing
from tests.support import until


def test_it_accepts_a_host_that_waits_and_revokes_it(page, fleet):
    agent = host(fleet, "new01", new_token(fleet.api, accept="by hand", name="by hand"))
    agent.start()
    try:
        until(lambda: fleet.api.items("/api/v1/agents", standing="pending"), 60, "it waits")
        (pending,) = fleet.api.items("/api/v1/agents", standing="pending")
        page.goto(f"{fleet.url}/hosts")
        expect(page.get_by_text(pending["fingerprint"])).to_be_visible()
        expect(page.get_by_role("link", name="1 new")).to_be_visible()
        page.get_by_role("button", name="Accept").click()
        expect(page.get_by_role("link", name="1 new")).to_be_hidden()
        until_standing(fleet.api, pending["id"], "enrolled")

        page.goto(f"{fleet.url}/hosts/{pending['id']}")
        page.get_by_text("Revoke…").click()
        page.get_by_label("Why").fill("stolen")
        page.get_by_role("button", name="Revoke new01").click()
        expect(page.get_by_text("revoked by admin: stolen")).to_be_visible()
        page.get_by_text("New key…").click()
        page.get_by_role("button", name="Make the join string").click()
        expect(page.locator("#join")).to_contain_text(f"&agent={pending['id']}")

        page.goto(f"{fleet.url}/hosts/{pending['id']}")
        page.get_by_text("Delete…").click()
        page.get_by_role("button", name="Delete new01").click()
        page.wait_for_url("**/hosts")
        expect(page.get_by_role("link", name="new01")).to_be_hidden()
    finally:
        agent.kill()
        del fleet.agents["new01"]


def test_it_makes_a_join_string_without_javascript_and_shows_it_once(plain, fleet):
    plain.goto(f"{fleet.url}/join-tokens")
    plain.get_by_label("What for").fill("web servers in Berlin")
    plain.get_by_label("Labels they get").fill("env:prod nonsense")
    plain.get_by_role("button", name="Make a join string").click()
    expect(plain.get_by_role("alert")).to_contain_text("nonsense")
    plain.get_by_label("Labels they get").fill("env:prod role:web")
    plain.get_by_role("button", name="Make a join string").click()
    join = plain.locator("#join").text_content()
    assert join is not None and join.startswith("mschedule://")
    plain.goto(f"{fleet.url}/join-tokens")
    assert join.partition("token=")[2] not in plain.content()
    row = plain.get_by_role("row", name="web servers in Berlin")
    expect(row).to_contain_text("role:web")
    row.get_by_role("button", name="Delete").click()
    expect(row).to_be_hidden()
