"""What do people see of callbacks and their deliveries? Reading verbs, on committed state only."""

from typing import Any

import msgspec

from master import callback_book, callbacks
from master.callback_book import Callback
from master.callbacks import Delivery
from master.reader import Reader
from master.views import from_cursor, to_cursor
from utils import iso
from wire.callbacks import WAITING, Callbacks, CallbackView, DeliveryView, TryView
from wire.errors import InvalidValue
from wire.views import Page

LAST = "~"  # behind every id

_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


def all_callbacks(reader: Reader) -> Callbacks:
    return Callbacks([_view(reader, one) for one in callback_book.all_callbacks(reader)])


def one(reader: Reader, id: str) -> CallbackView:
    return _view(reader, callback_book.known(reader, id))


def check_known(reader: Reader, names: list[str]) -> None:
    """Raises InvalidValue for names of which there is no callback."""
    for name in names:
        if not callback_book.is_known(reader, name):
            raise InvalidValue(f"callbacks: there is no callback {name!r}", field="callbacks")


def deliveries(
    reader: Reader, callback: str, limit: int, cursor: str | None, state: str | None
) -> Page:
    """Newest first. Raises NotFound, Malformed for a cursor that is none."""
    callback_book.known(reader, callback)
    before = from_cursor(cursor, str) if cursor else LAST
    name = "deliveries_of_callback" if state is None else "deliveries_in_state"
    rows = reader.rows(
        name,
        callback=callback,
        before=before,
        limit=limit + 1,
        **({} if state is None else {"state": state}),
    )
    found = [Delivery(*row) for row in rows]
    shown = found[:limit]
    following = to_cursor(shown[-1].id) if len(found) > limit else None
    return Page([_delivery(one) for one in shown], following)


def delivery(reader: Reader, id: str) -> DeliveryView:
    """With what is delivered, and each try. Raises NotFound."""
    found = callbacks.known(reader, id)
    view = _delivery(found)
    view.payload = _decode_payload(found.payload)
    view.log = [_try(*row) for row in reader.rows("tries_of_delivery", delivery=id)]
    return view


def _view(reader: Reader, callback: Callback) -> CallbackView:
    row = reader.row("count_waiting_deliveries", callback=callback.id)
    until = callback.old_secret_until
    return CallbackView(
        id=callback.id,
        name=callback.name,
        kind=callback.kind,
        address=callback.address,
        events=callback.events,
        tasks=callback.tasks,
        names=callback.names,
        schedules=callback.schedules,
        username=callback.username,
        sender=callback.sender,
        recipients=callback.recipients,
        active=callback.active,
        problem=callback.problem,
        changed_by=callback.changed_by,
        changed_at=iso(callback.changed_at) or "",
        waiting=row[0] if row else 0,
        old_secret_until=iso(until) if until is not None and until > reader.now else None,
    )


def _delivery(found: Delivery) -> DeliveryView:
    return DeliveryView(
        id=found.id,
        callback=found.callback,
        callback_name=found.callback_name,
        event=found.event,
        object=found.object,
        state=found.state,
        reason=found.reason,
        created_at=iso(found.created_at) or "",
        tries=found.tries,
        next_at=iso(found.next_at) if found.state == WAITING else None,
        ended_at=iso(found.ended_at),
    )


def _try(
    number: int, at: float, took_s: float, status: int | None, error: str, answer: bytes
) -> TryView:
    return TryView(
        number=number,
        at=iso(at) or "",
        took_ms=round(took_s * 1000, 1),
        status=status,
        error=error,
        answer=bytes(answer).decode(errors="replace"),
    )
