"""Who is calling? A token or a session, judged by the master before a body is looked at.

The web keeps neither: a browser's cookie holds the secret of its session at the master.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from webserver.context import Caller, Master
from webserver.cookies import SESSION, read_cookie
from webserver.proxies import seen
from webserver.refusals import LoginNeeded
from webserver.seals import fits, seal_of
from wire.errors import Forbidden, Unauthenticated, Unavailable
from wire.requests import Auth, JustAuth
from wire.views import WhoAmI

FORM_TOKEN_HEADER = "X-CSRF-Token"
FORM_TOKEN_FIELD = "csrf"

BELIEVED_S = 2.0  # how long a confirmed secret needs no question; each call is judged again anyway
MOST_KNOWN = 10_000

SAFE = frozenset({"GET", "HEAD"})

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")  # RFC 6750, with room


class Door:
    """Finds the caller of a request. Grants nothing by itself: the master has confirmed it."""

    def __init__(
        self,
        master: Master,
        now: Callable[[], float] = time.monotonic,
        most_known: int = MOST_KNOWN,
    ):
        self._master = master
        self._now = now
        self._most_known = most_known
        # By hash of the secret, the one asked about longest ago first.
        self._known: OrderedDict[bytes, tuple[float, WhoAmI]] = OrderedDict()

    async def api_caller(self, request: web.Request) -> Caller:
        """By bearer token; or by the session of our own pages, which then must prove to be ours."""
        header = request.headers.get("Authorization")
        if header is not None:
            return await self.confirm(_bearer(header), request)
        secret = session_secret(request)
        if secret is None:
            raise Unauthenticated("send a token: Authorization: Bearer …")
        if request.method not in SAFE:
            check_form_token(secret, request.headers.get(FORM_TOKEN_HEADER, ""))
        return await self.confirm(secret, request)

    async def page_caller(self, request: web.Request) -> Caller:
        """By session; LoginNeeded without one.

        While the master is away it is who it was: what the page then asks is judged anyway,
        and a form keeps its input.
        """
        secret = session_secret(request)
        if secret is None:
            raise LoginNeeded(login_url(request))
        try:
            return await self.confirm(secret, request)
        except Unavailable:
            caller = self.known_caller(request)
            if caller is None:
                raise
            return caller

    def known_caller(self, request: web.Request) -> Caller | None:
        """Whose session it was when the master was last asked; None: never, or it has ended."""
        secret = session_secret(request)
        _, who = self._known.get(_digest(secret or ""), (0.0, None))
        return _caller(secret, who, request) if secret and who else None

    async def confirm(self, secret: str, request: web.Request) -> Caller:
        """The caller whom the master knows by this secret, asked a moment ago at most."""
        digest = _digest(secret)
        asked_at, who = self._known.get(digest, (float("-inf"), None))
        if who is None or self._now() - asked_at > BELIEVED_S:
            who = await self._ask(secret, digest, request)
        return _caller(secret, who, request)

    async def _ask(self, secret: str, digest: bytes, request: web.Request) -> WhoAmI:
        asked_at = self._now()
        ask = JustAuth(Auth(secret, seen(request).address))
        try:
            who = await self._master.call("whoami", ask, WhoAmI)
        except Unauthenticated:
            self._known.pop(digest, None)
            raise
        self._known[digest] = (asked_at, who)
        self._known.move_to_end(digest)
        if len(self._known) > self._most_known:
            self._known.popitem(last=False)
        return who

    def forget(self, secret: str) -> None:
        """Something about whose it is has changed: the next request asks."""
        self._known.pop(_digest(secret), None)


DOOR: web.AppKey[Door] = web.AppKey("door")


def _caller(secret: str, who: WhoAmI, request: web.Request) -> Caller:
    form_token = seal_of(secret) if session_secret(request) == secret else ""
    return Caller(Auth(secret, seen(request).address), who, form_token)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def session_secret(request: web.Request) -> str | None:
    """The secret of the browser's session; None without one, and for nonsense."""
    cookie = read_cookie(request, SESSION)
    return cookie if looks_like_token(cookie) else None


def check_form_token(cookie: str, form_token: str) -> None:
    if not fits(cookie, form_token):
        raise Forbidden("this form is not of this session; go back, reload the page, send again")


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not looks_like_token(token):
        raise Unauthenticated("the Authorization header takes: Bearer, a space, an API token")
    return token


def looks_like_token(text: str) -> bool:
    """A look at the form, so that nonsense costs the master no question."""
    return _TOKEN.fullmatch(text) is not None


def check_origin(request: web.Request) -> None:
    """Refuse what another site's page makes a browser send; non-browsers send no Origin.

    The scheme is only compared where it is known: in front of us there may be a server that
    speaks TLS and is not named as a proxy.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("this request comes from another site")
    origin = request.headers.get("Origin")
    if origin is None:
        return
    scheme, _, host = origin.lower().partition("://")
    here = seen(request)
    if host != here.host.lower() or (here.secure and scheme != "https"):
        raise Forbidden("this request comes from another site")


def login_url(request: web.Request) -> str:
    """The login, and from there back to the page that was asked for."""
    if request.method not in SAFE or request.rel_url.raw_path == "/":
        return "/login"
    return "/login?next=" + quote(request.rel_url.raw_path_qs, safe="")


def way_back(path: str) -> str:
    """Where to go after the login: a path of this site and nothing else."""
    local = path.startswith("/") and not path.startswith("//")
    if not local or "\\" in path or not path.isascii() or not path.isprintable():
        return "/"
    return path
