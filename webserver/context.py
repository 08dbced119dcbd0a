"""What does a handler find in its application? The master, the sessions, and who is calling."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from aiohttp import web
from msgspec import Struct

from wire.requests import Auth

T = TypeVar("T")


class Master(Protocol):
    """The master as the web sees it: the bridge, or a fake in tests."""

    @property
    def away(self) -> bool:
        """True when the last word from the master is missing; known without asking it."""

    async def call(
        self, method: str, payload: Struct, reply_type: type[T], timeout_s: float | None = None
    ) -> T:
        """The answer, or a Refusal: Unavailable when none came within the time limit."""


@dataclass(frozen=True)
class Caller:
    """Who makes a request, as the master confirmed it a moment ago.

    `auth` goes with every call to the master, which judges it again: the web itself
    grants nothing. `form_token` is what forms of this caller must carry.
    """

    auth: Auth
    name: str
    role: str
    form_token: str = ""


MASTER: web.AppKey[Master] = web.AppKey("master")
