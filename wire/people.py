"""What do web and master say about people, their sessions and their tokens?

`auth` of a call carries one credential: the secret of a session (`mss_…`) or of an API
token (`mst_…`). Secrets are answered once, when they are made, and never again.
"""

from msgspec import Struct

from wire.requests import Auth
from wire.views import WhoAmI

SESSION_PREFIX = "mss_"
TOKEN_PREFIX = "mst_"  # so that scanners find a token that leaked

MIN_PASSWORD = 10  # characters
MAX_PASSWORD = 1024

# ---- requests that need no credential: `auth` says where the person sits


class GetDoors(Struct):
    """get_doors: what the log-in page must know."""

    auth: Auth


class LogIn(Struct):
    """log_in. `auth.token`: the session that this browser has had, which ends; None: it had none.

    Refused with Unauthenticated (one sentence, whatever was wrong), TooManyAttempts or Busy.
    """

    auth: Auth
    name: str
    password: str


class SetUp(Struct):
    """set_up: a one-time code makes an admin, or gives one who is known a new password.

    Answered as log_in is. A code that does not fit is Unauthenticated.
    """

    auth: Auth
    code: str
    name: str
    password: str


# ---- requests of people


class ListPeople(Struct):
    """get_people, for admins: a page of PersonView, by name."""

    auth: Auth
    limit: int = 100
    cursor: str | None = None


class AddPerson(Struct):
    """add_person, for admins. `name` is unique without regard to case.

    `hosts`: the expression an operator is limited to; None: no limit.
    """

    auth: Auth
    name: str
    role: str  # viewer, operator, admin
    password: str
    hosts: str | None = None


class ChangePerson(Struct):
    """change_person, for admins. What is None stays as it is; an empty `hosts` lifts the limit.

    Whoever is disabled or gets another password has no session any more.
    """

    auth: Auth
    id: str
    role: str | None = None
    hosts: str | None = None
    disabled: bool | None = None
    password: str | None = None


class ChangePassword(Struct):
    """change_password: one's own, from a session; all other sessions of the person end."""

    auth: Auth
    old: str
    new: str


class LogOutEverywhere(Struct):
    """log_out_everywhere: all sessions of a person end. `person` None: one's own; else, for
    admins, an id."""

    auth: Auth
    person: str | None = None


class ListTokens(Struct):
    """get_tokens: a page of TokenView, the newest first. `all`: for admins, of everybody."""

    auth: Auth
    all: bool = False
    limit: int = 100
    cursor: str | None = None


class AddToken(Struct):
    """add_token: `role` is no higher than one's own. Needs a session, or a token of an admin."""

    auth: Auth
    name: str
    role: str
    expires_in: float | None = None  # seconds from now; None: never


# ---- answers


class Doors(Struct):
    """`setup`: a one-time code can be used now."""

    setup: bool


class NewSession(Struct):
    """`secret` is what the calls of this browser carry from now on."""

    secret: str
    me: WhoAmI


class PersonView(Struct):
    id: str
    name: str
    role: str
    hosts: str | None  # the expression that limits an operator; None: no limit
    disabled: bool
    created_at: str
    last_login: str | None
    sessions: int  # that are open now


class SessionView(Struct):
    """`current`: the one that asks."""

    id: str
    address: str  # from which it was opened
    created_at: str
    last_used: str
    expires_at: str  # at the latest; unused it ends earlier
    current: bool


class TokenView(Struct):
    """`role` as it was given; `acts_as` what it comes to now, None when it lets nobody in.

    `state`: active, expired, revoked, or disabled, with its owner.
    """

    id: str
    name: str
    role: str
    acts_as: str | None
    owner: str | None  # name of the person; None: it belongs to nobody
    created_at: str
    expires_at: str | None
    last_used: str | None
    revoked_at: str | None
    state: str


class NewToken(Struct):
    """The only time that the secret is seen."""

    secret: str
    token: TokenView
