"""Which values of a text of JSON are secrets? They are taken out before it is shown again.

The text may be wrong anywhere, and is shown for being wrong: so it is read token by token, and
what stands in a doubtful place is taken out rather than left.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field

SECRET = "secret"
SECRETS = frozenset({"secrets", "secret_files"})
PARAMETERS = "parameters"  # of a saved script: some may be secrets
OPEN = "open"  # one of which it is known that it is none

EMPTY = '""'
MOST_TOKENS = 100_000  # some tenths of a second; a plan has far fewer

_OTHERS = r""" | (?P<sign>[{}\[\]:,]) | (?P<word>[^\s{}\[\]:,"']+) """
# A text that is not closed ends with its line; or texts go on over lines, as a pasted key does.
_BY_LINE = re.compile(
    r"""(?P<text> "[^"\\\n]*(?:\\.[^"\\\n]*)*"? | '[^'\\\n]*(?:\\.[^'\\\n]*)*'? )""" + _OTHERS,
    re.VERBOSE,
)
_OVER_LINES = re.compile(
    r"""(?P<text> "[^"\\]*(?:\\.[^"\\]*)*"? | '[^'\\]*(?:\\.[^'\\]*)*'? )""" + _OTHERS,
    re.VERBOSE | re.DOTALL,
)


@dataclass
class Blanked:
    """`names_secrets`: there is a place for one, filled or not. `took_out`: one was filled."""

    text: str
    names_secrets: bool = False
    took_out: bool = False


def blanked(text: str, open_parameters: Collection[str] = ()) -> Blanked:
    """The text with "" for every secret. A parameter is one unless it is known to be open."""
    reader = _Reader(frozenset(open_parameters))
    tokens = list(zip(range(MOST_TOKENS + 1), _pattern_of(text).finditer(text), strict=False))
    if len(tokens) > MOST_TOKENS:
        return Blanked("", names_secrets=True, took_out=True)
    found, pieces, end = Blanked(text), [], 0
    for place, token in tokens:
        following = tokens[place + 1][1][0] if place + 1 < len(tokens) else ""
        if reader.is_secret(token, following):
            found.names_secrets = True
            found.took_out = found.took_out or token[0] != EMPTY
            pieces += [text[end : token.start()], EMPTY]
            end = token.end()
    found.text = "".join([*pieces, text[end:]])
    return found


def _pattern_of(text: str) -> re.Pattern[str]:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return _BY_LINE
    return _OVER_LINES  # it is JSON, or would be but for line ends within texts


@dataclass
class _Reader:
    """What is known at a token: in which objects and lists it stands, and after which key."""

    open_parameters: frozenset[str]
    within: list[str] = field(default_factory=list)  # of each: SECRET, PARAMETERS, OPEN or ""
    comes: str = ""  # of which of these the next value is
    before: str = ""  # the token before

    def is_secret(self, token: re.Match[str], following: str) -> bool:
        before, self.before = self.before, token[0]
        if token["sign"]:
            self._sign(token[0])
            return False
        if self._is_key(token, before, following):
            self.comes = self._kind_of(_said(token))
            return False
        if self._place == PARAMETERS:
            return self.comes != OPEN
        return SECRET in (self._place, self.comes) or self.comes == PARAMETERS

    @property
    def _place(self) -> str:
        return self.within[-1] if self.within else ""

    def _sign(self, sign: str) -> None:
        if sign in "{[":
            self.within.append(SECRET if self._place == SECRET else self.comes)
        elif sign in "}]" and self.within:
            self.within.pop()
        if sign != ":":
            self.comes = ""

    def _is_key(self, token: re.Match[str], before: str, following: str) -> bool:
        """Where secrets stand, only what looks like a key in every respect; elsewhere also one
        whose colon was forgotten."""
        if self._place in (SECRET, PARAMETERS):
            return before in ("{", ",") and following == ":" and token["text"] is not None
        return following == ":" or (following in ("{", "[") and bool(self._kind_of(_said(token))))

    def _kind_of(self, key: str) -> str:
        if self._place == PARAMETERS:
            return OPEN if key in self.open_parameters else SECRET
        if self._place == SECRET or key.lower() in SECRETS:
            return SECRET
        return PARAMETERS if key.lower() == PARAMETERS else ""


def _said(token: re.Match[str]) -> str:
    try:
        return str(json.loads(token[0], strict=False))
    except ValueError:
        return token[0].strip("\"'")
