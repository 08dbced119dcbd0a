"""What did the caller send? Bodies and query strings: bounded, strict, refused by name."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from webserver.blanked import SECRETS, blanked
from webserver.refusals import RequestTimeout
from wire.errors import InvalidValue, Malformed, NotFound, TooLarge

T = TypeVar("T")

MAX_BODY_BYTES = 4 << 20
BODY_TIME_S = 60.0
STREAM_IDLE_S = 30.0  # of a body that is taken piece by piece: without any byte of it
STREAM_TIME_S = 3600.0
MAX_FORM_FIELDS = 20_000
LARGEST_INTEGER = 2**53  # beyond it JSON numbers lose digits in most languages

IDENTIFIER = r"[0-9A-Za-z_.-]{1,128}"

_IDENTIFIER = re.compile(IDENTIFIER)
_CUT_OFF = "the body is cut off, or not encoded as its headers say"
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_PLACE = re.compile(r" - at `(\$[^`]*)`$|$")
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")


async def read_body(request: web.Request) -> bytes:
    """The whole body; TooLarge as soon as it is known to be over the limit.

    Only here is a client that waits for it (Expect: 100-continue) told to go on: after
    it has proved who it is.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        _too_large()
    await _let_go_on(request)
    try:
        async with asyncio.timeout(BODY_TIME_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        _too_large()
    except web.RequestPayloadError as error:
        raise Malformed(_CUT_OFF) from error
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {BODY_TIME_S:.0f} s") from None


async def body_pieces(request: web.Request) -> AsyncIterator[bytes]:
    """A body of whatever size, as it arrives; what is not asked for is not read.

    The time in which the caller works on a piece does not count as the client's silence, but
    all of it counts for the time that the whole may take.
    """
    await _let_go_on(request)
    now = asyncio.get_running_loop().time
    end_at = now() + STREAM_TIME_S
    while True:
        try:
            async with asyncio.timeout(min(STREAM_IDLE_S, max(0.0, end_at - now()))):
                piece = await request.content.readany()
        except web.RequestPayloadError as error:
            raise Malformed(_CUT_OFF) from error
        except TimeoutError:
            raise RequestTimeout(
                f"of the body nothing came for {STREAM_IDLE_S:.0f} s, "
                f"or all of it took longer than {STREAM_TIME_S / 60:.0f} min"
            ) from None
        if not piece:
            return
        yield piece


async def _let_go_on(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def later_continue(request: web.Request) -> None:
    """aiohttp's expect handler for all routes: `read_body` answers instead."""


def _too_large() -> NoReturn:
    raise TooLarge(f"the body has more than {MAX_BODY_BYTES} bytes, the most that is taken")


async def refuse_body(request: web.Request) -> None:
    """For a POST that takes nothing; an empty JSON object is let pass for eager clients."""
    if request.can_read_body and (await read_body(request)).strip() not in (b"", b"{}"):
        raise Malformed("this takes no body")


# ---- JSON


def parse_json(body: bytes, kind: type[T]) -> T:
    """`body` as a `kind`, or Malformed, with the field where there is one to blame.

    Parsed twice: the standard library sees keys that are given twice and NaN, msgspec
    sees types. A mistake that one lets pass must not reach the master as a guess.
    """
    loaded = _load(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), loaded) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("the body is not JSON: it holds text that is not Unicode") from error


def _load(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_NotANumber,
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8: byte {error.start} cannot be read") from error
    except json.JSONDecodeError as error:
        raise Malformed(
            f"the body is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise Malformed("the body is nested too deeply") from error


class _NotANumber(str):
    """NaN or Infinity, which JavaScript knows and JSON does not."""


class _OutOfRange(str):
    """A number that no computer number holds, such as 1e999."""


def _finite(text: str) -> float | _OutOfRange:
    number = float(text)
    return number if math.isfinite(number) else _OutOfRange(text)


def _integer(text: str) -> int | _OutOfRange:
    if len(text) > 20 or abs(int(text)) > LARGEST_INTEGER:
        return _OutOfRange(text)
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Malformed(f"{_shown(key)} is given twice", field=key)
        _check_numbers(key, value)
        found[key] = value
    return found


def _check_numbers(key: str, value: Any) -> None:
    """Also those in lists, and lists of lists: the master could not even be told of them."""
    if isinstance(value, list):
        for one in value:
            _check_numbers(key, one)
    if isinstance(value, _NotANumber):
        raise Malformed(f"{key} is {value}, which is not JSON; give a number", field=key)
    if isinstance(value, _OutOfRange):
        raise InvalidValue(f"{key} is too large a number", field=key)


def _misfit(message: str, loaded: Any) -> Malformed:
    """msgspec's sentence, in words that name the field, its value and what would be right."""
    if unknown := _UNKNOWN.search(message):
        return Malformed(f"there is no field {_shown(unknown[1])}", field=unknown[1])
    if missing := _MISSING.search(message):
        return Malformed(f"{missing[1]} is missing", field=missing[1])
    place = _PLACE.search(message)
    path = (place[1] if place else None) or "$"
    expected = _EXPECTED.search(message)
    right = _noun(expected[1]) if expected else message
    if path == "$":
        return Malformed(f"the body is {_noun(expected[2] if expected else '?')}; it takes {right}")
    field = re.split(r"[.\[]", path.removeprefix("$."))[0]
    where = path.removeprefix("$.").replace("[...]", "")
    if field in SECRETS:
        return Malformed(f"{where} takes {right}", field=field)
    value = loaded.get(field) if isinstance(loaded, dict) else None
    given = blanked(json.dumps(value, ensure_ascii=False)).text
    return Malformed(f"{where} takes {right}, and {field} is {_short(given)}", field=field)


_NOUNS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def _noun(kinds: str) -> str:
    return " or ".join(_NOUNS.get(kind, kind) for kind in kinds.split(" | "))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"


def _shown(text: str) -> str:
    return repr(_short(text))


# ---- form fields, paths and query strings


async def read_form(request: web.Request) -> dict[str, list[str]]:
    """The fields of an HTML form. Line ends are those of a script, not those of HTTP."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Malformed("a form is sent as application/x-www-form-urlencoded")
    body = await read_body(request)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:
        raise Malformed(
            "the form cannot be read: it is not UTF-8, or has too many fields"
        ) from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return fields


def identifier(request: web.Request, name: str) -> str:
    """An id from the path; what cannot be one is simply not found."""
    value = request.match_info[name]
    if not _IDENTIFIER.fullmatch(value):
        raise NotFound(f"there is no {name} {_shown(value)}")
    return value


def query(request: web.Request, *known: str) -> dict[str, str]:
    """The query string, each name at most once and none that would be ignored silently."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            takes = "it takes " + ", ".join(known) if known else "it takes none"
            raise Malformed(f"there is no parameter {_shown(name)} here; {takes}", field=name)
        if name in found:
            raise Malformed(f"{name} is given twice", field=name)
        found[name] = value
    return found


def one_of(given: dict[str, str], name: str, allowed: Sequence[str]) -> str | None:
    value = given.get(name)
    if value is not None and value not in allowed:
        raise InvalidValue(
            f"{name} is {_shown(value)}; it takes one of {', '.join(allowed)}", field=name
        )
    return value
