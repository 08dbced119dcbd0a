"""Do the documents say of every route who may use it? The table in docs/operations.md is made here.

Run with MSCHEDULE_WRITE_DOCS=1 to write it anew. That it is so in fact is tried by
tests/acceptance/test_who_may.py, with the same table.
"""

import os
import re
from pathlib import Path

from tests.routes_tried import EXAMPLES, FREE, NEVER, OWN_HOSTS
from webserver.routes import API, ROUTES

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPERATIONS, API_DOC = DOCS / "operations.md", DOCS / "api.md"
BEGIN = "<!-- which routes: made by tests/web/test_authorization_doc.py -->\n"
END = "<!-- end of which routes -->"
WRITE = bool(os.environ.get("MSCHEDULE_WRITE_DOCS"))


def table():
    lines = ["| route | who | with a limit of hosts |", "|---|---|---|"]
    for route in ROUTES:
        limited = EXAMPLES[f"{route.method} {route.path}"].limited
        lines.append(f"| `{route.method} {route.path}` | {route.may} | {limited} |")
    return "\n".join(lines) + "\n"


def test_there_is_an_example_of_every_route():
    assert set(EXAMPLES) == {f"{route.method} {route.path}" for route in ROUTES}
    assert {one.limited for one in EXAMPLES.values()} == {FREE, OWN_HOSTS, NEVER}


def test_the_documentation_has_the_same_table():
    text = OPERATIONS.read_text()
    written = f"{BEGIN}\n{table()}\n{END}"
    if WRITE:
        pattern = re.escape(BEGIN) + ".*" + re.escape(END)
        OPERATIONS.write_text(re.sub(pattern, lambda _: written, text, flags=re.DOTALL))
    assert written in OPERATIONS.read_text()


def test_the_documentation_of_the_api_says_the_same():
    rows = re.findall(
        r"^\| (GET|POST|PUT|PATCH|DELETE) \| (.*?) \| (\w+) \|", API_DOC.read_text(), re.MULTILINE
    )
    told = {
        (method, path.partition("?")[0]): may
        for method, cell, may in rows
        for path in re.findall(r"`([^`]+)`", cell)
    }
    may = {(route.method, route.path): str(route.may) for route in API}
    assert told | {("GET", "/api/openapi.json"): "anyone"} == may
