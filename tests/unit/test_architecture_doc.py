"""Does docs/architecture.md show the moves that the code allows?"""

from pathlib import Path

from master.state import table

PAGE = Path(__file__).resolve().parents[2] / "docs/architecture.md"
BEGIN = "<!-- states: made by tests/unit/test_architecture_doc.py -->\n"
END = "<!-- end of states -->\n"


def test_it_shows_the_table_of_moves() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == table().strip(), "put the output of master.state.table() there"
