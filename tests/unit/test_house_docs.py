"""Do the documents say what is so?"""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import agent.settings
import master.settings
import webserver.settings

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SHOWN = {"None": "none", "True": "yes", "False": "no"}
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


def row(field) -> str:
    rule = field.metadata["rule"]
    variable = f"`MSCHEDULE_{field.name.upper()}`" if rule.only is None else ""
    cells = [
        f"`--{field.name.replace('_', '-')}`",
        variable,
        SHOWN.get(str(field.default), str(field.default)),
        rule.help,
    ]
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


@pytest.mark.parametrize(
    ("program", "settings"),
    [
        ("mschedule-agent", agent.settings.Settings),
        ("mschedule-master", master.settings.Settings),
        ("mschedule-web", webserver.settings.Settings),
    ],
)
def test_it_lists_every_setting_and_no_other(program, settings):
    section = OPERATIONS.partition(f"### {program}\n")[2].partition("\n#")[0]
    listed = [line for line in section.splitlines() if line.startswith("| `--")]
    shown = [field for field in fields(settings) if field.metadata["rule"].only != "environment"]
    assert listed == [row(field) for field in shown]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_it_links_to_what_is_there(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "kind", ["master unreachable", "wrong master key", "not enrolled", "refused"]
)
def test_it_explains_every_line_about_a_troubled_connection(kind):
    assert f"| `{kind}: …`" in OPERATIONS
    assert f'"{kind}"' in (ROOT / "agent/cm.py").read_text()
