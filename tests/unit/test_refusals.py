"""Refused attempts are written down, but nobody fills the store with them."""

from master.audit import Act
from master.database import Verb
from master.refusals import MOST_COUNTED, MOST_OF_ALL, MOST_OF_ONE, Refusals
from wire.errors import Busy, Forbidden, Internal

BOB = Act("bob", "token", "task.cancel", "t1", "10.0.0.2")


class Book:
    """What was written."""

    def __init__(self):
        self.notes = []
        self.now = 0.0
        self.full = False
        self.refusals = Refusals(self.write, lambda: self.now)

    def write(self, *notes):
        if self.full:
            raise Busy
        self.notes += notes
        return Verb(lambda done: done(None))

    def refuse(self, times, act=BOB, error=None):
        for _ in range(times):
            self.refusals.note(act, "task:t1", error or Forbidden())


def test_it_writes_who_was_refused_what():
    book = Book()
    book.refuse(1)
    (note,) = book.notes
    assert (note.act, note.object, note.result) == (BOB, "task:t1", "forbidden")


def test_it_counts_what_is_too_much_and_says_so_when_the_minute_is_over():
    book = Book()
    book.refuse(MOST_OF_ONE + 32)
    assert len(book.notes) == MOST_OF_ONE
    book.now = 61
    book.refusals.turn()
    last = book.notes[-1]
    assert (last.detail, last.act.action, last.act.address) == (
        {"left_out": 32},
        "task.cancel",
        "10.0.0.2",
    )
    book.refuse(1)
    assert len(book.notes) == MOST_OF_ONE + 2


def test_it_bounds_what_many_addresses_write_together():
    book = Book()
    for number in range(5 * MOST_COUNTED):
        book.refuse(1, Act("", "nobody", "session.start", address=f"10.{number >> 8}.{number}"))
    assert len(book.notes) == MOST_OF_ALL
    book.now = 61
    book.refusals.turn()
    told = book.notes[MOST_OF_ALL:]
    assert len(told) <= MOST_COUNTED + 1
    assert sum(note.detail["left_out"] for note in told) == 5 * MOST_COUNTED - MOST_OF_ALL


def test_what_breaks_inside_is_no_refused_attempt():
    book = Book()
    book.refuse(1, error=Internal())
    assert book.notes == []


def test_a_store_that_takes_no_more_stops_no_answer(caplog):
    book = Book()
    book.full = True
    book.refuse(1)
    assert "not in the audit log" in caplog.text
