"""Who is calling? Tokens and sessions, judged by the master before a body is looked at."""

import hashlib
import re
import time
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from webserver.context import Caller, Master
from webserver.cookies import SESSION, read_cookie
from webserver.proxies import seen
from webserver.refusals import LoginNeeded
from webserver.sessions import Session, Sessions
from wire.errors import Forbidden, Unauthenticated
from wire.requests import Auth, JustAuth
from wire.views import WhoAmI

FORM_TOKEN_HEADER = "X-CSRF-Token"
FORM_TOKEN_FIELD = "csrf"

BELIEVED_S = 2.0  # how long a confirmed token needs no question; each call is judged again anyway
MOST_BELIEVED = 10_000

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")  # RFC 6750, with room
SAFE = frozenset({"GET", "HEAD"})


class Door:
    """Finds the caller of a request. Grants nothing by itself: the master has confirmed it."""

    def __init__(
        self, master: Master, sessions: Sessions, now: Callable[[], float] = time.monotonic
    ):
        self.sessions = sessions
        self._master = master
        self._now = now
        self._believed: dict[bytes, tuple[float, WhoAmI]] = {}

    async def api_caller(self, request: web.Request) -> Caller:
        """By bearer token; or by the session of our own pages, which then must prove to be ours."""
        header = request.headers.get("Authorization")
        if header is not None:
            return await self.confirm(_bearer(header), request)
        session = self.session(request)
        if session is None:
            raise Unauthenticated("send a token: Authorization: Bearer …")
        if request.method not in SAFE:
            self.check_form_token(session.id, request.headers.get(FORM_TOKEN_HEADER, ""))
        return await self.confirm(session.token, request)

    def page_caller(self, request: web.Request) -> Caller:
        """By session, as the master confirmed it at the login; LoginNeeded without one.

        What a page then asks is judged anew. So a form keeps its input while the master is away.
        """
        session = self.session(request)
        if session is None:
            raise LoginNeeded(login_url(request))
        auth = Auth(session.token, seen(request).address)
        return Caller(auth, session.name, session.role, self.sessions.form_token(session.id))

    def end_session(self, request: web.Request) -> None:
        self.sessions.close(read_cookie(request, SESSION))

    async def confirm(self, token: str, request: web.Request) -> Caller:
        """The caller whom the master knows by this token, asked a moment ago at most."""
        auth = Auth(token, seen(request).address)
        who = await self._who(auth, token)
        return Caller(auth, who.name, who.role)

    async def _who(self, auth: Auth, token: str) -> WhoAmI:
        digest = hashlib.sha256(token.encode()).digest()
        asked_at, who = self._believed.get(digest, (float("-inf"), None))
        if who is None or self._now() - asked_at > BELIEVED_S:
            self._believed.pop(digest, None)
            asked_at = self._now()
            who = await self._master.call("whoami", JustAuth(auth), WhoAmI)
            if len(self._believed) >= MOST_BELIEVED:
                self._believed.clear()
            self._believed[digest] = (asked_at, who)
        return who

    def session(self, request: web.Request) -> Session | None:
        cookie = read_cookie(request, SESSION)
        return self.sessions.find(cookie) if cookie else None

    def check_form_token(self, cookie: str, form_token: str) -> None:
        if not self.sessions.fits(cookie, form_token):
            raise Forbidden(
                "this form is not of this session; go back, reload the page, send again"
            )


DOOR: web.AppKey[Door] = web.AppKey("door")


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
