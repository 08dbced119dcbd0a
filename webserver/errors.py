"""How does a refusal reach the caller? As a JSON object or a page, made here and nowhere else."""

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from webserver.door import DOOR
from webserver.proxies import seen
from webserver.refusals import (
    LoginNeeded,
    MethodNotAllowed,
    RangeNotSatisfiable,
    RequestTimeout,
)
from webserver.rendering import render
from wire.errors import Internal, Malformed, NotFound, Refusal, TooLarge, TooManyAttempts

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER_S = 2
PAGE_RETRY_S = 5

_TITLES = {
    400: "This request cannot be read",
    401: "Log in first",
    403: "Not allowed",
    404: "There is no such page",
    405: "Not possible here",
    409: "That does not fit what is there now",
    413: "Too large",
    422: "A value is not right",
    429: "Too many attempts",
    503: "The master is away",
}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: whatever is raised below becomes one answer of one form."""
    try:
        return await handler(request)
    except Refusal as raised:
        refusal = raised
    except web.HTTPException as raised:
        if raised.status < 400:
            raise
        refusal = _from_http(request, raised)
    except (asyncio.CancelledError, ConnectionError):
        raise  # the client is gone: nobody to tell
    except Exception:
        refusal = _internal(request)
    return _answer(request, refusal)


def _from_http(request: web.Request, raised: web.HTTPException) -> Refusal:
    """aiohttp's own errors, those of its router above all, in our words."""
    if raised.status == 404:
        return NotFound(f"there is nothing at {request.path}")
    if isinstance(raised, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(raised.allowed_methods))
        return MethodNotAllowed(
            f"{request.path} does not take {request.method}; it takes {allowed}",
            details={"allow": allowed},
        )
    if raised.status == 413:
        return TooLarge("the request is too large")
    return Malformed(f"the request cannot be read: {raised.reason}")


def _internal(request: web.Request) -> Internal:
    reference = secrets.token_hex(4)
    log.exception(f"{request.method} {request.rel_url.raw_path} broke, reference {reference}")
    return Internal(f"something broke inside the web server; its log has it under {reference}")


def wants_json(request: web.Request) -> bool:
    """The API and everything below it answers JSON, also for paths that do not exist."""
    path = request.path
    return path.startswith(("/api/", "/task/")) or path in ("/task", "/healthz")


class Problem(Struct, omit_defaults=True):
    """`code` is for programs, `message` for people; `field` is to blame, if one is."""

    code: str
    message: str
    field: str | None = None  # of a body, a parameter or a header
    details: dict[str, Any] | None = None


class ErrorAnswer(Struct):
    """What every refusal looks like."""

    error: Problem


def error_answer(refusal: Refusal) -> ErrorAnswer:
    message, field = _sendable(refusal.message), _sendable(refusal.field or "") or None
    return ErrorAnswer(Problem(refusal.code, message, field, refusal.details))


def _sendable(text: str) -> str:
    """A sentence may quote half a character, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def _answer(request: web.Request, refusal: Refusal) -> web.Response:
    if isinstance(refusal, LoginNeeded):
        response = web.Response(status=303, headers={"Location": refusal.message})
    elif wants_json(request):
        response = web.Response(
            body=msgspec.json.encode(error_answer(refusal)),
            status=refusal.status,
            content_type="application/json",
        )
    else:
        response = _page(request, refusal)
    response.headers.update(_headers(refusal))
    if not request.can_read_body or request.content.is_eof():
        return response
    response.force_close()  # the rest of a body that nobody reads
    return response


def _headers(refusal: Refusal) -> dict[str, str]:
    if refusal.status == 401 and not isinstance(refusal, LoginNeeded):
        return {"WWW-Authenticate": 'Bearer realm="mschedule"'}
    if refusal.status == 503:
        return {"Retry-After": str(RETRY_AFTER_S)}
    if isinstance(refusal, TooManyAttempts):
        return {"Retry-After": str(wait_s(refusal))}
    if isinstance(refusal, MethodNotAllowed):
        return {"Allow": (refusal.details or {})["allow"]}
    if isinstance(refusal, RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{refusal.size}", "Accept-Ranges": "bytes"}
    if isinstance(refusal, RequestTimeout):
        return {"Connection": "close"}
    return {}


def wait_s(refusal: TooManyAttempts) -> int:
    """After how many seconds another attempt is looked at, rounded up."""
    left_s = (refusal.details or {}).get("retry_after_s", 1)
    return max(1, math.ceil(left_s)) if isinstance(left_s, int | float) else 1


def _page(request: web.Request, refusal: Refusal) -> web.Response:
    away = refusal.status == 503
    return render(
        "error.html",
        status=refusal.status,
        caller=request.app[DOOR].known_caller(request),
        in_the_open=seen(request).in_the_open,
        title=_TITLES.get(refusal.status, "Something broke"),
        message=refusal.message,
        away=away,
        refresh_s=PAGE_RETRY_S if away and request.method == "GET" else None,
    )
