"""The instants of a schedule, against tables that were made by hand from cron(8) of Debian."""

import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master import timing
from master.when import When, dues, fires_at, next_after, zone_of
from wire.errors import InvalidValue
from wire.schedules import Timing

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
# Clocks go forward at 2:00 to 3:00 on 2026-03-29 in Berlin and on 2026-03-08 in New York, at 2:00
# to 2:30 on 2026-10-04 on Lord Howe; back at 3:00 to 2:00 on 2026-10-25, at 2:00 to 1:00 on
# 2026-11-01, and at 2:00 to 1:30 on 2026-04-05.
TABLE = [
    # a fixed time that is left out runs right after the change
    (BERLIN, "30 2 * * *", "2026-03-29", "03:00+02:00"),
    (BERLIN, "0 2 * * *", "2026-03-29", "03:00+02:00"),
    (BERLIN, "59 2 29 3 *", "2026-03-29", "03:00+02:00"),
    (BERLIN, "15,45 2 * * *", "2026-03-29", "03:00+02:00"),
    (BERLIN, "30 1-3 * * *", "2026-03-29", "01:30+01:00 03:00+02:00 03:30+02:00"),
    (BERLIN, "0 3 * * *", "2026-03-29", "03:00+02:00"),
    (NEW_YORK, "30 2 * * *", "2026-03-08", "03:00-04:00"),
    (NEW_YORK, "30 2 * * 0", "2026-03-08", "03:00-04:00"),
    (LORD_HOWE, "15 2 * * *", "2026-10-04", "02:30+11:00"),
    # a fixed time that comes twice runs once, the first time
    (BERLIN, "30 2 * * *", "2026-10-25", "02:30+02:00"),
    (BERLIN, "0 2 * * *", "2026-10-25", "02:00+02:00"),
    (BERLIN, "0 3 * * *", "2026-10-25", "03:00+01:00"),
    (BERLIN, "15,45 2 * * *", "2026-10-25", "02:15+02:00 02:45+02:00"),
    (BERLIN, "30 1-3 * * *", "2026-10-25", "01:30+02:00 02:30+02:00 03:30+01:00"),
    (NEW_YORK, "30 1 * * *", "2026-11-01", "01:30-04:00"),
    (LORD_HOWE, "45 1 * * *", "2026-04-05", "01:45+11:00"),
    (LORD_HOWE, "15 1 * * *", "2026-04-05", "01:15+11:00"),
    # with a wildcard in minute or hour it follows the clock
    (BERLIN, "*/30 2 * * *", "2026-03-29", ""),
    (BERLIN, "*/30 2 * * *", "2026-10-25", "02:00+02:00 02:30+02:00 02:00+01:00 02:30+01:00"),
    (BERLIN, "30 */8 29 3 *", "2026-03-29", "00:30+01:00 08:30+02:00 16:30+02:00"),
    (BERLIN, "*/30 1-3 * * *", "2026-03-29", "01:00+01:00 01:30+01:00 03:00+02:00 03:30+02:00"),
    (NEW_YORK, "*/30 1 * * *", "2026-11-01", "01:00-04:00 01:30-04:00 01:00-05:00 01:30-05:00"),
    (LORD_HOWE, "*/15 1 * * *", "2026-04-05",
     "01:00+11:00 01:15+11:00 01:30+11:00 01:45+11:00 01:30+10:30 01:45+10:30"),
    (LORD_HOWE, "*/10 2 * * *", "2026-10-04", "02:30+11:00 02:40+11:00 02:50+11:00"),
    (LORD_HOWE, "0 */6 * * *", "2026-04-05", "00:00+11:00 06:00+10:30 12:00+10:30 18:00+10:30"),
    (LORD_HOWE, "0 */6 * * *", "2026-10-04", "00:00+10:30 06:00+11:00 12:00+11:00 18:00+11:00"),
    # no change of clocks
    ("UTC", "30 2 * * *", "2026-03-29", "02:30+00:00"),
    ("Asia/Shanghai", "30 2 * * *", "2026-10-25", "02:30+08:00"),
    ("Asia/Shanghai", "*/30 2 * * *", "2026-03-29", "02:00+08:00 02:30+08:00"),
    # a day begins without its midnight
    ("Africa/Cairo", "0 0 * * *", "2026-04-24", "01:00+03:00"),
    ("Africa/Cairo", "*/20 0-1 24 4 *", "2026-04-24", "01:00+03:00 01:20+03:00 01:40+03:00"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "cron", "day", "wanted"), TABLE)
def test_it_does_at_a_change_of_clocks_what_cron_of_debian_does(zone, cron, day, wanted):
    when = When(kind="cron", cron=cron, zone=zone)
    found = [one for one in local_times(when, day, days=3, before=1) if one.startswith(day)]
    assert found == [f"{day} {time}" for time in wanted.split()]


@pytest.mark.parametrize(("zone", "cron", "day", "wanted"), TABLE)
def test_it_does_the_same_wherever_it_begins_to_count(zone, cron, day, wanted):
    when = When(kind="cron", cron=cron, zone=zone)
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=zone_of(when)).timestamp()
    whole = dues(when, noon - 86_400, noon + 86_400, 1000)
    for instant in range(int(noon) - 13 * 3600, int(noon), 293):
        rest = dues(when, instant, noon + 86_400, 1000)
        assert rest == [due for due in whole if due > instant]


DAYS = [
    ("0 0 13 * 5", "2026-02-06 2026-02-13 2026-02-20 2026-02-27"),  # either, if both are given
    ("0 0 */2 * 5", "2026-02-13 2026-02-27"),  # both, if one begins with *
    ("0 0 29 2 *", ""),
    ("0 0 L * *", "2026-02-28"),
    ("0 0 * * 7", "2026-02-01 2026-02-08 2026-02-15 2026-02-22"),
    ("0 0 1-7 FEB *", " ".join(f"2026-02-0{day}" for day in range(1, 8))),
]


@pytest.mark.parametrize(("cron", "wanted"), DAYS)
def test_it_reads_days_as_cron_does(cron, wanted):
    when = When(kind="cron", cron=cron)
    found = [one[:10] for one in local_times(when, "2026-02-01", days=28)]
    assert found == wanted.split()


def test_it_counts_seconds_from_the_anchor_whatever_clocks_do():
    when = When(kind="every", seconds=86_400, anchor=utc("2026-03-28T00:00:00Z"), zone=BERLIN)
    found = local_times(when, "2026-03-27", days=4)
    assert [one[11:16] for one in found] == ["01:00", "01:00", "02:00"]
    assert [one[:10] for one in found] == ["2026-03-28", "2026-03-29", "2026-03-30"]


def test_it_is_due_once_and_never_again():
    when = When(kind="once", at=1000)
    assert next_after(when, 999.5) == 1000
    assert next_after(when, 1000) is None


def test_it_keeps_within_its_bounds():
    when = When(kind="every", seconds=10, start_at=25, end_at=50)
    assert dues(when, 0, 1000, 100) == [30, 40, 50]


def test_it_gives_up_where_nothing_can_ever_fit():
    assert next_after(When(kind="cron", cron="0 0 */16 2 MON#2"), 1.8e9) is None


@given(
    seconds=st.integers(1, 10_000_000),
    anchor=st.integers(0, 4_000_000_000),
    instant=st.floats(0, 5_000_000_000),
)
def test_it_never_skips_or_repeats_a_step(seconds, anchor, instant):
    when = When(kind="every", seconds=seconds, anchor=anchor)
    first = next_after(when, instant)
    assert first is not None and first > instant
    assert first == anchor or first - seconds <= instant
    assert (first - anchor) % seconds == 0
    assert next_after(when, first) == first + seconds


FIELD = st.one_of(
    st.just("*"), st.integers(0, 60).map(str), st.integers(1, 70).map("*/{}".format),
    st.tuples(st.integers(0, 31), st.integers(0, 31)).map("{0[0]}-{0[1]}".format),
    st.text("0123456789*/,-#LWMONJA", max_size=6),
)  # fmt: skip


@given(st.lists(FIELD, min_size=4, max_size=6).map(" ".join))
def test_it_takes_or_refuses_every_text_and_goes_forward(text):
    try:
        when = timing.parse(Timing("cron", cron=text, zone=BERLIN))
    except InvalidValue as error:
        assert error.field == "when.cron"
        return
    found = dues(when, 1.77e9, 1.77e9 + 40 * 86_400, 50)
    assert found == sorted(set(found))
    timing.preview(when, 1.77e9, 3)


def test_it_fires_within_its_splay_and_always_at_the_same_offset():
    when = When(kind="every", seconds=3600, splay_s=600)
    offsets = [fires_at("s1", when, due) - due for due in range(0, 360_000, 3600)]
    assert all(0 <= offset < 600 for offset in offsets)
    assert len({int(offset / 60) for offset in offsets}) == 10
    assert offsets == [fires_at("s1", when, due) - due for due in range(0, 360_000, 3600)]


# ---- what people write

WRONG = [
    (Timing("daily"), "when.kind", "one of once, every, cron"),
    (Timing("cron"), "when.cron", "missing"),
    (Timing("cron", cron="61 * * * *"), "when.cron", "its minute '61' is none: it takes 0 to 59"),
    (Timing("cron", cron="* * * * MUN"), "when.cron", "day-of-week 'MUN'"),
    (Timing("cron", cron="* * * *"), "when.cron", "five fields"),
    (Timing("cron", cron="0 * * * * *"), "when.cron", "five fields"),
    (Timing("cron", cron="@reboot"), "when.cron", "@daily"),
    (Timing("cron", cron="0 0 31 2 *"), "when.cron", "that the months have"),
    (Timing("cron", cron="* * * * *", every=3), "when.every", "does not go with kind cron"),
    (Timing("cron", cron="0 * * * *", zone="Mars/Olympus"), "when.zone", "Europe/Berlin"),
    (Timing("cron", cron="0 * * * *", zone="../../etc/passwd"), "when.zone", "IANA"),
    (Timing("cron", cron="0 * * * *", zone="Europe"), "when.zone", "IANA"),
    (Timing("cron", cron="0 * * * *", splay=3601), "when.splay", "at most 3600 seconds"),
    (Timing("every", every=0), "when.every", "seconds from 1"),
    (Timing("every", every=60, splay=-1), "when.splay", "seconds from 0"),
    (Timing("once", at="tomorrow"), "when.at", "ISO 8601"),
    (Timing("once", at="2026-03-29T02:30:00", zone=BERLIN), "when.at", "clocks go forward"),
    (Timing("once", at="2026-03-29", end="2026-03-30"), "when.end", "does not go with kind once"),
    (
        Timing("every", every=60, start="2026-03-30", end="2026-03-29"),
        "when.end",
        "not before start",
    ),
]


@pytest.mark.parametrize(("given", "field", "said"), WRONG)
def test_it_says_what_is_wrong_with_a_timing(given, field, said):
    with pytest.raises(InvalidValue) as caught:
        timing.parse(given)
    assert caught.value.field == field
    assert said in str(caught.value)


def test_it_takes_a_time_without_offset_as_one_of_its_zone():
    assert timing.parse(Timing("once", at="2026-07-01T12:00", zone=BERLIN)).at == utc(
        "2026-07-01T10:00:00Z"
    )
    twice = timing.parse(Timing("once", at="2026-10-25T02:30", zone=BERLIN))
    assert twice.at == utc("2026-10-25T00:30:00Z")


@pytest.mark.parametrize(
    "given",
    [
        Timing("once", at="2026-07-01T12:00:00.000Z", zone=BERLIN),
        Timing("every", every=90, splay=10, anchor="2026-07-01T12:00:00.000Z"),
        Timing("cron", cron="5 4 * * SUN", zone=NEW_YORK, end="2030-01-01T00:00:00.000Z"),
    ],
)
def test_it_says_a_timing_as_it_was_written(given):
    assert timing.timing_of(timing.parse(given)) == given


def test_it_takes_the_short_words_of_cron():
    assert timing.parse(Timing("cron", cron="@daily")).cron == "0 0 * * *"


def test_it_refuses_what_is_never_due():
    now = utc("2026-07-01T00:00:00Z")
    for never in (
        Timing("once", at="2026-06-30T00:00:00Z"),
        Timing("every", every=60, end="2026-06-30T00:00:00Z"),
        Timing("cron", cron="0 0 */16 2 MON#2"),
    ):
        with pytest.raises(InvalidValue, match=r"it is|never due"):
            timing.check_future(timing.parse(never), now)


def test_it_shows_what_is_to_come_in_utc_and_in_the_zone_and_what_is_special_about_it():
    when = timing.parse(Timing("cron", cron="30 2 * * *", zone=BERLIN))
    view = timing.preview(when, utc("2026-03-28T00:00:00Z"), 3)
    assert [(one.at, one.local, bool(one.note)) for one in view.next] == [
        ("2026-03-28T01:30:00.000Z", "2026-03-28 02:30:00 +01:00", False),
        ("2026-03-29T01:00:00.000Z", "2026-03-29 03:00:00 +02:00", True),
        ("2026-03-30T00:30:00.000Z", "2026-03-30 02:30:00 +02:00", False),
    ]
    assert "left out" in view.next[1].note
    assert "2026-03-29 03:00:00 +02:00" in view.rule
    (back,) = timing.preview(when, utc("2026-10-24T12:00:00Z"), 1).next
    assert "comes twice" in back.note


def test_it_says_nothing_of_clocks_that_are_never_changed():
    when = timing.parse(Timing("cron", cron="30 2 * * *", zone="Asia/Shanghai"))
    assert timing.preview(when, utc("2026-03-28T00:00:00Z"), 1).rule == ""


def local_times(when, day, days, before=0):
    midnight = datetime.fromisoformat(day).replace(tzinfo=zone_of(when))
    start = (midnight - timedelta(days=before)).timestamp()
    until = start + days * 86_400 + 7200
    moments = (
        datetime.fromtimestamp(due, zone_of(when)) for due in dues(when, start - 1, until, 9999)
    )
    shown = [moment.isoformat(" ", "minutes") for moment in moments]
    last = (midnight + timedelta(days=days - before)).date().isoformat()
    return [one for one in shown if one[:10] < last]


def utc(text):
    return int(datetime.fromisoformat(text).timestamp())


def test_it_knows_time_zones_on_a_machine_that_has_none():
    told = "from zoneinfo import ZoneInfo; print(ZoneInfo('Europe/Berlin'))"
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "Europe/Berlin"
