"""Which items stand in a text? A line each, or a JSON value each; pure, fed piece by piece.

An item is text of at most MAX_ITEM_BYTES without NUL. A JSON value that is no text is the compact
text of it, with its numbers and the order of its keys as they were written.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from wire.errors import InvalidValue
from wire.queues import ITEMS_AT_ONCE, ITEMS_BYTES_AT_ONCE, MAX_ITEM_BYTES

MAX_LINE_BYTES = 6 * MAX_ITEM_BYTES + 2  # JSON may write each character in six bytes
_MARK = b"\xef\xbb\xbf"  # what some editors put before UTF-8

Parse = Callable[[bytes], str]


class Lines:
    """The items of a text that comes in pieces: in memory is never more than a piece and a line.

    Empty lines are passed over. Raises InvalidValue with the number of the line that is wrong,
    from 1; what was given out before stands.
    """

    def __init__(self, parse: Parse, where: str = ""):
        """`where`: what the text is, for the sentence about a wrong line, if not plain."""
        self._parse = parse
        self._where = where
        self._rest = b""
        self._number = 0

    def feed(self, piece: bytes) -> Iterator[str]:
        """The items of the lines that end in this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield from self._item(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._number += 1
            raise self._wrong(_too_long())

    def end(self) -> Iterator[str]:
        """The item of a last line without an end."""
        rest, self._rest = self._rest, b""
        yield from self._item(rest)

    def _item(self, line: bytes) -> Iterator[str]:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_MARK)
        line = line.removesuffix(b"\r")
        if not line or line.isspace():
            return
        try:
            yield checked(self._parse(line))
        except ValueError as error:
            raise self._wrong(str(error)) from error

    def _wrong(self, sentence: str) -> InvalidValue:
        return InvalidValue(
            f"line {self._number:,}{self._where} {sentence}",
            field="items",
            details={"line": self._number},
        )


def of_text(line: bytes) -> str:
    """A line as it is. Raises ValueError with the end of a sentence about it."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start + 1} cannot be read") from error


def of_json(line: bytes) -> str:
    """A JSON value: a text as it is, anything else compact."""
    try:
        value = msgspec.json.decode(line.decode())
        return value if isinstance(value, str) else _compact(line)
    except UnicodeDecodeError:
        return of_text(line)  # says where
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error


def of_value(value: Any) -> str:
    """A value of a JSON body, as `of_json` has it of a line."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def checked(item: str) -> str:
    """Raises ValueError, with the end of a sentence, for what no item may be."""
    if "\0" in item:
        raise ValueError("holds a NUL character, which no item may")
    if len(item) > MAX_ITEM_BYTES or len(item.encode()) > MAX_ITEM_BYTES:
        raise ValueError(_too_long())
    return item


def parts_of(items: Iterable[str]) -> Iterator[list[str]]:
    """The items in order, in parts that one message takes."""
    parts = Parts()
    for item in items:
        yield from parts.add(item)
    yield from parts.end()


class Parts:
    """Gathers items until one message is full of them."""

    def __init__(self) -> None:
        self._items: list[str] = []
        self._bytes = 0

    def add(self, item: str) -> Iterator[list[str]]:
        """The part that was full before, if it was."""
        size = len(item.encode())
        if len(self._items) >= ITEMS_AT_ONCE or self._bytes + size > ITEMS_BYTES_AT_ONCE:
            yield from self.end()
        self._items.append(item)
        self._bytes += size

    def end(self) -> Iterator[list[str]]:
        """What is left."""
        full, self._items, self._bytes = self._items, [], 0
        if full:
            yield full


def _compact(line: bytes) -> str:
    return msgspec.json.format(line, indent=-1).decode()


def _too_long() -> str:
    return f"is longer than {MAX_ITEM_BYTES:,} bytes, the most an item may have"
