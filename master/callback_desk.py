"""What can people do about callbacks? Each method answers one call of the web, in a greenlet."""

import os
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from master.audit import Act
from master.board import check_limit
from master.callback_book import Callback
from master.callback_rules import SIGNED, address_of, check, new_secret
from master.callback_store import CallbackStore
from master.ids import new_id
from master.rights import Person
from master.secrets import Sealed, Values, Vault
from utils import getLogger
from wire.callbacks import (
    STATES,
    AddCallback,
    Callbacks,
    CallbackView,
    CallbackWish,
    ChangeCallback,
    DeliveryView,
    KeptCallback,
    ListDeliveries,
)
from wire.errors import InvalidValue, SecretsUnreadable
from wire.requests import ById, JustAuth
from wire.views import Page

log = getLogger(__name__)

SECRET_BYTES = 32
OLD_SECRET_S = 86400.0  # a receiver has a day to learn the new one
_DESTINATION = "destination"
_OF_ROW = ("name", "kind", "events", "tasks", "names", "schedules", "username", "sender",
           "recipients", "active")  # fmt: skip


class Destination(Struct, frozen=True):
    """What of a callback is sealed."""

    url: str
    secret: str
    old_secret: str = ""  # signs beside the other until the row says that it does no longer

    def __repr__(self) -> str:
        return "Destination"


def sealed(vault: Vault, id: str, destination: Destination) -> Sealed:
    text = msgspec.json.encode(destination).decode()
    return vault.seal(_place(id), Values({_DESTINATION: text}))[0]


def opened(vault: Vault, callback: Callback) -> Destination:
    """Raises SecretsUnreadable."""
    one = Sealed(_DESTINATION, "variable", callback.key_id, callback.sealed)
    try:
        text = vault.open(_place(callback.id), [one]).variables[_DESTINATION]
    except SecretsUnreadable:
        raise SecretsUnreadable(
            f"URL and secret of callback {callback.name} do not open with the master's key: set "
            "them anew, or bring back the secrets.key of then"
        ) from None
    return msgspec.json.decode(text, type=Destination)


def _place(id: str) -> str:
    return f"callback {id}"


class CallbackDesk:
    """`wake` is called when there may be something to deliver."""

    def __init__(
        self,
        store: CallbackStore,
        vault: Vault,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ):
        self._store = store
        self._vault = vault
        self._wake = wake
        self._clock = clock

    def get_callbacks(self, person: Person, asked: JustAuth) -> Callbacks:
        """All of them; of URLs only what is no secret."""
        return self._store.all().wait()

    def get_callback(self, person: Person, asked: ById) -> CallbackView:
        return self._store.one(asked.id).wait()

    def add_callback(self, person: Person, asked: AddCallback, act: Act) -> KeptCallback:
        """The answer has the secret, if it was made here; nobody can read it again."""
        wish, made = _with_secret(asked.callback)
        check(wish)
        destination = Destination(wish.url, wish.secret)
        callback = self._store.add(self._row(new_id(), wish, destination, None), act).wait()
        log.info(f"callback {callback.name} to {callback.address} added by {person.name}")
        return KeptCallback(self._store.one(callback.id).wait(), made)

    def change_callback(self, person: Person, asked: ChangeCallback, act: Act) -> KeptCallback:
        """`secret` "" makes a new one for a callback in JSON. The one before signs for another
        day."""
        before = self._store.record_of(asked.id).wait()
        given = msgspec.structs.asdict(asked.changes)
        changes = {name: value for name, value in given.items() if value is not UNSET}
        known: dict[str, Any] = {name: getattr(before, name) for name in _OF_ROW}
        where = self._where(before, changes)
        found = {"url": where.url, "secret": where.secret}
        wish, made = _with_secret(CallbackWish(**{**known, **found, **changes}))
        check(wish)
        old, until = where.old_secret, before.old_secret_until
        if wish.kind == SIGNED and where.secret and where.secret != wish.secret:
            old, until = where.secret, self._clock() + OLD_SECRET_S
        destination = Destination(wish.url, wish.secret, old)
        row = self._row(before.id, wish, destination, until)
        self._store.change(row, before.changed_at, act).wait()
        log.info(f"callback {wish.name} changed by {person.name}")
        self._wake()
        return KeptCallback(self._store.one(before.id).wait(), made)

    def remove_callback(self, person: Person, asked: ById, act: Act) -> CallbackView:
        """What it was."""
        view = self._store.one(asked.id).wait()
        self._store.remove(asked.id, act).wait()
        log.info(f"callback {view.name} removed by {person.name}")
        return view

    def test_callback(self, person: Person, asked: ById, act: Act) -> DeliveryView:
        """Delivered at once, and in the log like all others."""
        delivery = self._store.test(asked.id, act).wait()
        self._wake()
        return self._store.delivery(delivery).wait()

    def get_deliveries(self, person: Person, asked: ListDeliveries) -> Page:
        limit = check_limit(asked.limit)
        if asked.state is not None and asked.state not in STATES:
            raise InvalidValue(
                f"state is {asked.state!r}; it takes one of {', '.join(STATES)}", field="state"
            )
        return self._store.deliveries(asked.callback, limit, asked.cursor, asked.state).wait()

    def get_delivery(self, person: Person, asked: ById) -> DeliveryView:
        return self._store.delivery(asked.id).wait()

    def resend_delivery(self, person: Person, asked: ById, act: Act) -> DeliveryView:
        """Under the same id, for another day."""
        self._store.resend(asked.id, act).wait()
        self._wake()
        return self._store.delivery(asked.id).wait()

    def _where(self, before: Callback, changes: dict[str, Any]) -> Destination:
        """URL and secret as they were. Raises SecretsUnreadable if one of them is to stay."""
        try:
            return opened(self._vault, before)
        except SecretsUnreadable:
            if "url" in changes and "secret" in changes:
                return Destination("", "")
            raise

    def _row(
        self, id: str, wish: CallbackWish, destination: Destination, until: float | None
    ) -> Callback:
        """`until`: when the old secret signs no more."""
        one = sealed(self._vault, id, destination)
        return Callback(
            old_secret_until=until,
            id=id,
            address=address_of(wish.url),
            problem="",
            changed_by="",  # the store sets it, with the time
            changed_at=0.0,
            key_id=one.key_id,
            sealed=one.content,
            **{name: getattr(wish, name) for name in _OF_ROW},
        )


def _with_secret(wish: CallbackWish) -> tuple[CallbackWish, str | None]:
    """The wish, and the secret that was made for it."""
    if wish.kind != SIGNED or wish.secret:
        return wish, None
    made = new_secret(os.urandom(SECRET_BYTES))
    return msgspec.structs.replace(wish, secret=made), made
