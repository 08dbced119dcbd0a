"""What can be done with callbacks? Verbs of the store, as in master/storage.py."""

from collections.abc import Mapping, Sequence

from master import callback_book, callback_views, callbacks
from master.audit import Act
from master.callback_book import Callback
from master.callbacks import Due
from master.database import Database, Urgency, Verb
from master.transaction import Needs
from wire.callbacks import Callbacks, CallbackView, DeliveryView
from wire.letters import Reply
from wire.views import Page

DIRECT = Needs(direct=True)


class CallbackStore:
    """The part of a Storage that is about callbacks."""

    def __init__(self, database: Database):
        self._database = database

    # ---- callbacks

    def all(self) -> Verb[Callbacks]:
        """By name."""
        return self._database.reading(callback_views.all_callbacks)

    def one(self, id: str) -> Verb[CallbackView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: callback_views.one(reader, id))

    def record_of(self, id: str) -> Verb[Callback]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: callback_book.known(reader, id))

    def check_known(self, names: list[str]) -> Verb[None]:
        """Raises InvalidValue for a name of which there is none."""
        return self._database.reading(lambda reader: callback_views.check_known(reader, names))

    def add(self, callback: Callback, act: Act) -> Verb[Callback]:
        """Raises Conflict."""
        return self._database.writing(lambda tx: callback_book.add(tx, callback, act), DIRECT)

    def change(self, callback: Callback, seen_at: float, act: Act) -> Verb[Callback]:
        """Raises NotFound, Conflict."""
        return self._database.writing(
            lambda tx: callback_book.change(tx, callback, seen_at, act), DIRECT
        )

    def remove(self, id: str, act: Act) -> Verb[None]:
        """Raises NotFound."""
        return self._database.writing(lambda tx: callback_book.remove(tx, id, act), DIRECT)

    def test(self, id: str, act: Act) -> Verb[str]:
        """The id of the delivery. Raises NotFound, Conflict."""
        return self._database.writing(lambda tx: callbacks.test(tx, id, act), DIRECT)

    # ---- deliveries

    def deliveries(
        self, callback: str, limit: int, cursor: str | None, state: str | None
    ) -> Verb[Page]:
        """Page of DeliveryView, newest first. Raises NotFound."""
        return self._database.reading(
            lambda reader: callback_views.deliveries(reader, callback, limit, cursor, state)
        )

    def delivery(self, id: str) -> Verb[DeliveryView]:
        """With its payload and its tries. Raises NotFound."""
        return self._database.reading(lambda reader: callback_views.delivery(reader, id))

    def resend(self, id: str, act: Act) -> Verb[None]:
        """Raises NotFound, Conflict."""
        return self._database.writing(lambda tx: callbacks.resend(tx, id, act), DIRECT)

    def due(self, busy: Mapping[str, frozenset[str]], most: int) -> Verb[tuple[list[Due], bool]]:
        """What is to be tried now, and whether there is any callback."""
        return self._database.reading(lambda reader: callbacks.due(reader, busy, most))

    def record(self, replies: Sequence[Reply], patience_s: float) -> Verb[None]:
        """How tries went."""
        return self._database.writing(
            lambda tx: callbacks.record(tx, replies, patience_s), DIRECT, Urgency.CHANGE
        )

    def forget(self, before: float, limit: int) -> Verb[int]:
        """Deliveries that ended before then; how many are gone."""
        return self._database.writing(lambda tx: callbacks.forget(tx, before, limit), DIRECT)
