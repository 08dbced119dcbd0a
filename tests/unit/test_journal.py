"""The journal: what was returned from is remembered, and what can't be is never passed over."""

import os
import shutil
import threading
from pathlib import Path

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

import agent.framelog
import agent.journal
from agent.framelog import MAGIC, Broken, FrameLog, NoRoom
from agent.journal import Journal, JournalLost
from agent.records import DoneRecord, Entry, TaskSpec
from tests.support import until
from wire.states import Cause, RunState

SPEC = TaskSpec(id="t" * 32, script="ZWNobyBoZWxsbw==")


def make_entry(grant: int, *, run: str = "", attempt: int = 1, spec: TaskSpec = SPEC) -> Entry:
    return Entry(
        run=run or f"run-{grant}",
        attempt=attempt,
        grant=grant,
        instance="i",
        start_by=1e6,
        void=False,
        task=spec,
    )


def done_of(entry: Entry) -> DoneRecord:
    return DoneRecord(entry.run, entry.attempt, entry.grant, RunState.SUCCEED, 0)


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal(journal._directory)


@pytest.fixture(autouse=True)
def little_room(monkeypatch):
    """Files of kilobytes, so that a test can read and write them a thousand times."""
    monkeypatch.setattr(agent.framelog, "ROOM_BYTES", 64 << 10)
    monkeypatch.setattr(agent.journal, "SPARE_BYTES", 4 << 10)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal")
    yield journal


@pytest.fixture
def small(monkeypatch):
    """Limits that a test can reach."""
    monkeypatch.setattr(agent.journal, "COMPACT_BYTES", 1000)
    monkeypatch.setattr(agent.journal, "KEEP_DONE_LEAST", 3)
    monkeypatch.setattr(agent.journal, "KEEP_DONE_MOST", 5)


# ---- what is remembered


def test_it_begins_empty(journal):
    assert (journal.hw, journal.floor, journal.entries) == (0, 0, {})
    assert journal.set_aside is None


def test_it_remembers_entries_and_high_water_mark(journal):
    entries = [make_entry(1), make_entry(2)]
    journal.accept(entries, 2)
    again = reopened(journal)
    assert list(again.entries.values()) == entries
    assert again.hw == 2


def test_it_moves_the_high_water_mark_upwards_only(journal):
    journal.accept([make_entry(1), make_entry(2)], 2)
    for entries, hw in [([make_entry(2)], 2), ([], 1), ([make_entry(4)], 3)]:
        with pytest.raises(ValueError):
            journal.accept(entries, hw)
    assert reopened(journal).hw == 2


def test_it_keeps_the_first_cause_of_a_stop(journal):
    journal.accept([make_entry(1)], 1)
    journal.stop("run-1", 1, Cause.CANCEL)
    assert journal.stop("run-1", 1, Cause.LIMIT).cause is Cause.CANCEL
    assert reopened(journal).entries["run-1", 1].cause is Cause.CANCEL


def test_it_drops_the_entry_and_keeps_the_done_record_when_a_run_is_let_go(journal):
    journal.accept([make_entry(1), make_entry(2)], 2)
    journal.let_go(done_of(make_entry(1)))
    again = reopened(journal)
    assert list(again.entries) == [("run-2", 1)]
    assert again.done_of(["run-1", "run-2"]) == [done_of(make_entry(1))]
    assert again.done_since(0, most=10) == ([done_of(make_entry(1))], 0)


def test_it_tells_from_where_on_the_done_records_are_complete(journal):
    for grant in range(1, 6):
        journal.accept([make_entry(grant)], grant)
        journal.let_go(done_of(make_entry(grant)))
    records, floor = journal.done_since(1, most=2)
    assert [record.grant for record in records] == [4, 5]
    assert floor == 3


def test_it_claims_no_knowledge_of_grants_before_its_first(journal):
    journal.accept([make_entry(8)], 8)
    assert reopened(journal).floor == 7


def test_it_holds_two_attempts_of_one_run_apart(journal):
    journal.accept([make_entry(1, run="r"), make_entry(2, run="r", attempt=2)], 2)
    journal.let_go(done_of(make_entry(1, run="r")))
    assert list(reopened(journal).entries) == [("r", 2)]


def test_it_writes_what_greenlets_append_at_once_in_one_frame(journal, monkeypatch):
    syncs: list[int] = []
    sync = os.fdatasync

    def counted(fd: int) -> None:
        syncs.append(fd)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    journal.accept([make_entry(grant) for grant in range(1, 11)], 10)
    letting_go = [
        gevent.spawn(journal.let_go, done_of(make_entry(grant))) for grant in range(1, 11)
    ]
    gevent.joinall(letting_go, raise_error=True)
    assert len(syncs) == 2
    assert reopened(journal).entries == {}


def test_it_syncs_on_a_thread_once_the_disk_has_been_slow(journal):
    journal._usual_sync_s = 1.0
    journal.accept([make_entry(1)], 1)
    assert reopened(journal).hw == 1


def test_files_are_private(journal):
    journal.accept([make_entry(1)], 1)
    for path in [journal._directory, *journal._directory.iterdir()]:
        assert path.stat().st_mode & 0o077 == 0


# ---- items, and versions without them


class EntryOfBefore(Struct, frozen=True, kw_only=True):
    """As version 0.1.0 had it, which knew of no items."""

    run: str
    attempt: int
    grant: int
    instance: str
    start_by: float
    void: bool
    cause: Cause | None = None
    task: TaskSpec | None = None


class AcceptedBefore(Struct, frozen=True, array_like=True, tag="e"):
    entry: EntryOfBefore


def as_before(entry: Entry) -> EntryOfBefore:
    return msgspec.convert(msgspec.to_builtins(entry), EntryOfBefore)


def test_it_remembers_items(journal):
    entries = [
        structs.replace(make_entry(1), item="-x 'ünï'\n\"$(id)\""),
        structs.replace(make_entry(2), item="a\nb", batch=True),
    ]
    journal.accept(entries, 2)
    assert list(reopened(journal).entries.values()) == entries


def test_it_reads_a_journal_that_was_written_before_there_were_items(journal):
    entry = make_entry(1)
    journal._log.append(msgspec.msgpack.encode([AcceptedBefore(as_before(entry)), ("h", 1)]))
    again = reopened(journal)
    assert again.set_aside is None
    assert list(again.entries.values()) == [entry]


def test_the_version_before_reads_a_journal_with_items(journal):
    entry = structs.replace(make_entry(1), item="a\nb", batch=True)
    journal.accept([entry], 1)
    (payload,) = journal._log.read()
    accepted, _ = msgspec.msgpack.decode(payload)
    assert msgspec.convert(accepted, AcceptedBefore).entry == as_before(entry)


def test_it_takes_an_answer_of_large_items_or_refuses_it_whole(journal, monkeypatch):
    item = "x" * (64 << 10)
    entries = [structs.replace(make_entry(number), item=item) for number in range(1, 65)]
    no_more_room(monkeypatch)
    with pytest.raises(NoRoom):
        journal.accept(entries, 64)
    assert (journal.hw, journal.entries) == (0, {})
    monkeypatch.undo()
    journal.accept(entries, 64)
    assert list(reopened(journal).entries.values()) == entries


def test_it_refuses_what_no_frame_could_hold(journal, monkeypatch):
    monkeypatch.setattr(agent.framelog, "MAX_PAYLOAD_BYTES", 4 << 10)
    with pytest.raises(NoRoom):
        journal.accept([structs.replace(make_entry(1), item="x" * (8 << 10))], 1)
    journal.accept([make_entry(1)], 1)
    again = reopened(journal)
    assert (again.hw, again.set_aside) == (1, None)


# ---- identity


def test_it_keeps_its_identity(journal):
    journal.accept([make_entry(1)], 1)
    assert reopened(journal).identity == journal.identity


def test_it_keeps_its_identity_when_it_is_compacted(small, journal, monkeypatch):
    replaced: list[FrameLog] = []
    replace = FrameLog.replace

    def counted(log, frames):
        replaced.append(log)
        replace(log, frames)

    monkeypatch.setattr(FrameLog, "replace", counted)
    fill(journal, 40)
    assert replaced
    assert reopened(journal).identity == journal.identity


@pytest.mark.parametrize("lost", ["log", "id"])
def test_it_has_another_identity_when_a_file_was_lost(journal, lost):
    journal.accept([make_entry(1)], 1)
    (journal._directory / lost).unlink()
    assert reopened(journal).identity != journal.identity


def test_a_copy_has_another_identity(journal, tmp_path):
    shutil.copytree(journal._directory, tmp_path / "copy")
    assert Journal(tmp_path / "copy").identity != journal.identity


# ---- damage


def log_of(journal: Journal) -> Path:
    journal.close()
    return journal._directory / "log"


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)


def frames_at(path: Path) -> list[int]:
    content = path.read_bytes()
    return [at for at in range(len(content.rstrip(b"\0"))) if content.startswith(MAGIC, at)]


def test_it_drops_a_torn_last_record_wherever_it_was_cut(journal):
    journal.accept([make_entry(1)], 1)
    journal.accept([make_entry(2)], 2)
    path = log_of(journal)
    content, last = path.read_bytes(), frames_at(path)[-1]
    for cut in range(last, len(content.rstrip(b"\0"))):
        path.write_bytes(content[:cut] + bytes(len(content) - cut))
        again = Journal(path.parent)
        assert (again.hw, list(again.entries)) == (1, [("run-1", 1)])
        assert again.set_aside is None
        again.accept([make_entry(2)], 2)
        assert reopened(again).hw == 2


def test_it_drops_a_torn_last_record_whose_first_page_was_lost(journal):
    journal.accept([make_entry(1)], 1)
    journal.accept([make_entry(2)], 2)
    path = log_of(journal)
    content, last = bytearray(path.read_bytes()), frames_at(path)[-1]
    content[last : last + 40] = bytes(40)
    path.write_bytes(content)
    assert Journal(path.parent).hw == 1


def test_it_takes_a_file_that_ends_within_its_last_record(journal):
    journal.accept([make_entry(1)], 1)
    journal.accept([make_entry(2)], 2)
    path = log_of(journal)
    os.truncate(path, frames_at(path)[-1] + 25)
    assert Journal(path.parent).hw == 1


def test_it_gives_up_a_journal_that_is_damaged_in_the_middle(journal):
    for grant in (1, 2, 3):
        journal.accept([make_entry(grant)], grant)
    path = log_of(journal)
    damaged = path.read_bytes()
    for offset in range(frames_at(path)[1], frames_at(path)[2], 7):
        path.write_bytes(damaged)
        flip(path, offset)
        again = Journal(path.parent)
        assert (again.hw, again.entries) == (0, {})
        assert again.identity != journal.identity
        assert again.set_aside is not None and again.set_aside.exists()
        again.close()


@pytest.mark.parametrize("content", [b"", b"not a journal", b"mschedule journal 2\n" + bytes(64)])
def test_it_gives_up_a_file_that_is_no_journal(journal, content):
    journal.accept([make_entry(1)], 1)
    path = log_of(journal)
    path.write_bytes(content)
    again = Journal(path.parent)
    assert again.hw == 0 and again.set_aside is not None


def test_it_is_not_fooled_by_a_script_that_holds_a_frame(journal, tmp_path):
    """A name or an argument is text, so the magic in it is not UTF-8 and never as on disk."""
    name = (MAGIC + bytes(16)).decode("latin-1")
    spec = TaskSpec(id="t", script="", name=name, args=[name])
    journal.accept([make_entry(1, spec=spec)], 1)
    path = log_of(journal)
    assert len(frames_at(path)) == 1
    os.truncate(path, path.read_bytes().rindex(b"\xc3") + 1)
    assert Journal(path.parent).set_aside is None


# ---- compaction


def fill(journal: Journal, grants: int) -> None:
    for grant in range(journal.hw + 1, journal.hw + grants + 1):
        journal.accept([make_entry(grant)], grant)
        journal.let_go(done_of(make_entry(grant)))


def test_compaction_keeps_entries_causes_and_the_newest_done_records(small, journal):
    journal.accept([make_entry(1, run="held")], 1)
    journal.stop("held", 1, Cause.TIMEOUT)
    fill(journal, 40)
    journal._compact()
    for one in (journal, reopened(journal)):
        assert one.hw == 41
        assert one.entries["held", 1].cause is Cause.TIMEOUT
        records, floor = one.done_since(0, most=100)
        assert [record.grant for record in records] == [37, 38, 39, 40, 41]
        assert floor == 36


def test_compaction_drops_old_done_records_but_the_last_few(tmp_path, small):
    now = [1e9]
    journal = Journal(tmp_path / "journal", clock=lambda: now[0])
    fill(journal, 4)
    now[0] += agent.journal.KEEP_DONE_S + 1
    fill(journal, 1)
    journal._compact()
    assert [record.grant for record in journal.done_since(0, most=100)[0]] == [3, 4, 5]
    assert journal.floor == 2


@pytest.mark.parametrize("step", ["posix_fallocate", "fsync", "rename"])
def test_a_compaction_cut_short_loses_nothing(small, journal, monkeypatch, step):
    class Killed(BaseException):
        pass

    def die(*_args):
        raise Killed

    fill(journal, 3)
    monkeypatch.setattr(os, step, die)
    with pytest.raises(Killed):
        journal._log.replace([b"never seen"])
    monkeypatch.undo()
    again = reopened(journal)
    assert again.hw == 3
    assert len(again.done_since(0, most=100)[0]) == 3
    assert not (journal._directory / "log.new").exists()


def test_a_half_written_compaction_is_thrown_away(journal):
    fill(journal, 3)
    (journal._directory / "log.new").write_bytes(b"mschedule journal 1\n\xff\xfe")
    assert reopened(journal).hw == 3
    assert not (journal._directory / "log.new").exists()


def test_a_compaction_without_room_leaves_the_journal_in_use(small, journal, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    fill(journal, 3)
    monkeypatch.setattr(os, "posix_fallocate", full)
    journal._compact()
    fill(journal, 3)
    monkeypatch.undo()
    assert reopened(journal).hw == 6


# ---- a disk that is full, or fails


def no_more_room(monkeypatch) -> None:
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)


def test_it_accepts_and_lets_go_on_a_full_disk(journal, monkeypatch):
    no_more_room(monkeypatch)
    big = TaskSpec(id="t", script="x" * (8 << 10))
    journal.accept([make_entry(1, spec=big)], 1)
    journal.let_go(done_of(make_entry(1)))
    assert reopened(journal).hw == 1


def test_it_refuses_entries_without_room_and_still_lets_go(journal, monkeypatch):
    no_more_room(monkeypatch)
    big = TaskSpec(id="t", script="x" * (8 << 10))
    with pytest.raises(NoRoom):
        for grant in range(1, 20):
            journal.accept([make_entry(grant, spec=big)], grant)
    assert not journal.has_room()
    held = list(journal.entries.values())
    assert journal.hw == len(held) > 3
    for entry in held:
        journal.let_go(done_of(entry))
    assert reopened(journal).entries == {}


def test_it_can_be_opened_on_a_full_disk(journal, monkeypatch):
    journal.accept([make_entry(1)], 1)
    no_more_room(monkeypatch)
    assert reopened(journal).hw == 1


def test_it_takes_nothing_more_after_a_sync_that_failed(journal, monkeypatch):
    def fail(_fd):
        raise OSError(5, "Input/output error")

    journal.accept([make_entry(1)], 1)
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(JournalLost):
        journal.accept([make_entry(2)], 2)
    monkeypatch.undo()
    with pytest.raises(JournalLost):
        journal.let_go(done_of(make_entry(1)))
    assert list(journal.entries) == [("run-1", 1)]


def test_it_takes_nothing_for_synced_whose_writer_was_killed_meanwhile(journal, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow(fd: int) -> None:
        begun.set()
        go_on.wait(60)
        sync(fd)

    journal.accept([make_entry(1)], 1)
    journal._usual_sync_s = 1.0  # so that it is a thread that waits for the disk
    monkeypatch.setattr(os, "fdatasync", slow)
    first = gevent.spawn(journal.let_go, done_of(make_entry(1)))
    second = gevent.spawn(journal.accept, [make_entry(2)], 2)  # in the same frame
    try:
        until(begun.is_set, sleep=gevent.sleep)
        first.kill()
        with pytest.raises(JournalLost):
            second.get(timeout=30)
    finally:
        go_on.set()


def test_a_run_may_be_let_go_by_the_frame_that_says_why_it_was_to_be_stopped(journal):
    journal.accept([make_entry(1)], 1)
    stopping = gevent.spawn(journal.stop, "run-1", 1, Cause.CANCEL)
    gevent.spawn(journal.let_go, done_of(make_entry(1)))
    assert stopping.get(timeout=30).cause is Cause.CANCEL
    assert not reopened(journal).entries


# ---- against a model: a dict, two numbers, and a list


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("stop"), st.integers(0, 9), st.sampled_from(Cause)),
        st.tuples(st.just("let_go"), st.integers(0, 9), st.sampled_from(RunState)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
        st.tuples(st.just("compact"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(operations=OPERATIONS)
def test_it_behaves_as_a_dict_would(tmp_path, operations):
    shutil.rmtree(tmp_path / "journal", ignore_errors=True)
    journal = Journal(tmp_path / "journal")
    hw = 0
    entries: dict[tuple[str, int], Entry] = {}
    done: list[DoneRecord] = []
    for operation, number, more in operations:
        keys = list(entries)
        key = keys[number % len(keys)] if keys else None
        if operation == "accept" and number + more:
            new = [make_entry(grant) for grant in range(hw + 1, hw + number + 1)]
            hw += number + more
            journal.accept(new, hw)
            entries |= {(entry.run, entry.attempt): entry for entry in new}
        elif operation == "stop" and key:
            run, attempt = key
            entry = journal.stop(run, attempt, more)
            assert entry.cause is (entries[key].cause or more)
            entries[key] = entry
        elif operation == "let_go" and key:
            run, attempt = key
            record = DoneRecord(run, attempt, entries.pop(key).grant, more, None)
            journal.let_go(record)
            done.append(record)
        elif operation == "compact":
            journal._compact()
        elif operation == "reopen":
            journal = reopened(journal)
        assert (journal.hw, journal.entries) == (hw, entries)
        assert sorted(journal.done_since(0, most=1000)[0], key=str) == sorted(done, key=str)
    journal.close()


# ---- frames alone


@settings(max_examples=100)
@given(payloads=st.lists(st.binary(max_size=300), min_size=1, max_size=6), data=st.data())
def test_one_damaged_byte_never_loses_a_synced_frame_unseen(tmp_path, payloads, data):
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    log = FrameLog.create(path)
    ends = []
    for payload in payloads:
        log.append(payload)
        ends.append(log.size_bytes)
    log.close()
    offset = data.draw(st.integers(len(agent.framelog.VERSION_LINE), ends[-1] - 1))
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ data.draw(st.integers(1, 255))]))
    damaged = next(index for index, end in enumerate(ends) if offset < end)
    log = FrameLog(path)
    if damaged == len(payloads) - 1:
        assert list(log.load()) == payloads[:-1]
    else:
        with pytest.raises(Broken):
            list(log.load())
    log.close()
