"""Are the secrets of a submission sound? No sentence here quotes a value."""

import re

from master.secrets import Values
from wire.errors import InvalidValue, TooLarge
from wire.requests import Submission

MAX_SECRETS = 64
LEAST_BYTES = 4  # what is shorter could not be hidden in output without blanking half of it
MAX_VALUE_BYTES = 64 << 10
MAX_BYTES = 256 << 10
MAX_LINES = 1000  # each is looked for in the output

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def secrets_of(submission: Submission) -> Values:
    """Raises InvalidValue or TooLarge with the field that is wrong."""
    given = {"secrets": submission.secrets, "secret_files": submission.secret_files}
    for field, named in given.items():
        for name, value in named.items():
            _check_name(field, name, submission)
            _check_value(field, name, value)
    both = sorted(submission.secrets.keys() & submission.secret_files.keys())
    if both:
        raise InvalidValue(
            f"secret_files: {both[0]} is also in secrets; each name is given once",
            field="secret_files",
        )
    _check_all([value for named in given.values() for value in named.values()])
    return Values(submission.secrets, submission.secret_files)


def refuse_secrets(submission: Submission) -> None:
    """For what is written down to be run later, and more than once."""
    for field in ("secrets", "secret_files"):
        if getattr(submission, field):
            raise InvalidValue(f"{field}: they are not taken here", field=field)


def _check_name(field: str, name: str, submission: Submission) -> None:
    if not _NAME.fullmatch(name):
        shown = repr(name if len(name) <= 60 else name[:60] + "…")
        raise InvalidValue(
            f"{field}: {shown} is no name; it takes up to 128 letters, digits and _, "
            "and no digit first",
            field=field,
        )
    if name.startswith("MSCHEDULE_"):
        raise InvalidValue(
            f"{field}: {name} begins with MSCHEDULE_, which is for mschedule itself", field=field
        )
    if name in submission.env:
        raise InvalidValue(f"{field}: {name} is also in env; each name is given once", field=field)


def _check_value(field: str, name: str, value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidValue(
            f"{field}: the value of {name} has a lone surrogate; it takes text", field=field
        ) from None
    if "\0" in value:
        raise InvalidValue(
            f"{field}: the value of {name} has a NUL byte, which no variable can hold", field=field
        )
    if size > MAX_VALUE_BYTES:
        raise TooLarge(
            f"{field}: the value of {name} has {size} bytes; at most {MAX_VALUE_BYTES} are taken",
            field=field,
        )
    if len(value.strip("\r\n").encode()) < LEAST_BYTES:
        raise InvalidValue(
            f"{field}: the value of {name} is shorter than {LEAST_BYTES} bytes, too short to be "
            "hidden in output",
            field=field,
        )


def _check_all(values: list[str]) -> None:
    if len(values) > MAX_SECRETS:
        raise InvalidValue(
            f"secrets: {len(values)} are given; at most {MAX_SECRETS} are taken", field="secrets"
        )
    size = sum(len(value.encode()) for value in values)
    if size > MAX_BYTES:
        raise TooLarge(
            f"secrets: all values have {size} bytes; at most {MAX_BYTES} are taken", field="secrets"
        )
    lines = sum(value.strip("\r\n").count("\n") + 1 for value in values)
    if lines > MAX_LINES:
        raise InvalidValue(
            f"secrets: all values have {lines} lines; at most {MAX_LINES} are taken",
            field="secrets",
        )
