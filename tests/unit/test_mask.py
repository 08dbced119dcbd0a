"""Is nothing of a secret left in the output, and everything else as it was, however it is cut?"""

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture import Capture, read_head
from agent.mask import LEAST_BYTES, Mask, needles_of

LETTERS = st.text("ab\n", max_size=12).map(str.encode)
SECRETS = st.lists(st.text("ab\n", min_size=LEAST_BYTES, max_size=9).map(str.encode), max_size=3)


def masked(values, chunks):
    mask = Mask(values)
    return b"".join([*map(mask.feed, chunks), mask.end()])


def oracle(values, text):
    """Byte by byte: which are part of a needle, and where does a hidden place end?"""
    found = sorted(
        (at, at + len(needle))
        for needle in needles_of(values)
        for at in range(len(text))
        if text[at : at + len(needle)] == needle
    )
    given, done = b"", 0
    for start, end in found:
        if start >= done:
            given += text[done:start] + b"***"
        done = max(done, end)
    return given + text[done:]


def chunkings(text):
    """Every way to cut it."""
    for cuts in range(1 << max(0, len(text) - 1)):
        chunks, start = [], 0
        for at in range(1, len(text)):
            if cuts >> (at - 1) & 1:
                chunks.append(text[start:at])
                start = at
        yield [*chunks, text[start:]]


@given(values=SECRETS, text=st.text("ab\n", max_size=9).map(str.encode))
def test_it_says_the_same_for_every_way_to_cut_the_output(values, text):
    expected = oracle(values, text)
    for chunks in chunkings(text):
        assert masked(values, chunks) == expected, chunks


@given(values=SECRETS, chunks=st.lists(LETTERS, max_size=20))
def test_it_hides_what_the_oracle_hides_over_many_chunks(values, chunks):
    assert masked(values, chunks) == oracle(values, b"".join(chunks))


@given(values=st.lists(st.binary(min_size=4, max_size=8), max_size=3), data=st.data())
def test_it_hides_secrets_of_any_bytes(values, data):
    piece = st.binary(max_size=6) | (st.sampled_from(values) if values else st.nothing())
    chunks = data.draw(st.lists(piece, max_size=12))
    assert masked(values, chunks) == oracle(values, b"".join(chunks))


@given(chunks=st.lists(st.binary(max_size=40), max_size=10))
def test_it_changes_nothing_without_a_secret_in_it(chunks):
    assert masked([b"\0no such bytes here, ever"], chunks) == b"".join(chunks)


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        ([b"hunter22"], b"pw=hunter22;", b"pw=***;"),
        ([b"hunter22"], b"hunter22hunter22", b"******"),
        ([b"hunter", b"hunter22"], b"hunter22 hunter2", b"*** ***2"),
        ([b"abcdef", b"defghi"], b"xabcdefghiy", b"x***y"),
        ([b"aaaa"], b"aaaaaaaa", b"***"),
        ([b"line one\nline two\n"], b"line two\nx\nline one\n", b"***\nx\n***\n"),
        ([b"line one\nline two\n"], b"line one\nline two\n!", b"***\n!"),
        ([b"line one\r\nline two"], b"line one\nline two", b"***\n***"),
        ([b"}\nlong line\n}"], b"{}\nlong line\n!}", b"{}\n***\n!}"),
        ([b"a\nb\nc\nd"], b"a\nb\nc\nd", b"***"),
    ],
)
def test_it_hides_as_told(values, text, expected):
    assert masked(values, [text]) == expected
    assert masked(values, [text[at : at + 1] for at in range(len(text))]) == expected


def test_it_gives_at_once_what_cannot_be_a_secret():
    mask = Mask([b"hunter22"])
    assert mask.feed(b"progress 10%") == b"progress 10%"
    assert mask.feed(b"\nhunt") == b"\n"
    assert mask.feed(b"ing season\n") == b"hunting season\n"
    assert mask.feed(b"hunter2") == b""
    assert mask.end() == b"hunter2"


def test_it_holds_no_more_than_the_longest_secret_of_an_endless_one():
    mask = Mask([b"a" * 1000])
    given = b"".join(mask.feed(b"a" * 700) for _ in range(50))
    assert len(mask._held) < 1000
    assert given + mask.end() == b"***"


def test_it_keeps_files_totals_and_checksum_of_the_masked_output():
    with tempfile.TemporaryDirectory() as directory:
        capture = Capture(directory, 1000, 0, Mask([b"hunter22"]))
        capture.add(b"pw=hun")
        capture.add(b"ter22 hunt")
        told = capture.close()
        assert read_head(directory, 0, 1000) == b"pw=*** hunt"
    assert told["output_bytes"] == len(b"pw=*** hunt")
