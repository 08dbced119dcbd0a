"""How do clients connect? Sockets that accept only as many as there are places for.

Each connection is counted from the accept on, so that those that never finish a TLS handshake,
too, are only as many as may be.
"""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Callable

from aiohttp import web

from utils import StartError
from webserver.connections import Connection, Limits, Place, Places, plain_answer
from webserver.proxies import Address, Proxies, parsed_address

log = logging.getLogger(__name__)

BACKLOG = 512
HANDSHAKE_S = 10.0
STALLED_S = 60  # for a client to take something of what is sent to it
PAUSE_S = 1.0  # while the machine has no room for one more connection
SPARE_FILES = 100  # descriptors for all but connections
COMPLAIN_S = 60.0

FULL = plain_answer("503 Service Unavailable", "too many connections", "Retry-After: 2")

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts for an application that its runner has set up; closed before the runner."""

    def __init__(
        self,
        server: web.Server,
        proxies: Proxies,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ):
        self._server = server
        self._proxies = proxies
        self._tls = tls
        self._limits = limits or Limits()
        self.places = Places(self._limits)
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._complained_at = float("-inf")

    async def listen(self, host: str, port: int) -> list[tuple[str, int]]:
        """Listen on every address of `host`; where that is, once it is so. OSError if not."""
        found = await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            opened = socket.create_server(address[:2], family=family, backlog=BACKLOG)
            opened.setblocking(False)
            self._sockets.append(opened)
            self._loop.add_reader(opened, self._accept_some, opened)
        return [opened.getsockname()[:2] for opened in self._sockets]

    def close(self) -> None:
        """No new connections; those that are there are the runner's to end."""
        for opened in self._sockets:
            self._loop.remove_reader(opened)
            opened.close()
        self._sockets.clear()
        self.places.close()

    def _accept_some(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._no_room(listening, error)
                return
            accepted.setblocking(False)
            self._admit(accepted, parsed_address(str(peer[0])))

    def _no_room(self, listening: socket.socket, error: OSError) -> None:
        """The machine has no more: somebody who does nothing makes room, and then again."""
        if error.errno not in _NO_ROOM:
            raise error
        self._complain(f"no connection can be accepted now ({error.strerror}); trying again")
        self.places.clear_one()
        self._loop.remove_reader(listening)
        self._loop.call_later(PAUSE_S, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept_some, listening)

    def _admit(self, accepted: socket.socket, peer: Address | None) -> None:
        # Behind these are many people; and who is on this machine can do worse.
        free = peer is None or peer.is_loopback or self._proxies.trusts(peer)
        place = self.places.take(_counted(peer), free=free)
        if place is None:
            self._complain(f"too many connections: {len(self.places)}, turning away {peer}")
            self._turn_away(accepted)
            return
        place.opening = self._loop.create_task(self._open(accepted, place))

    async def _open(self, accepted: socket.socket, place: Place) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_S * 1000)
        handshake_s = HANDSHAKE_S if self._tls else None
        try:
            await self._loop.connect_accepted_socket(
                self._maker(place), accepted, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except (OSError, asyncio.CancelledError) as error:
            log.debug(f"a connection from {place.address} was never opened: {error}")
            self.places.leave(place)
            accepted.close()

    def _maker(self, place: Place) -> Callable[[], Connection]:
        return lambda: Connection(self._server, place, self.places, self._limits)

    def _turn_away(self, accepted: socket.socket) -> None:
        """Said in plain HTTP, as far as it goes out at once; a TLS client is only hung up on."""
        if self._tls is None:
            with contextlib.suppress(OSError):
                accepted.recv(1 << 16)  # what is left unread at the end would cut the answer off
            with contextlib.suppress(OSError):
                accepted.send(FULL)
        accepted.close()

    def _complain(self, words: str) -> None:
        """Once in a while, however often it happens."""
        if self._loop.time() - self._complained_at >= COMPLAIN_S:
            self._complained_at = self._loop.time()
            log.warning(words)


def _counted(peer: Address | None) -> str:
    """By what an address is counted: of IPv6 the network, which a client has to itself."""
    if peer is not None and peer.version == 6:
        return f"{peer.exploded[:19]}::/64"
    return str(peer)


def limits_of_this_machine() -> Limits:
    """As many connections as the files that this process may open leave room for."""
    limits = Limits()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.most + SPARE_FILES
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= wanted:
        return limits
    if soft <= 2 * SPARE_FILES:
        raise StartError(f"only {soft} files may be open here; allow {wanted}: ulimit -n {wanted}")
    log.warning(f"only {soft} files may be open here: {soft - SPARE_FILES} connections at most")
    return Limits(most=soft - SPARE_FILES)
