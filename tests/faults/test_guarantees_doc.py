"""Does every test exist that docs/guarantees.md relies on?"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/guarantees.md").read_text()


def test_every_file_that_it_names_is_there():
    named = set(re.findall(r"`((?:tests|benchmarks)/[\w/]+(?:\.py)?)`", TEXT))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_promise_has_a_test():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row.split("|")[3]] == []
