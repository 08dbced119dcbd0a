"""From a script in the form to what its hosts said, as a person sees it."""

import re

from playwright.sync_api import expect

from tests.browser.driving import log_in

# Says a line, and waits until somebody makes the file: the test decides when a run ends.
GATED = "echo begun\nwhile [ ! -e {gate} ]; do sleep 0.05; done\necho done\n"
DIFFERENT = "case $MSCHEDULE_AGENT_ID in {id}) echo broken; exit 3 ;; esac\necho fine\n"


def write(page, fleet, script, targets="@*", **fields):
    """Fill in the form of a new task; the button says for which hosts when it returns."""
    page.goto(f"{fleet.url}/tasks/new")
    page.get_by_label("Script", exact=True).fill(script)
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(text)
    page.get_by_label("Expression").fill(targets)
    return page.get_by_role("button", name=re.compile(r"^Run on"))


def test_it_lets_in_whoever_has_a_token_and_nobody_else(context, fleet, console):
    page = context.new_page()
    page.goto(f"{fleet.url}/hosts")
    page.get_by_label("API token").fill("not-the-token")
    page.get_by_role("button", name="Use the token").click()
    expect(page.get_by_role("alert")).to_contain_text("not a valid token")
    console.forgive("401")
    page.get_by_label("API token").fill(fleet.token)
    page.get_by_role("button", name="Use the token").click()
    expect(page.get_by_role("heading", name="Hosts")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API token")).to_be_visible()


def test_it_says_before_the_submit_what_will_happen(page, fleet):
    run = write(page, fleet, "true", "web[01-02]", At_once="1", Failures_tolerated="0")
    expect(run).to_have_text("Run on 2 hosts, one at a time, stop at the first failure")
    expect(page.locator("#preview .nodeset")).to_have_text("web[01-02]")
    page.get_by_label("Expression").fill("web01,nosuchhost")
    expect(page.locator("#preview")).to_contain_text("there is no host named nosuchhost")


def test_it_warns_of_hosts_whose_turn_may_not_come(page, fleet):
    write(page, fleet, "true", "@*", At_once="1", Time_limit="1 day")
    expect(page.locator("#preview")).to_contain_text("the last of 3 hosts would start after 2 days")


def test_it_submits_by_expression_and_follows_the_task_to_its_end(page, fleet, tmp_path):
    gate = tmp_path / "gate"
    run = write(page, fleet, GATED.format(gate=gate), "@*", At_once="0", Name="follow me")
    expect(run).to_have_text("Run on 3 hosts, all at once, whatever fails")
    run.click()
    expect(page.get_by_role("heading", name="follow me")).to_be_visible()
    expect(page.locator(".cell.running")).to_have_count(3)
    gate.touch()
    expect(page.locator(".cell.succeed")).to_have_count(3)
    expect(page.locator("#state")).to_contain_text("succeeded")
    expect(page.locator("#done-words")).to_have_text("3 of 3 hosts done")
    group = page.locator(".group")
    expect(group).to_have_count(1)
    expect(group.locator("header")).to_contain_text("3 hosts")
    expect(group.locator("pre")).to_have_text("begun\ndone\n")


def test_it_submits_to_hosts_that_are_ticked(page, fleet):
    page.goto(f"{fleet.url}/tasks/new")
    page.get_by_label("Script", exact=True).fill("echo ticked")
    page.get_by_text("Tick hosts", exact=True).click()
    page.get_by_role("checkbox", name="db1").check()
    page.get_by_label("Find").fill("web02")
    expect(page.get_by_role("checkbox", name="web01")).to_be_hidden()
    page.get_by_role("checkbox", name="web02").check()
    expect(page.locator("#ticked")).to_have_text("2 ticked")
    run = page.get_by_role("button", name="Run on 2 hosts")
    expect(page.locator("#preview .nodeset")).to_have_text("db1,web02")
    run.click()
    page.wait_for_url(re.compile(r"/tasks/[0-9a-z]{10,}"))
    expect(page.locator(".cell")).to_have_text([re.compile("db1"), re.compile("web02")])


def test_it_shows_groups_and_what_differs_and_retries_what_failed(page, fleet):
    script = DIFFERENT.format(id=fleet.agent_id("web02"))
    task = fleet.api.submit(script, "@*", parallel=0, name="two outcomes")
    fleet.api.finished(task)
    page.goto(f"{fleet.url}/tasks/{task}")
    groups = page.locator(".group")
    expect(groups.first).to_contain_text("2 hosts")
    expect(groups.last).to_contain_text("web02")
    expect(groups.last).to_contain_text("exit 3")
    groups.last.get_by_role("link", name="what differs").click()
    expect(page.locator(".removed")).to_have_text("− fine\n")
    expect(page.locator(".added")).to_have_text("+ broken\n")
    page.go_back()
    page.get_by_text("Retry…").click()
    page.get_by_role("button", name="Retry as a new task").click()
    expect(page.get_by_text("Retry of")).to_be_visible()
    expect(page.locator(".cell")).to_have_count(1)
    expect(page.locator(".cell")).to_contain_text("web02")


def test_it_starts_from_a_task_that_was(page, fleet):
    script = DIFFERENT.format(id=fleet.agent_id("db1"))
    task = fleet.api.submit(script, "@*", parallel=0, timeout=90, env={"A": "b"}, name="again")
    fleet.api.finished(task)
    page.goto(f"{fleet.url}/tasks/new?from={task}")
    expect(page.get_by_label("Script", exact=True)).to_have_value(script)
    expect(page.get_by_label("Time limit")).to_have_value("1 min 30 s")
    expect(page.get_by_label("Environment")).to_have_value("A=b")
    expect(page.get_by_label("Expression")).to_have_value("@*")
    page.goto(f"{fleet.url}/tasks/new?from={task}&states=FAILED,TIMEOUT")
    expect(page.get_by_role("button", name="Run on 1 host")).to_be_visible()
    expect(page.locator("#preview .nodeset")).to_have_text("db1")


def test_it_cancels_after_a_question(page, fleet, tmp_path):
    task = fleet.api.submit(GATED.format(gate=tmp_path / "never"), "@*", parallel=1)
    page.goto(f"{fleet.url}/tasks/{task}")
    expect(page.locator(".cell.running")).to_have_count(1)
    page.get_by_text("Cancel task", exact=True).click()
    expect(page.locator("#ask-cancel")).to_contain_text("Stops 1 running script")
    expect(page.locator("#ask-cancel")).to_contain_text("2 waiting hosts")
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.locator("#state")).to_contain_text("cancelled")
    expect(page.locator(".cell.cancelled")).to_have_count(3)


def test_it_says_why_a_run_waits(page, fleet, tmp_path):
    gate = tmp_path / "gate"
    task = fleet.api.submit(GATED.format(gate=gate), "@*", parallel=1)
    page.goto(f"{fleet.url}/tasks/{task}?state=WAITING")
    expect(page.locator("#runs tbody tr")).to_have_count(2)
    for row in page.locator("#runs tbody tr").all():
        expect(row.locator("td").nth(2)).not_to_be_empty()
    gate.touch()
    expect(page.locator("#runs")).to_contain_text("No run is waiting")


def test_it_tells_all_tabs_by_one_connection(page, context, fleet, tmp_path):
    gate = tmp_path / "gate"
    task = fleet.api.submit(GATED.format(gate=gate), "@*", parallel=0)
    other = context.new_page()
    opened = []
    context.on("request", lambda request: opened.append(request.url))
    for tab in (page, other):
        tab.goto(f"{fleet.url}/tasks/{task}")
    expect(other.locator(".cell.running")).to_have_count(3)
    gate.touch()
    for tab in (page, other):
        expect(tab.locator(".cell.succeed")).to_have_count(3)
    assert not [url for url in opened if url.endswith("/events")], "a tab has a stream of its own"


def test_it_lists_tasks_as_they_come_and_filters_by_url(page, fleet):
    page.goto(f"{fleet.url}/tasks?text=nameless+wonder")
    expect(page.locator("#tasks")).to_contain_text("No task here fits")
    fleet.api.submit("true", "web01", name="A nameless wonder")
    expect(page.get_by_role("link", name="A nameless wonder")).to_be_visible()
    expect(page.locator("#tasks tbody")).to_contain_text("succeeded")
    page.get_by_role("link", name="failed", exact=True).click()
    expect(page).to_have_url(re.compile(r"state=FAILED"))
    expect(page).to_have_url(re.compile(r"text=nameless"))


def test_it_comes_back_by_itself_when_the_master_does(page, fleet, console, tmp_path):
    gate = tmp_path / "gate"
    task = fleet.api.submit(GATED.format(gate=gate), "@*", parallel=0)
    page.goto(f"{fleet.url}/tasks/{task}")
    expect(page.locator(".cell.running")).to_have_count(3)
    fleet.master.kill()
    expect(page.locator("#link")).to_contain_text("The master is away")
    lost = page.context.new_page()
    lost.goto(f"{fleet.url}/hosts")
    expect(lost.get_by_role("heading")).to_have_text("The master is away")
    gate.touch()
    fleet.master.start()
    expect(page.locator(".cell.succeed")).to_have_count(3)
    expect(page.locator("#link")).to_be_hidden()
    expect(page.locator("#state")).to_contain_text("succeeded")
    expect(lost.get_by_role("heading", name="Hosts")).to_be_visible()
    console.forgive("503")


def test_it_works_without_javascript(plain, fleet):
    plain.goto(f"{fleet.url}/tasks/new")
    plain.get_by_label("Script", exact=True).fill("echo plain and simple")
    plain.get_by_label("Expression").fill("web*")
    plain.get_by_role("button", name="Preview").click()
    expect(plain.locator("#preview")).to_contain_text("web[01-02]")
    plain.get_by_role("button", name="Run on 2 hosts, one at a time, whatever fails").click()
    plain.wait_for_url(re.compile("/tasks/[0-9a-f]{32}$"))
    fleet.api.finished(plain.url.rpartition("/")[2])
    plain.reload()
    expect(plain.locator(".group")).to_contain_text("plain and simple")
    plain.get_by_role("link", name=re.compile("web01")).first.click()
    expect(plain.locator("#output")).to_have_text("plain and simple\n")
    plain.goto(f"{fleet.url}/hosts?state=online&sort=-hostname")
    expect(plain.locator("tbody td.name")).to_have_text(["web02", "web01", "db1"])


def test_it_can_be_used_by_keyboard_alone(context, fleet):
    page = context.new_page()
    log_in(page, fleet)
    page.wait_for_url("**/tasks")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.goto(f"{fleet.url}/tasks/new")
    script = page.get_by_label("Script", exact=True)
    script.focus()
    page.keyboard.type("if true; then")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("echo typed")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("fi")
    expect(script).to_have_value("if true; then\n    echo typed\nfi")
    expect(page.locator(".gutter")).to_have_text(re.compile(r"1\n2\n3"))
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Expression")).to_be_focused()
    page.keyboard.type("web01")
    expect(page.get_by_role("button", name="Run on 1 host")).to_be_visible()
    page.get_by_role("button", name="Run on 1 host").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/tasks/[0-9a-z]{10,}"))
    expect(page.locator(".group pre")).to_have_text("typed\n")


def test_it_follows_alone_where_tabs_can_share_no_worker(context, fleet, tmp_path):
    context.add_init_script("delete window.SharedWorker")
    page = context.new_page()
    log_in(page, fleet)
    page.wait_for_url("**/tasks")
    gate = tmp_path / "gate"
    task = fleet.api.submit(GATED.format(gate=gate), "@*", parallel=0)
    page.goto(f"{fleet.url}/tasks/{task}")
    expect(page.locator(".cell.running")).to_have_count(3)
    gate.touch()
    expect(page.locator(".cell.succeed")).to_have_count(3)
