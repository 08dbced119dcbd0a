"""How are the rooms of the web put together? One application around one master."""

from functools import cache

from aiohttp import web

from webserver.body import MAX_BODY_BYTES, later_continue
from webserver.context import MASTER, Master
from webserver.diffs import DIFFS, Diffs
from webserver.door import DOOR, Door
from webserver.errors import errors
from webserver.events import HUB, Hub
from webserver.guard import add_headers, arrive, guarded
from webserver.openapi import DOCUMENT, Document, make_document
from webserver.proxies import PROXIES, Proxies
from webserver.rendering import static_files
from webserver.routes import ROUTES


def make_app(master: Master, *, proxies: Proxies | None = None) -> web.Application:
    """The application; `master` is the bridge, or in tests a fake that answers like it."""
    app = web.Application(middlewares=[arrive, errors], client_max_size=MAX_BODY_BYTES)
    app[MASTER] = master
    app[PROXIES] = proxies or Proxies()
    app[DOOR] = Door(master)
    app[HUB] = Hub(master)
    app[DIFFS] = Diffs()
    app[DOCUMENT] = _document()
    for route in ROUTES:
        handler = guarded(route)
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, handler, expect_handler=later_continue)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    app.on_startup.append(_read_static)
    return app


@cache
def _document() -> Document:
    """Made once: it takes a tenth of a second, and is the same for every application."""
    return make_document(ROUTES)


async def _end_streams(app: web.Application) -> None:
    """Before aiohttp waits for open answers: event streams would never end by themselves."""
    await app[HUB].stop()


async def _read_static(app: web.Application) -> None:
    static_files()
