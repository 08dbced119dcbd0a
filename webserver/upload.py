"""How do very many items reach the master? In parts, one after another, each of them confirmed.

An upload has a name, and each part says how many items of it came before, so that a part whose
answer was lost is sent again and counts once. So does a whole upload that is repeated.
"""

import asyncio
from collections.abc import AsyncIterable

from webserver.context import Caller, Master
from webserver.items import Lines, Parts
from wire.errors import Refusal, Unavailable
from wire.queues import AddItems, ItemsAdded

PATIENCE_S = 20.0  # for a master that is away or busy, before the upload ends with 503
PAUSE_S = 0.5


class Upload:
    """Sends the items of one upload to one task; `stored` is the last that the master said."""

    def __init__(self, master: Master, caller: Caller, task: str, name: str):
        self._master = master
        self._caller = caller
        self._task = task
        self._name = name
        self._sent = 0
        self.stored: ItemsAdded | None = None

    async def send(self, part: list[str]) -> None:
        """Once it returns the part is in the store. Raises the Refusal, with what is stored."""
        ask = AddItems(self._caller.auth, self._task, self._name, self._sent, part)
        try:
            self.stored = await self._confirmed(ask)
        except Refusal as refusal:
            raise self.explained(refusal) from refusal
        self._sent += len(part)

    async def _confirmed(self, ask: AddItems) -> ItemsAdded:
        """Asked again while the master is away: a part that it has already counts once."""
        give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                return await self._master.call("add_items", ask, ItemsAdded)
            except Refusal as refusal:
                late = asyncio.get_running_loop().time() >= give_up_at
                if refusal.status != Unavailable.status or late:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def finish(self) -> ItemsAdded:
        """What there is now; also of an upload without any item."""
        if self.stored is None:
            await self.send([])
        assert self.stored is not None  # each send sets it
        return self.stored

    def explained(self, refusal: Refusal) -> Refusal:
        """The refusal with how much of the upload stays, and how to go on."""
        accepted = self.stored.accepted if self.stored else 0
        sentence = (
            f"{refusal.message.rstrip('.')}. {accepted:,} items of this upload are in the task; "
            f"sent again with the header Idempotency-Key: {self._name} they count once"
        )
        details = {"accepted": accepted, "idempotency_key": self._name}
        return type(refusal)(
            sentence, field=refusal.field, details=(refusal.details or {}) | details
        )


async def send_lines(upload: Upload, pieces: AsyncIterable[bytes], lines: Lines) -> ItemsAdded:
    """All items of a text; the next piece is read when what came before is in the store."""
    parts = Parts()
    try:
        async for piece in pieces:
            for item in lines.feed(piece):
                for part in parts.add(item):
                    await upload.send(part)
        for item in lines.end():
            for part in parts.add(item):
                await upload.send(part)
    except Refusal as refusal:
        raise _once(upload, refusal) from refusal
    for part in parts.end():
        await upload.send(part)
    return await upload.finish()


def _once(upload: Upload, refusal: Refusal) -> Refusal:
    """What `send` raised says already how much is stored."""
    told = "accepted" in (refusal.details or {})
    return refusal if told else upload.explained(refusal)
