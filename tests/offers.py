"""What does a page offer to press? Its links, forms and buttons, as method and path."""

import re
from collections.abc import Iterable
from html.parser import HTMLParser


class _Parser(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self._page = page
        self._method = "GET"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self._offer("GET", given.get("href", ""))
        elif tag == "form":
            self._method = given.get("method", "get").upper()
            self._offer(self._method, given.get("action", self._page))
        elif "formaction" in given:
            self._offer(given.get("formmethod", self._method).upper(), given["formaction"])

    def _offer(self, method: str, place: str) -> None:
        path = re.split("[?#]", place)[0]
        if path.startswith("/") and not path.startswith("//"):
            self.found.add((method, path))


def offers_of(page: str, html: str) -> set[tuple[str, str]]:
    """`page`: the path that the HTML came from."""
    parser = _Parser(page)
    parser.feed(html)
    return parser.found


def route_of(method: str, path: str, routes: Iterable[str]) -> str | None:
    """The one of the routes, as `GET /tasks/{task}`, that serves a path; None: there is none."""
    fitting = [
        route
        for route in routes
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", route), f"{method} {path}")
    ]
    return min(fitting, key=lambda route: route.count("{"), default=None)
