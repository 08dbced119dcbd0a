"""What do web and master say about how hosts come, and how they are sent away?

A join token is the secret in a join string. Whoever has it may enrol hosts, or re-key one.
"""

from msgspec import Struct

from wire.requests import Auth

AT_ONCE, BY_HAND = "at once", "by hand"


class AddJoinToken(Struct):
    """add_join_token. `accept` "by hand": its hosts wait until an admin accepts them."""

    auth: Auth
    name: str
    labels: dict[str, str] = {}  # that its hosts get
    uses: int | None = None  # how many hosts; None: any number
    expires_in: float = 86400.0  # seconds
    accept: str = AT_ONCE


class RevokeAgent(Struct):
    """revoke_agent: its key is worth nothing from now on. `reason` is shown with the host."""

    auth: Auth
    id: str
    reason: str = ""


class AcceptHostname(Struct):
    """accept_hostname: refused with Conflict if the host calls itself something else by now."""

    auth: Auth
    id: str
    hostname: str


class JoinTokenView(Struct):
    """A join token without its secret. `state`: good, expired or used up."""

    id: str
    name: str
    role: str  # agent, or web for a web server
    state: str
    labels: dict[str, str]
    accept: str
    agent: str | None  # the one host that it gives a new key
    used: int  # how often
    uses_left: int | None  # None: any number
    created_at: str
    created_by: str
    expires_at: str | None  # None: never, of tokens older than expiry


class NewJoin(Struct):
    """The only time that the join string is seen."""

    token: JoinTokenView
    join: str


class JoinTokensView(Struct):
    """Newest first."""

    items: list[JoinTokenView]
