"""Which names, passwords and roles are taken? Checked before anything is hashed or stored."""

import re

from master.rights import OPERATOR, ROLES
from wire.errors import InvalidValue
from wire.people import MAX_PASSWORD, MIN_PASSWORD

MAX_TOKEN_NAME = 100
MAX_EXPIRY_S = 100 * 365 * 86400.0

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,63}")


def name_key(name: str) -> str:
    """Names are unique without regard to case."""
    return name.lower()


def looks_like_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    if not looks_like_name(name):
        raise InvalidValue(
            f"name is {name[:80]!r}; it takes 1 to 63 of A-Z a-z 0-9 . _ @ -", field="name"
        )


def check_password(password: str, name: str, field: str = "password") -> None:
    """The value itself is never repeated."""
    length = len(password)
    if not MIN_PASSWORD <= length <= MAX_PASSWORD:
        raise InvalidValue(
            f"{field} has {length} characters; it takes {MIN_PASSWORD} to {MAX_PASSWORD}",
            field=field,
        )
    if name_key(password) == name_key(name):
        raise InvalidValue(f"{field} is the name; take another", field=field)


def check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidValue(f"role is {role!r}; it is one of {', '.join(ROLES)}", field="role")


def check_limited(role: str, hosts: str | None) -> None:
    """A limit that would limit nothing is refused: somebody would rely on it."""
    if hosts is not None and role != OPERATOR:
        raise InvalidValue(
            f"hosts is {hosts!r}, but only an operator can be limited to hosts; leave it empty",
            field="hosts",
        )


def check_token_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_TOKEN_NAME or not name.isprintable() or name != name.strip():
        raise InvalidValue(
            f"name is {name[:120]!r}; it takes 1 to {MAX_TOKEN_NAME} printable characters, "
            "none of them white space at its ends",
            field="name",
        )


def check_expiry(expires_in: float | None) -> None:
    if expires_in is not None and not 0 < expires_in <= MAX_EXPIRY_S:
        raise InvalidValue(
            f"expires_in is {expires_in:g}; it takes seconds from now, more than 0 and at most "
            f"{MAX_EXPIRY_S:.0f}, or nothing for a token that does not expire",
            field="expires_in",
        )
