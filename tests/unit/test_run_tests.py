"""Does scripts/test run everything that there is, and count it right?"""

from pathlib import Path

import pytest

from scripts.run_tests import BY_FILE, CHECKS, ROOT, STAGES, Outcome, _counts, _joined, _stages
from scripts.run_tests import _steps as steps_of
from scripts.run_tests import _tests as files_of

REPORT = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>'
CLEAN = '<testsuites><testsuite tests="9" failures="0" errors="0" skipped="0"/></testsuites>'


def test_it_runs_every_folder_that_has_tests_once():
    files = (ROOT / "tests").rglob("test_*.py")
    folders = {file.relative_to(ROOT / "tests").parts[0] for file in files}
    named = [name for stage in STAGES for name in stage.names]
    assert sorted(named) == sorted(folders)


def test_it_begins_with_the_checks():
    assert _stages(fast=True)[0].names == [*CHECKS, "unit"]
    assert _stages(fast=False)[0].names[: len(CHECKS)] == [*CHECKS]


@pytest.mark.parametrize("name", BY_FILE)
def test_it_makes_a_step_of_each_file_of_a_folder_that_mostly_waits(name):
    files = files_of(name)
    assert len(files) == len(set(files)) == len(steps_of(name))
    assert {ROOT / file for file in files} == set((ROOT / "tests" / name).rglob("test_*.py"))


def test_it_makes_one_step_of_any_other_folder():
    assert len(steps_of("storage")) == 1


def test_it_tells_of_a_folder_in_one_line_from_the_first_begin_to_the_last_end():
    parts = [
        Outcome("tests/acceptance/test_a.py", 5, 0, 1, began_at=10.0, ended_at=14.0),
        Outcome("tests/acceptance/test_b.py", 3, 2, 0, began_at=12.0, ended_at=31.0),
    ]
    line = "acceptance   8 passed, 2 failed, 1 skipped (21 s)"
    assert _joined("acceptance", parts).line() == line


@pytest.mark.parametrize(
    ("report", "code", "counts"),
    [
        (CLEAN, 0, (9, 0, 0)),
        (REPORT, 1, (3, 3, 3)),
        (CLEAN, -9, (9, 1, 0)),  # it died after its report
        ("<testsuites><testsui", -9, None),
        ("", 2, None),
    ],
)
def test_it_counts_what_pytest_reports(tmp_path: Path, report, code, counts):
    file = tmp_path / "report.xml"
    file.write_text(report)
    assert _counts(code, file) == counts


def test_it_knows_when_there_is_no_report(tmp_path: Path):
    assert _counts(3, tmp_path / "report.xml") is None
