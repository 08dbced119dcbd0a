"""How does a page become HTML? By templates that escape everything; files have a version."""

import base64
import functools
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from webserver.context import Caller
from webserver.text import human_bytes, human_when

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass(frozen=True)
class StaticFile:
    body: bytes
    content_type: str
    version: str  # of the content: a changed file has another URL, so that it may be kept for ever


@functools.cache
def static_files() -> dict[str, StaticFile]:
    """All of static/, read once: it is small, and nothing outside it can be named."""
    files = {}
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            body = path.read_bytes()
            content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            version = base64.urlsafe_b64encode(hashlib.sha256(body).digest())[:12].decode()
            files[path.relative_to(STATIC).as_posix()] = StaticFile(body, content_type, version)
    return files


def static_url(name: str) -> str:
    return f"/static/{name}?v={static_files()[name].version}"


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
    environment.filters["when"] = human_when
    environment.globals["static"] = static_url
    return environment


def render(
    name: str, *, status: int = 200, caller: Caller | None = None, **values: Any
) -> web.Response:
    """A page from a template; `caller` None stands for somebody who has not logged in."""
    text = _environment().get_template(name).render(caller=caller, **{"refresh_s": None, **values})
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
