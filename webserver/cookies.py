"""What does a browser keep for us? Two cookies, for this site alone, out of reach of scripts.

Over TLS their names begin with __Host-: then the browser itself sees to it that no other host
of the domain, and nobody on the way of an unencrypted request, can plant one of them.
"""

from aiohttp import web

from webserver.proxies import seen

SESSION = "mschedule_session"
VISITOR = "mschedule_visitor"  # of somebody not logged in; seals the forms of the doors

LONGEST = 512


def read_cookie(request: web.Request, name: str) -> str:
    """Its value, "" without one; what is too long for one of ours is none."""
    value = request.cookies.get(_named(request, name), "")
    return value if len(value) <= LONGEST else ""


def keep_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
    """Until the browser is closed, and never sent along with what another site asks for."""
    response.set_cookie(
        _named(request, name),
        value,
        httponly=True,
        samesite="Strict",
        secure=seen(request).secure,
        path="/",
    )


def drop_cookie(request: web.Request, response: web.StreamResponse, name: str) -> None:
    response.del_cookie(
        _named(request, name),
        httponly=True,
        samesite="Strict",
        secure=seen(request).secure,
        path="/",
    )


def _named(request: web.Request, name: str) -> str:
    return f"__Host-{name}" if seen(request).secure else name
