"""What is answered to anybody, at once, also while the master is away?"""

from aiohttp import web

from webserver.body import query
from webserver.context import MASTER, Caller
from webserver.rendering import static_files
from wire.errors import NotFound

A_YEAR_S = 365 * 86400


async def healthz(request: web.Request, _: Caller) -> web.StreamResponse:
    """That this process serves, and whether it heard from the master lately. Asks nobody."""
    away = request.app[MASTER].away
    return web.json_response({"status": "ok", "master": "away" if away else "ok"})


async def static_file(request: web.Request, _: Caller) -> web.StreamResponse:
    """A file of ours from memory; kept for ever when it was asked for by its version."""
    name = request.match_info["name"]
    file = static_files().get(name)
    if file is None:
        raise NotFound(f"there is nothing at {request.path}")
    given = query(request, "v")
    kept = (
        f"public, max-age={A_YEAR_S}, immutable" if given.get("v") == file.version else "no-cache"
    )
    headers = {"Cache-Control": kept, "ETag": f'"{file.version}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.content_type, headers=headers)
