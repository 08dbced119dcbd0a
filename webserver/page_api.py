"""What can a program ask of us? The reference page, made from the OpenAPI document."""

from aiohttp import web

from webserver.context import Caller
from webserver.openapi import DOCUMENT
from webserver.rendering import render


async def show_reference(request: web.Request, _: Caller) -> web.StreamResponse:
    return render("api.html", document=request.app[DOCUMENT].tree)
