"""How much may a client hold? A connection's limits of time and size, and how many there may be.

Whoever sends slowly, or nothing, keeps a place only until somebody else needs it: with all
places taken, the connection that has been without a request for longest makes room.
"""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from webserver.logs import NAME, AccessLog, unexcited

IDLE_S = 75.0  # between two requests; longer than proxies keep theirs idle
HEAD_S = 20.0  # from the first byte of a request to the end of its headers
LINE_BYTES = 16 << 10  # of the request line, and of one header
HEADERS = 100  # of one request
MOST = 4_000
MOST_OF_ONE = 250  # from one address, which may stand for many people behind it


@dataclass(frozen=True)
class Limits:
    """What may be changed of it in tests."""

    most: int = MOST
    most_of_one: int = MOST_OF_ONE
    idle_s: float = IDLE_S
    head_s: float = HEAD_S


class Place:
    """One of the places that connections take, from the accept on; `connection` once it stands."""

    def __init__(self, address: str, free: bool):
        self.address = address
        self.free = free  # not counted for its address
        self.opening: asyncio.Task[None] | None = None
        self.connection: Connection | None = None

    def clear(self) -> None:
        """Whoever has it is sent away: in a handshake, or with no request under way."""
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        elif self.connection is not None:
            self.connection.force_close()


class Places:
    """Who has a place, and who is without a request, the one for longest first."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._taken: set[Place] = set()
        self._idle: dict[Place, None] = {}
        self._by_address: dict[str, set[Place]] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def __contains__(self, place: object) -> bool:
        return place in self._taken

    def take(self, address: str, *, free: bool = False) -> Place | None:
        """A place, if need be that of another; None when all are at work.

        `free`: many people come from the address, such as a proxy's.
        """
        of_one = self._by_address.get(address, set())
        if not free and len(of_one) >= self._limits.most_of_one and not self._clear_one(of_one):
            return None
        if len(self._taken) >= self._limits.most and not self._clear_one(None):
            return None
        place = Place(address, free)
        self._taken.add(place)
        self._idle[place] = None
        if not free:
            self._by_address.setdefault(address, set()).add(place)
        return place

    def leave(self, place: Place) -> None:
        self._taken.discard(place)
        self._idle.pop(place, None)
        if of_one := self._by_address.get(place.address):
            of_one.discard(place)
            if not of_one:
                del self._by_address[place.address]

    def works(self, place: Place) -> None:
        """It has a request under way, and is not sent away now."""
        self._idle.pop(place, None)

    def rests(self, place: Place) -> None:
        if place in self._taken:
            self._idle[place] = None

    def clear_one(self) -> bool:
        """Send away who has been without a request for longest; False: nobody is."""
        return self._clear_one(None)

    def close(self) -> None:
        """No handshake goes on; connections that stand are not touched."""
        for place in list(self._taken):
            if place.opening is not None:
                place.opening.cancel()

    def _clear_one(self, among: set[Place] | None) -> bool:
        place = next((one for one in self._idle if among is None or one in among), None)
        if place is None:
            return False
        self.leave(place)
        place.clear()
        return True


class Connection(web.RequestHandler):
    """One connection: as aiohttp serves it, with a time limit for headers, and plain refusals."""

    __slots__ = ("_at_work", "_head_s", "_late", "_place", "_places")

    def __init__(self, server: web.Server, place: Place, places: Places, limits: Limits):
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log_class=AccessLog,
            # Counted from the end of the last answer, whatever has arrived since.
            keepalive_timeout=limits.idle_s,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=HEADERS,
            logger=unexcited(),
        )
        self._head_s = limits.head_s
        self._places = places
        self._place = place
        self._at_work = False
        self._late: asyncio.TimerHandle | None = None  # runs while headers are awaited
        place.connection = self

    def data_received(self, data: bytes) -> None:
        if self._late is None and not self._at_work:
            self._late = asyncio.get_running_loop().call_later(self._head_s, self._give_up)
        super().data_received(data)

    def works(self) -> None:
        """A request has come with all its headers."""
        self._at_work = True
        self._stop_waiting()
        self._places.works(self._place)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp's last step of a request: from then on the connection may make room."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._at_work = False
            self._places.rests(self._place)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        self._places.leave(self._place)
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.transport is not None:
            self.transport.write(plain_answer("408 Request Timeout", "the headers took too long"))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """For what never became a request that the application could answer."""
        super().handle_error(request, status, exc, message)  # the log, and whether it is too late
        text = "something broke" if status >= 500 else "the request cannot be read"
        response = web.Response(status=status, text=f"{status}: {text}\n")
        response.headers["Server"] = NAME
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.force_close()
        return response


def plain_answer(status: str, text: str, *headers: str) -> bytes:
    """An answer where there is no request to answer; the connection ends with it."""
    body = f"{status[:3]}: {text}\n"
    head = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Server: {NAME}",
        "Connection: close",
        *headers,
    )
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()
