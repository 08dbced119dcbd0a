"""How does a page become HTML? By templates that escape everything; files have a version."""

import base64
import functools
import hashlib
import mimetypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from utils import iso
from webserver.context import Caller
from webserver.text import (
    human_bytes,
    human_count,
    human_duration,
    human_skew,
    human_span,
    human_when,
)
from wire.views import StatusView

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass(frozen=True)
class StaticFile:
    body: bytes
    content_type: str


@functools.cache
def static_files() -> dict[str, StaticFile]:
    """All of static/, read once: it is small, and nothing outside it can be named."""
    files = {}
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            body = path.read_bytes()
            content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            files[path.relative_to(STATIC).as_posix()] = StaticFile(body, content_type)
    return files


@functools.cache
def static_version() -> str:
    """Of all files together: a changed one moves them all, so that they may be kept for ever.

    It is a folder of the URL, and so modules that import each other by relative names
    never mix two versions.
    """
    digest = hashlib.sha256()
    for name, file in static_files().items():
        digest.update(b"%s %d " % (name.encode(), len(file.body)))
        digest.update(file.body)
    return base64.urlsafe_b64encode(digest.digest())[:12].decode()


def static_url(name: str) -> str:
    if name not in static_files():
        raise LookupError(f"static/{name} is not there")
    return f"/static/{static_version()}/{name}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["bytes"] = human_bytes
    environment.filters["duration"] = human_duration
    environment.filters["skew"] = human_skew
    environment.filters["when"] = human_when
    environment.globals["counted"] = human_count
    environment.globals["span"] = human_span
    environment.globals["now"] = lambda: iso(time.time())
    environment.globals["static"] = static_url
    return environment


def render(
    name: str,
    /,
    *,
    status: int = 200,
    caller: Caller | None = None,
    master: StatusView | None = None,
    in_the_open: bool = False,
    **values: Any,
) -> web.Response:
    """A page from a template.

    `caller` None stands for somebody who has not logged in, `master` None for a master
    that did not say how it is. `in_the_open`: the page travels unencrypted over a network.
    """
    given = {"refresh_s": None, "in_the_open": in_the_open, **values}
    text = _environment().get_template(name).render(caller=caller, master=master, **given)
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
