"""What pages say of a submission, and how they read what was typed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webserver.page_draft import DURATIONS, Draft, fresh_draft, submission_of, texts_of
from webserver.text import exact_duration, human_count, human_duration, human_span, parse_duration
from webserver.words import may_not_fit, places_of, settings_in_words, what_will_happen
from wire.requests import Submission


@pytest.mark.parametrize(
    ("settings", "count", "sentence"),
    [
        ({}, 1, "Run on 1 host"),
        ({}, 128, "Run on 128 hosts, one at a time, whatever fails"),
        ({"parallel": 10, "fail_count": 2}, 128, "10 at a time, stop at the 3rd failure"),
        (
            {"parallel": 0, "fail_count": 0},
            12_000,
            "Run on 12,000 hosts, all at once, stop at the first",
        ),
        ({"parallel": "25%", "fail_rate": 0.1}, 128, "32 at a time, stop at the 13th failure"),
        ({"parallel": 500, "fail_count": 10}, 128, "all at once, stop at the 11th failure"),
        ({"fail_count": 3, "fail_rate": 0.01}, 128, "stop at the 2nd failure"),
        ({"fail_count": -1}, 128, "whatever fails"),
        ({"fail_count": 500}, 128, "whatever fails"),
        ({"fail_count": 20}, 128, "stop at the 21st failure"),
        ({"parallel": "many"}, 128, "one at a time"),
    ],
)
def test_it_says_what_will_happen(settings, count, sentence):
    assert sentence in what_will_happen(Submission(**settings), count)


@given(st.integers() | st.text(max_size=8), st.integers(1, 10_000))
def test_it_always_has_a_place_and_never_more_than_hosts(parallel, count):
    assert 1 <= places_of(parallel, count) <= count


@pytest.mark.parametrize(
    ("settings", "count", "warned"),
    [
        ({}, 24, False),
        ({}, 26, True),
        ({"parallel": 0}, 10_000, False),
        ({"timeout": 0.0}, 2, True),
        ({"timeout": 0.0}, 1, False),
        ({}, 0, False),
    ],
)
def test_it_warns_when_the_last_hosts_may_expire(settings, count, warned):
    assert (may_not_fit(Submission(**settings), count) is not None) == warned


def test_it_shows_what_is_unusual_first_and_in_words():
    settings = {
        "timeout": 3600.0,
        "expires_in": 172800.0,
        "parallel": 0,
        "on_limit": "kill",
        "user": None,
    }
    shown = [(one.label, one.words, one.usual) for one in settings_in_words(settings)]
    assert shown == [
        ("At once", "all", False),
        ("Too many failed", "running scripts are killed", False),
        ("Skipped unless started within", "2 days", False),
        ("Time limit of a run", "1 h", True),
        ("Runs as", "the user of the agent", True),
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.25, "250 ms"), (4.53, "4.5 s"), (45, "45 s"), (60, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"), (86400, "1 day"), (90061, "1 day 1 h"), (86403, "1 day"), (172800, "2 days"),
    ],
)  # fmt: skip
def test_it_says_durations_as_people_do(seconds, words):
    assert human_duration(seconds) == words


@given(st.floats(0, 1e7).map(lambda seconds: round(seconds, 3)))
def test_it_puts_into_fields_what_reads_back_the_same(seconds):
    assert parse_duration(exact_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "nan", "1 parsec", "h", "1 h of it", "1e9", "--1"])
def test_it_knows_what_is_no_duration(text):
    assert parse_duration(text) is None


def test_it_counts_and_spans():
    assert human_count(1, "host") == "1 host"
    assert human_count(12_000, "host") == "12,000 hosts"
    assert human_span("2026-11-21T08:50:00.123Z", "2026-11-21T09:50:00.123Z") == "1 h"
    assert human_span("2026-11-21T08:50:00.123Z", "2026-11-21T08:49:00.123Z") == "0 s"
    assert human_span(None, "2026-11-21T09:50:00.123Z") == "–"


def test_it_makes_of_an_untouched_form_a_task_as_usual():
    assert submission_of(fresh_draft()) == Submission(script="")


def test_it_reads_every_field():
    typed = {
        "script": "x", "targets": "web*", "expect": "d", "parallel": "25%", "fail_rate": "10%",
        "fail_count": "3", "on_limit": "kill", "offline": "skip", "expires_in": "2 days",
        "lost_after": "90", "grace": "1.5 s", "priority": "-2", "user": "deploy", "cwd": "/srv",
        "args": "one\n two \n\nthree", "env": "A=b=c\n\nEMPTY=", "timeout": "0", "name": "n",
    }  # fmt: skip
    draft = Draft(fresh_draft().texts | typed)
    submission = submission_of(draft)
    assert not draft.errors
    assert submission == Submission(
        script="x", targets="web*", expect="d", parallel="25%", fail_rate=0.1, fail_count=3,
        on_limit="kill", offline="skip", expires_in=172800.0, lost_after=90.0, grace=1.5,
        priority=-2, user="deploy", cwd="/srv", args=["one", " two ", "three"],
        env={"A": "b=c", "EMPTY": ""}, timeout=0.0, name="n",
    )  # fmt: skip
    assert draft.unusual


def test_it_types_a_submission_as_a_person_would():
    submission = Submission(script="x", parallel="25%", fail_rate=0.1, args=["a b"], env={"A": "b"})
    draft = Draft(texts_of(submission, "x"))
    assert submission_of(draft) == submission
    assert not draft.errors


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grace", "soon"),
        ("env", "NOVALUE"),
        ("env", "A=1\nA=2"),
        ("fail_rate", "x%"),
        ("priority", "1.5"),
    ],
)
def test_it_blames_the_field_that_cannot_be_read(name, text):
    draft = Draft(fresh_draft().texts | {name: text})
    submission_of(draft)
    assert list(draft.errors) == [name]


@pytest.mark.parametrize("name", DURATIONS)
def test_it_takes_an_empty_duration_for_the_usual_one(name):
    draft = Draft(fresh_draft().texts | {name: ""})
    assert getattr(submission_of(draft), name) == getattr(Submission(), name)


def test_what_a_schedule_leaves_open_is_as_usual():
    shown = settings_in_words(msgspec.to_builtins(Submission(targets="@*", timeout=60.0)))
    assert [one.label for one in shown if not one.usual] == ["Hosts", "Time limit of a run"]
    (at_once,) = [one for one in shown if one.label == "At once"]
    assert at_once.words == "1"
