"""A log that was changed, cut or rewritten is told from one that was not."""

from hypothesis import given
from hypothesis import strategies as st

from master.chain import START, Entry, Link, check, following

ALICE = Entry(1_000, "alice", "session", "s1", "10.0.0.1", "task.submit", "task:t1", "ok", "{}")

texts = st.text(max_size=20)
entries = st.builds(
    Entry, st.integers(0, 2**53), texts, texts, texts, texts, texts, texts, texts, texts
)


def log_of(*entries):
    records, last = [], START
    for entry in entries:
        last = following(last, entry)
        records.append((last.seq, entry, last.hash))
    return records


@given(st.lists(entries, max_size=8))
def test_it_finds_nothing_wrong_with_a_log_as_it_was_written(made):
    records = log_of(*made)
    last, broken = check(records)
    assert broken is None
    assert last == (Link(records[-1][0], records[-1][2]) if records else START)


@given(st.lists(entries, min_size=1, max_size=8), st.data())
def test_it_names_the_first_record_that_was_changed(made, data):
    records = log_of(*made)
    place = data.draw(st.integers(0, len(made) - 1))
    field = data.draw(st.sampled_from([name for name in Entry._fields if name != "at_ms"]))
    seq, entry, hash = records[place]
    records[place] = (seq, entry._replace(**{field: getattr(entry, field) + "x"}), hash)
    last, broken = check(records)
    assert broken is not None
    assert (broken.seq, last.seq) == (seq, seq - 1)
    assert broken.why.startswith("changed")


@given(st.lists(entries, min_size=2, max_size=8), st.data())
def test_it_names_the_first_record_that_is_missing(made, data):
    records = log_of(*made)
    place = data.draw(st.integers(0, len(made) - 2))
    del records[place]
    _, broken = check(records)
    assert broken is not None
    assert broken.seq == place + 1


def test_it_tells_values_apart_that_only_look_alike_side_by_side():
    one = ALICE._replace(who="alice", kind="x")
    other = ALICE._replace(who="alicex", kind="")
    assert following(START, one).hash != following(START, other).hash


def test_it_sees_that_records_were_swapped():
    first, second, third = log_of(ALICE, ALICE._replace(who="bob"), ALICE)
    _, broken = check([first, third, second])
    assert broken is not None
    assert broken.seq == 2


def test_it_sees_that_the_end_is_missing_if_the_last_was_kept():
    records = log_of(ALICE, ALICE, ALICE)
    kept = Link(3, records[2][2])
    assert check(records, [kept]) == (kept, None)
    last, broken = check(records[:2], [kept])
    assert (last.seq, broken and broken.seq) == (2, 3)


def test_it_sees_that_all_was_rewritten_if_one_was_kept():
    kept = Link(2, log_of(ALICE, ALICE)[1][2])
    forged = log_of(ALICE, ALICE._replace(who="bob"), ALICE)
    assert check(forged)[1] is None
    _, broken = check(forged, [kept])
    assert broken is not None
    assert (broken.seq, broken.why.split(":")[0]) == (2, "rewritten")
