"""Who is logged in with a browser? Sessions in the memory of this process, and the seals of forms.

A session ends with its process: whoever has the token logs in again, and no file holds it.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

IDLE_S = 12 * 3600.0
MOST = 10_000


@dataclass
class Session:
    """`token` never leaves the process but towards the master."""

    id: str
    token: str
    name: str
    role: str
    used_at: float


class Sessions:
    """Random ids to API tokens, the one used longest ago first; `now` is a monotonic clock."""

    def __init__(
        self, idle_s: float = IDLE_S, most: int = MOST, now: Callable[[], float] = time.monotonic
    ):
        self._idle_s = idle_s
        self._most = most
        self._now = now
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._seal = secrets.token_bytes(32)

    def open(self, token: str, name: str, role: str) -> Session:
        """A new session under a new id, never one that the browser brought along."""
        self._forget_idle()
        if len(self._sessions) >= self._most:
            self._sessions.popitem(last=False)
        session = Session(secrets.token_urlsafe(32), token, name, role, self._now())
        self._sessions[session.id] = session
        return session

    def find(self, id: str) -> Session | None:
        """The session, marked as used now; None when there is none or it was idle too long."""
        self._forget_idle()
        session = self._sessions.get(id)
        if session is not None:
            session.used_at = self._now()
            self._sessions.move_to_end(id)
        return session

    def close(self, id: str) -> None:
        self._sessions.pop(id, None)

    def form_token(self, cookie: str) -> str:
        """What a form must carry that comes with this cookie; made from it, so nothing is kept."""
        return hmac.new(self._seal, cookie.encode(), hashlib.sha256).hexdigest()

    def fits(self, cookie: str, form_token: str) -> bool:
        expected = self.form_token(cookie).encode()
        return hmac.compare_digest(expected, form_token.encode("utf-8", "replace"))

    def _forget_idle(self) -> None:
        horizon = self._now() - self._idle_s
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if oldest.used_at >= horizon:
                return
            del self._sessions[oldest.id]
