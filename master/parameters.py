"""Are the parameters of a saved script sound, and what do the values given for them come to?

Patterns are written by people and run on the master: they are matched within a time limit.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping

import regex
from msgspec import Struct

from wire.errors import InvalidValue
from wire.scripts import KINDS, Parameter

MAX_PARAMETERS = 50
MAX_VALUE_CHARACTERS = 4096
MAX_PATTERN_CHARACTERS = 500
MAX_CHOICES = 200
MATCHING_S = 0.1

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Given(Struct, frozen=True):
    """What the script has: variables that may be shown, and secrets."""

    env: dict[str, str]
    secrets: dict[str, str]


# ---- when a version is saved


def check_parameters(parameters: Iterable[Parameter]) -> None:
    """Raises InvalidValue, for the field `parameters`."""
    seen: set[str] = set()
    for parameter in parameters:
        name = parameter.name
        if not _NAME.fullmatch(name) or name.startswith("MSCHEDULE_"):
            raise _wrong(
                f"{name[:70]!r} is no name; it takes up to 64 letters, digits and _, no digit "
                "first, and not MSCHEDULE_ in front"
            )
        if name in seen:
            raise _wrong(f"{name} is there twice")
        seen.add(name)
        _check_one(parameter)
    if len(seen) > MAX_PARAMETERS:
        raise _wrong(f"{len(seen)} are given; at most {MAX_PARAMETERS} are taken")


def _check_one(parameter: Parameter) -> None:
    name = parameter.name
    if parameter.kind not in KINDS:
        raise _wrong(f"kind of {name} is {parameter.kind[:60]!r}; it takes {', '.join(KINDS)}")
    if (parameter.kind == "choice") != bool(parameter.choices):
        raise _wrong(f"{name}: choices are for the kind choice, which needs some")
    if len(parameter.choices) > MAX_CHOICES:
        raise _wrong(f"{name} has {len(parameter.choices)} choices; at most {MAX_CHOICES}")
    if parameter.pattern is not None:
        _check_pattern(parameter)
    if parameter.kind == "secret" and parameter.default is not None:
        raise _wrong(f"{name}: a secret has no default; it would be no secret")
    if parameter.default is not None and parameter.kind != "hosts":
        try:
            _value(parameter, parameter.default, _as_it_is)
        except InvalidValue as error:
            said = str(error).removeprefix(f"parameters: {name} ")
            raise _wrong(f"default of {name} {said}") from None


def _check_pattern(parameter: Parameter) -> None:
    if parameter.kind != "text":
        raise _wrong(f"{parameter.name}: a pattern is for the kind text")
    pattern = parameter.pattern or ""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise _wrong(f"{parameter.name}: a pattern has at most {MAX_PATTERN_CHARACTERS} characters")
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise _wrong(f"the pattern of {parameter.name} can't be read: {error}") from None


# ---- when a task is submitted


def given(
    parameters: Iterable[Parameter],
    values: Mapping[str, str],
    hostnames: Callable[[str], str],
) -> Given:
    """The variables that the values come to; raises InvalidValue for the field `parameters`.

    `hostnames`: the names that an expression stands for, with spaces between them.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in values:
        if name not in known:
            takes = ", ".join(known) or "none"
            raise _wrong(f"{name[:70]!r} is none of the script's; it takes {takes}")
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for name, parameter in known.items():
        text = values.get(name, parameter.default)
        if text is None or (text == "" and parameter.kind != "text"):
            if not parameter.optional:
                raise _wrong(f"{name} is missing; the script needs it")
            continue
        if parameter.kind == "secret":
            secrets[name] = text
        else:
            env[name] = _value(parameter, text, hostnames)
    return Given(env, secrets)


def _value(parameter: Parameter, text: str, hostnames: Callable[[str], str]) -> str:
    name = parameter.name
    if len(text) > MAX_VALUE_CHARACTERS:
        raise _wrong(f"{name} has {len(text)} characters; at most {MAX_VALUE_CHARACTERS}")
    if parameter.kind == "number" and not _is_number(text):
        raise _wrong(f"{name} is {text[:60]!r}; it takes a number")
    if parameter.kind == "choice" and text not in parameter.choices:
        raise _wrong(f"{name} is {text[:60]!r}; it takes one of {', '.join(parameter.choices)}")
    if parameter.pattern is not None and not _matches(parameter, text):
        raise _wrong(f"{name} is {text[:60]!r}; it takes what fits {parameter.pattern}")
    if parameter.kind == "hosts":
        try:
            return hostnames(text)
        except InvalidValue as error:
            raise _wrong(f"{name}: {str(error).removeprefix('targets: ')}") from None
    return text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii() and "_" not in text
    except ValueError:
        return False


def _matches(parameter: Parameter, text: str) -> bool:
    try:
        return bool(
            regex.fullmatch(parameter.pattern or "", text, timeout=MATCHING_S, concurrent=True)
        )
    except TimeoutError:
        raise _wrong(
            f"{parameter.name}: its pattern takes too long for this value; ask for a simpler one"
        ) from None


def _as_it_is(text: str) -> str:
    return text


def _wrong(sentence: str) -> InvalidValue:
    return InvalidValue(f"parameters: {sentence}", field="parameters")
