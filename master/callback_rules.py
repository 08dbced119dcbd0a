"""Is a callback sound? Each value is judged here, with a sentence that says what would be right.

Whether its address may be reached is judged where it is reached, see postman/addresses.py: a
name may mean another address tomorrow.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from wire.callbacks import CHOSEN, EVENTS, KINDS, TASKS, CallbackWish
from wire.errors import InvalidValue

MAX_URL_CHARACTERS = 2000
MAX_SECRET_CHARACTERS = 1000
MAX_CHOICES = 100  # names, or schedules
MAX_CHOICE_CHARACTERS = 200
MAX_RECIPIENTS = 50
BEGINNING = "whsec_"  # of a secret, in the specification
SECRET_BYTES = range(24, 65)  # as the specification has it
SIGNED = "json"
MAIL = "email"
WITH_SECRET = (SIGNED, "dingtalk", "feishu", MAIL)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_MAILBOX = re.compile(r"[!-~]+@[A-Za-z0-9.-]+")


def check(wish: CallbackWish) -> None:
    """Raises InvalidValue. The secret of a JSON callback is there by now, see `new_secret`."""
    if not _NAME.fullmatch(wish.name):
        raise _wrong("name", wish.name, "1 to 63 of A-Z a-z 0-9 . _ -")
    if wish.kind not in KINDS:
        raise _wrong("kind", wish.kind, f"one of {', '.join(KINDS)}")
    _check_url(wish)
    _check_secret(wish)
    _check_choice(wish)
    _check_mail(wish)


def check_names(field: str, names: Iterable[str]) -> None:
    """Of callbacks, as a task names them."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise _wrong(field, name, "names of callbacks")


def new_secret(chance: bytes) -> str:
    return BEGINNING + base64.b64encode(chance).decode()


def address_of(url: str) -> str:
    """Of a URL what may be shown: the keys of many receivers stand in the path."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port is not None else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    hidden = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{host}{port}{hidden}"


def _check_url(wish: CallbackWish) -> None:
    schemes = ("smtp", "smtps") if wish.kind == MAIL else ("https", "http")
    example = "smtp://mail.example.org:587" if wish.kind == MAIL else "https://example.org/hook"
    right = InvalidValue(f"url: it takes a URL such as {example}", field="url")
    if not 0 < len(wish.url) <= MAX_URL_CHARACTERS or not re.fullmatch(r"[!-~]+", wish.url):
        raise right
    parts = _parts(wish.url)
    if parts is None or parts.scheme not in schemes or not parts.hostname or parts.fragment:
        raise right
    if wish.kind == MAIL and (parts.path.strip("/") or parts.query or parts.username is not None):
        raise InvalidValue("url: of a mail server it takes host and port alone", field="url")


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is none
    except ValueError:
        return None
    return parts


def _check_secret(wish: CallbackWish) -> None:
    """Its value is never repeated."""
    if wish.secret and wish.kind not in WITH_SECRET:
        raise InvalidValue(
            f"secret: {wish.kind} has none, its URL is the secret; leave it empty", field="secret"
        )
    if len(wish.secret) > MAX_SECRET_CHARACTERS or not wish.secret.isprintable():
        raise InvalidValue(
            f"secret: it takes at most {MAX_SECRET_CHARACTERS} printable characters", field="secret"
        )
    if wish.kind == SIGNED and not _is_signing_secret(wish.secret):
        raise InvalidValue(
            f"secret: it takes {BEGINNING} and base64 of {SECRET_BYTES.start} to "
            f"{SECRET_BYTES.stop - 1} bytes, or nothing for a new one",
            field="secret",
        )
    if wish.kind == MAIL and bool(wish.secret) != bool(wish.username):
        raise InvalidValue("username and secret: give both of them or neither", field="username")


def _is_signing_secret(secret: str) -> bool:
    if not secret.startswith(BEGINNING):
        return False
    try:
        key = base64.b64decode(secret.removeprefix(BEGINNING), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(key) in SECRET_BYTES


def _check_choice(wish: CallbackWish) -> None:
    if not wish.events:
        raise InvalidValue("events: choose at least one", field="events")
    for event in wish.events:
        if event not in EVENTS:
            raise _wrong("events", event, f"some of {', '.join(EVENTS)}")
    if wish.tasks not in TASKS:
        raise _wrong("tasks", wish.tasks, f"one of {', '.join(TASKS)}")
    if wish.tasks == CHOSEN and not wish.names and not wish.schedules:
        raise InvalidValue("tasks: chosen, but neither by names nor by schedules", field="tasks")
    for field, values in (("names", wish.names), ("schedules", wish.schedules)):
        if values and wish.tasks != CHOSEN:
            raise InvalidValue(f"{field}: they count only where tasks is {CHOSEN}", field=field)
        _check_texts(field, values)


def _check_texts(field: str, values: list[str]) -> None:
    if len(values) > MAX_CHOICES:
        raise InvalidValue(f"{field}: {len(values)} are given; at most {MAX_CHOICES}", field=field)
    for value in values:
        if not 0 < len(value) <= MAX_CHOICE_CHARACTERS or not value.isprintable():
            raise _wrong(field, value, f"1 to {MAX_CHOICE_CHARACTERS} printable characters each")


def _check_mail(wish: CallbackWish) -> None:
    if wish.kind != MAIL:
        for field in ("username", "sender", "recipients"):
            if getattr(wish, field):
                raise InvalidValue(f"{field}: only a callback by email has that", field=field)
        return
    _check_texts("username", [wish.username] if wish.username else [])
    _check_mailbox("sender", wish.sender)
    if not 1 <= len(wish.recipients) <= MAX_RECIPIENTS:
        raise InvalidValue(f"recipients: give 1 to {MAX_RECIPIENTS} of them", field="recipients")
    for recipient in wish.recipients:
        _check_mailbox("recipients", recipient)


def _check_mailbox(field: str, value: str) -> None:
    if (
        len(value) > MAX_CHOICE_CHARACTERS
        or not _MAILBOX.fullmatch(value)
        or set(value) & {*",;<>"}
    ):
        raise _wrong(field, value, "an address such as ops@example.org")


def _wrong(field: str, value: str, right: str) -> InvalidValue:
    shown = repr(value if len(value) <= 60 else value[:60] + "…")
    return InvalidValue(f"{field} is {shown}; it takes {right}", field=field)
