"""What is answered to anybody, at once, also while the master is away?"""

from typing import Literal

from aiohttp import web
from msgspec import Struct

from webserver.answers import json_answer
from webserver.body import query
from webserver.context import MASTER, Caller
from webserver.parameters import NoQuery
from webserver.rendering import static_files, static_version
from wire.errors import NotFound

A_YEAR_S = 365 * 86400


class Health(Struct):
    """`master` is "away" while this web server has no connection to it."""

    status: Literal["ok"]
    master: Literal["ok", "away"]


async def healthz(request: web.Request, _: Caller, __: NoQuery) -> web.StreamResponse:
    """At once, without a token, asking nobody; 200 also while the master is away."""
    health = Health("ok", "away" if request.app[MASTER].away else "ok")
    return await json_answer(request, health)


async def static_file(request: web.Request, _: Caller) -> web.StreamResponse:
    """A file of ours from memory; kept for ever under the version of all of them."""
    file = static_files().get(request.match_info["name"])
    if file is None:
        raise NotFound(f"there is nothing at {request.path}")
    query(request)
    current = request.match_info["version"] == static_version()
    kept = f"public, max-age={A_YEAR_S}, immutable" if current else "no-cache"
    headers = {"Cache-Control": kept, "ETag": f'"{static_version()}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.content_type, headers=headers)
