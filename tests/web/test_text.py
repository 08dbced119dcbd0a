"""What output looks like to a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webserver.answers import accepted_coding
from webserver.text import human_bytes, human_when, readable


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (b"hello\n", "hello\n"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(Bplain\x1b=", "plain"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (b"a\x00b\x07\x7f", "a␀b␇␡"),
        (b"\xff\xfe", "��"),
        ("x\u202etxt.exe".encode(), "x<U+202E>txt.exe"),
        (b"<b>&", "<b>&"),
        (b"tab\there", "tab\there"),
    ],
)
def test_it_shows_all_there_is_and_does_nothing(output, text):
    assert readable(output) == text


@given(st.binary())
def test_it_leaves_no_control_character(output):
    assert not [c for c in readable(output) if ord(c) < 0x20 and c not in "\t\n"]
    assert "\x1b" not in readable(output)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (10 << 20, "10.0 MiB"), (3 << 30, "3.0 GiB")],
)
def test_it_says_sizes(count, text):
    assert human_bytes(count) == text


def test_it_says_times():
    assert human_when("2026-11-21T08:50:00.123Z") == "2026-11-21 08:50:00"
    assert human_when(None) == "–"


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate, gzip;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.0", None),
        ("br", None),
    ],
)
def test_it_compresses_only_as_the_client_takes_it(header, coding):
    assert accepted_coding(header) == coding
