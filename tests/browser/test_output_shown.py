"""Output as it is shown: live, in colours, searched; and harmless, whatever a script writes."""

import re

import pytest
from playwright.sync_api import expect

HOSTILE = r"""
printf '<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">\n'
printf '</pre><style>body { display: none }</style>\n'
printf '\033]0;a title\007\033[2J\033[1;1Hmoved\033[0m\n'
printf '\033]never ended\n'
printf 'zero \000 bell \007 delete \177 turned \342\200\256 round\n'
"""
BOMB = r"""
head -c 1048576 /dev/zero | tr '\0' x; echo
i=0
while [ $i -lt 3000 ]; do printf '\033[3%dm%d\033[4%dm' $((i % 8)) $i $((i % 8)); i=$((i+1)); done
printf '\033[%s' "$(head -c 20000 /dev/zero | tr '\0' '1')"
echo; echo 'the end'
"""


def run_page(page, fleet, script, **fields):
    """The page of the one run of a script that has ended."""
    task = fleet.api.submit(script, "web01", **fields)
    fleet.api.finished(task)
    page.goto(f"{fleet.url}/tasks/{task}/runs/{fleet.api.run(task)['id']}")
    return task


def test_it_shows_colours_and_finds_words(page, fleet):
    run_page(page, fleet, r"printf 'plain\n\033[1;31mred\033[0m\nplain again\n'")
    expect(page.locator("#output .line")).to_have_text(["plain", "red", "plain again"])
    expect(page.locator("#output .f1.bold")).to_have_text("red")
    page.get_by_label("Search").fill("PLAIN")
    expect(page.locator("#output .hit")).to_have_count(2)
    page.get_by_label("Search").press("Enter")
    expect(page.locator("#matches")).to_have_text("1 of 2")
    expect(page.locator("#output .now")).to_have_text("plain")
    page.get_by_role("button", name="Next match").click()
    expect(page.locator("#output .now")).to_have_text("plain again")
    page.get_by_label("Wrap").uncheck()
    expect(page.locator("#output")).to_have_class("unwrapped")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b"plain\n\x1b[1;31mred\x1b[0m\nplain again\n"


def test_it_follows_a_script_that_writes(page, fleet, tmp_path):
    steps = [tmp_path / "one", tmp_path / "two"]
    wait = "while [ ! -e {} ]; do sleep 0.05; done\n"
    script = f"echo first\n{wait.format(steps[0])}seq 500\n{wait.format(steps[1])}echo last\n"
    task = fleet.api.submit(script, "web01")
    page.goto(f"{fleet.url}/tasks/{task}/runs/{fleet.api.run(task)['id']}")
    expect(page.locator("#output")).to_contain_text("first")
    steps[0].touch()
    expect(page.locator("#output .line").last).to_have_text("500")
    expect(page.locator("#output .line").last).to_be_in_viewport()
    steps[1].touch()
    expect(page.locator("#output .line").last).to_have_text("last")
    expect(page.locator("#about")).to_contain_text("succeeded")


@pytest.mark.parametrize("script", [HOSTILE, BOMB], ids=["hostile", "bomb"])
def test_it_shows_hostile_output_as_text(page, fleet, script):
    task = run_page(page, fleet, script)
    last = {HOSTILE: "round", BOMB: "the end"}[script]
    expect(page.locator("#output .line").last).to_contain_text(last)
    run = page.url
    for url, place in ((run, "#output"), (f"{fleet.url}/tasks/{task}", ".group pre")):
        page.goto(url)
        expect(page.locator(place)).to_contain_text(last)
        assert page.evaluate("window.hurt") is None
        assert page.title().endswith("mschedule")
        assert not page.locator("#main script, #main img, #main style").count()


def test_it_makes_visible_what_would_hide(page, fleet):
    run_page(page, fleet, HOSTILE)
    shown = page.locator("#output")
    expect(shown).to_contain_text('<img src=x onerror="window.hurt = 1">')
    expect(shown).to_contain_text("zero ␀ bell ␇ delete ␡ turned <U+202E> round")
    expect(shown).to_contain_text("never ended")
    expect(shown).to_contain_text("moved")
    expect(shown).not_to_contain_text("a title")


def test_it_bounds_what_a_page_holds(page, fleet):
    run_page(page, fleet, "seq 100000")
    expect(page.locator("#output .line").last).to_have_text("100000")
    assert page.locator("#output .line").count() <= 41_000
    expect(page.locator("#left-out")).to_be_visible()


@pytest.mark.parametrize(
    ("parts", "pieces"),
    [
        (["\x1b[3", "1mred"], [["red", "f1"]]),
        (["a\r", "\nb"], [["a", ""], ["\nb", ""]]),
        (["\x1b[38;5;196mx\x1b[39;48;2;0;0;255my"], [["x", "f9"], ["y", "b12"]]),
        (["\x1b[1;4mx\x1b[22my\x1b[mz"], [["x", "bold underline"], ["y", "underline"], ["z", ""]]),
        (["\x1b[7mx\x1b[27my"], [["x", "inverse"], ["y", ""]]),
        (["\x1b[999;999;38mx"], [["x", ""]]),
        (["\x1b]8;;http://evil\x1b\\link"], [["link", ""]]),
    ],
)
def test_it_reads_colours_across_parts(page, parts, pieces):
    read = """async ([url, parts]) => {
        const { Ansi } = await import(url);
        const ansi = new Ansi();
        return parts.flatMap((part) => ansi.feed(part)).map(({ text, style }) => [text, style]);
    }"""
    module = re.sub(
        r"style\.css$", "ansi.js", page.locator("link[rel=stylesheet]").get_attribute("href")
    )
    assert page.evaluate(read, [module, parts]) == pieces
