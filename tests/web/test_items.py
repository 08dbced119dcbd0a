"""Items of a text: a line each, a JSON value each, whatever the pieces it comes in."""

import pytest

from webserver.items import Lines, Parts, of_json, of_text, parts_of
from wire.errors import InvalidValue
from wire.queues import ITEMS_AT_ONCE, ITEMS_BYTES_AT_ONCE, MAX_ITEM_BYTES


def items(text, parse=of_text, size=None):
    lines = Lines(parse)
    found: list[str] = []
    size = size or len(text) or 1
    for at in range(0, len(text), size):
        found += lines.feed(text[at : at + size])
    return found + list(lines.end())


def refusal(text, parse=of_text):
    with pytest.raises(InvalidValue) as raised:
        items(text, parse)
    return raised.value


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_it_finds_the_same_items_however_the_text_is_cut(size):
    text = "one\ntwo  2\r\n\n  \ndrei ß\nlast".encode()
    assert items(text, size=size) == ["one", "two  2", "drei ß", "last"]


def test_it_passes_over_the_mark_that_editors_put_before_utf_8():
    assert items(b"\xef\xbb\xbfone\n") == ["one"]


def test_it_finds_nothing_in_nothing():
    assert items(b"") == []


def test_a_line_that_is_not_utf_8_is_refused_by_its_number():
    found = refusal(b"one\n\ntw\xff\n")
    assert found.details == {"line": 3}
    assert found.message == "line 3 is not UTF-8: byte 3 cannot be read"


def test_a_line_with_a_nul_is_refused():
    assert "line 2 holds a NUL" in refusal(b"one\nt\0o\nthree").message


def test_an_item_may_be_as_long_as_it_says_and_no_longer():
    assert items(b"x" * MAX_ITEM_BYTES) == ["x" * MAX_ITEM_BYTES]
    assert "line 1 is longer than 65,536 bytes" in refusal(b"x" * (MAX_ITEM_BYTES + 1)).message
    assert "longer" in refusal("ä".encode() * (MAX_ITEM_BYTES // 2 + 1)).message


def test_a_line_without_an_end_is_refused_before_it_has_come():
    lines = Lines(of_text)
    with pytest.raises(InvalidValue, match="line 1 is longer"):
        for _ in range(100):
            list(lines.feed(b"x" * 65_536))


def test_json_values_are_compact_text_and_texts_are_themselves():
    text = b'"10.0.0.1"\n{"b": 1.0,  "a": [1, 12345678901234567890123]}\n 7 \nnull\n"\\u00df"\n'
    assert items(text, of_json) == [
        "10.0.0.1",
        '{"b":1.0,"a":[1,12345678901234567890123]}',
        "7",
        "null",
        "ß",
    ]


@pytest.mark.parametrize("line", [b"{", b"nan", b"[1,]", b"'a'", b"1 2", b'"\\ud800"', b"[" * 5000])
def test_a_line_that_is_not_json_is_refused_by_its_number(line):
    found = refusal(b"1\n" + line + b"\n", of_json)
    assert found.details == {"line": 2}
    assert "line 2 is not JSON" in found.message


def test_a_json_text_may_not_hold_a_nul_either():
    assert "NUL" in refusal(b'"a\\u0000"', of_json).message


def test_parts_hold_what_one_message_takes():
    many = [str(n) for n in range(ITEMS_AT_ONCE * 2 + 1)]
    assert [len(part) for part in parts_of(many)] == [ITEMS_AT_ONCE, ITEMS_AT_ONCE, 1]
    long = ["ä" * (MAX_ITEM_BYTES // 2)] * 40
    parts = list(parts_of(long))
    assert all(sum(len(item.encode()) for item in part) <= ITEMS_BYTES_AT_ONCE for part in parts)
    assert [len(part) for part in parts] == [16, 16, 8]


def test_there_is_no_part_of_nothing():
    assert list(Parts().end()) == []
