"""Who did what? The page of the audit log, for admins."""

import msgspec
from aiohttp import web

from webserver.api_audit import FORMATS, as_file, page_of
from webserver.context import Caller
from webserver.forms import filters, link
from webserver.page_frame import framed
from webserver.parameters import AuditQuery
from wire.errors import InvalidValue, NotFound

ON_A_PAGE = 100
FILTERS = ("who", "action", "object", "result", "since", "until")


async def show_audit(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Newest first; the same filters lead to the files."""
    given = filters(request, *FILTERS, "cursor")
    page = await page_of(request, caller, _asked(given, limit=ON_A_PAGE))
    chosen: dict[str, str | None] = {name: given.get(name) for name in FILTERS}
    return await framed(
        request,
        caller,
        "audit.html",
        records=page.items,
        given=given,
        filtered=any(chosen.values()),
        files={format: link(f"/audit/{format}", chosen) for format in FORMATS},
        more=page.next and link("/audit", chosen | {"cursor": page.next}),
    )


async def give_file(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The records that the page shows, and all behind them, to keep."""
    format = request.match_info["name"]
    if format not in FORMATS:
        raise NotFound(f"the log comes as {' or '.join(FORMATS)}, not as {format[:20]!r}")
    given = filters(request, *FILTERS)
    return await as_file(request, caller, _asked(given, format=format))


def _asked(given: dict[str, str], **more: object) -> AuditQuery:
    try:
        return msgspec.convert({**given, **more}, AuditQuery)
    except msgspec.ValidationError as error:
        raise InvalidValue(str(error)) from error
