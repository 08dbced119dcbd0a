"""What does a handler find in its application? The master, and who is calling."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from aiohttp import web
from msgspec import Struct

from wire.requests import Auth
from wire.views import WhoAmI

T = TypeVar("T")

ROLES = ("viewer", "operator", "admin")  # the higher may all that the lower may


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
    grants nothing. `form_token` is what forms of this caller must carry; "" for a program.
    """

    auth: Auth
    who: WhoAmI
    form_token: str = ""

    @property
    def name(self) -> str:
        return self.who.name

    @property
    def role(self) -> str:
        return self.who.role

    @property
    def hosts(self) -> str | None:
        """The expression that an operator is limited to; None: no limit."""
        return self.who.hosts

    def at_least(self, role: str) -> bool:
        """For what is shown; the master judges what is done."""
        return self.role in ROLES and ROLES.index(self.role) >= ROLES.index(role)

    def may(self, said: bool | None) -> bool:
        """Is it offered? `said`: what the master says with the thing; None: it is an older master,
        which says nothing, and the role decides."""
        return self.at_least("operator") if said is None else said

    @property
    def may_save(self) -> bool:
        """Scripts and groups, which others use on their hosts: for whom no limit holds."""
        return self.at_least("operator") and self.hosts is None


NOBODY = WhoAmI("", "", kind="nobody")

MASTER: web.AppKey[Master] = web.AppKey("master")
