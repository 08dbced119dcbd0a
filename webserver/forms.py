"""What did a person fill in? Form fields, only from our own pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from aiohttp import web

from webserver.body import query, read_form
from webserver.cookies import SESSION, read_cookie
from webserver.door import FORM_TOKEN_FIELD, check_form_token
from wire.errors import Refusal


@dataclass(frozen=True)
class Form:
    """The fields as they were sent; a name may come several times."""

    fields: dict[str, list[str]]

    def text(self, name: str) -> str:
        """The first value, "" if there is none."""
        return self.fields.get(name, [""])[0]

    def word(self, name: str) -> str:
        return self.text(name).strip()

    def many(self, name: str) -> list[str]:
        return self.fields.get(name, [])


@dataclass
class Draft:
    """What stands in a form that is shown again, and what is wrong with it, by field; `errors[""]`
    belongs to no field. `others`: fields that have no text here."""

    texts: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    others: frozenset[str] = frozenset()

    def blame(self, refusal: Refusal) -> None:
        name = refusal.field or ""
        is_here = name in self.texts or name in self.others
        self.errors[name if is_here else ""] = str(refusal)


async def own_form(request: web.Request, cookie_name: str = SESSION) -> Form:
    """The form, if it comes from a page that we gave to this browser; else Forbidden."""
    form = Form(await read_form(request))
    cookie = read_cookie(request, cookie_name)
    check_form_token(cookie, form.text(FORM_TOKEN_FIELD))
    return form


def see(path: str) -> web.Response:
    """After a form was taken: on to a page, so that a reload sends nothing twice."""
    return web.Response(status=303, headers={"Location": path})


def filters(request: web.Request, *known: str) -> dict[str, str]:
    """The query string of a page: without what a form left empty, which stands for "any"."""
    found = {name: value.strip() for name, value in query(request, *known).items()}
    return {name: value for name, value in found.items() if value}


def link(path: str, given: Mapping[str, str | None]) -> str:
    """A URL of our own with the query that is not empty; filters live there."""
    kept = {name: value for name, value in given.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path
