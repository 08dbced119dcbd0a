"""Which web servers may speak to the master? Their keys: let in, listed, revoked.

A key is revoked at the command line, by another process than the master that serves. So the row
says twice what became of it: that it was revoked, and since when the serving master refuses it.
Only then the command is done.
"""

from msgspec import Struct

from master import audit, joining
from master.audit import Act
from master.changes import Peer
from master.database import Database, Verb
from master.reader import Reader
from master.transaction import Needs, Tx
from wire.errors import Conflict, NotFound, Refused
from wire.keys import fingerprint

DIRECT = Needs(direct=True)


class WebServer(Struct, frozen=True):
    """A row. `address`: from where it enrolled; "" where that was not written down yet."""

    key: str
    address: str
    created_at: float
    revoked_at: float | None
    refused_since: float | None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)


class WebServers:
    """The part of a Storage that is about web servers."""

    def __init__(self, database: Database):
        self._database = database

    def enrol(self, key: str, token: str | None, act: Act) -> Verb[Peer]:
        """With a join token, which a key that is known does not use up. Raises NotEnrolled,
        Conflict, Refused."""
        return self._database.writing(lambda tx: _enrol(tx, key, token, act), DIRECT)

    def keys(self) -> Verb[list[str]]:
        """Of those that are not revoked."""
        return self._database.reading(lambda reader: [row[0] for row in reader.rows("web_keys")])

    def all(self) -> Verb[list[WebServer]]:
        """Oldest first, with those that were revoked."""
        return self._database.reading(_all)

    def revoke(self, fingerprint: str, act: Act) -> Verb[WebServer]:
        """For good: what comes in its place makes a key of its own. Repeating it changes nothing.
        Raises NotFound."""
        return self._database.writing(lambda tx: _revoke(tx, fingerprint, act), DIRECT)

    def to_refuse(self) -> Verb[list[str]]:
        """Keys that were revoked, and of which the master that serves does not know it yet."""
        return self._database.reading(
            lambda reader: [row[0] for row in reader.rows("peers_to_refuse")]
        )

    def refused(self, keys: list[str]) -> Verb[None]:
        """The master that serves knows of these."""
        return self._database.writing(lambda tx: _refused(tx, keys), DIRECT)


def _enrol(tx: Tx, key: str, token: str | None, act: Act) -> Peer:
    if tx.row("agent_by_key", key=key) is not None:
        raise Conflict("this key belongs to an agent")
    known = tx.row("peer", key=key)
    if known is None:
        joining.use(tx, token, "web")
        tx.execute("insert_peer", key=key, role="web", label="", address=act.address, now=tx.now)
        audit.append(tx, act, f"web:{fingerprint(key)}")
    elif known[2] is not None:
        raise Refused("this key was revoked; a web server in its place takes a new state directory")
    return Peer(key, "web")


def _all(reader: Reader | Tx) -> list[WebServer]:
    found = [WebServer(*row) for row in reader.rows("web_servers")]
    return sorted(found, key=lambda web: (web.created_at, web.key))


def _revoke(tx: Tx, fingerprint: str, act: Act) -> WebServer:
    for web in _all(tx):
        if web.fingerprint == fingerprint:
            if tx.execute("revoke_peer", key=web.key, now=tx.now):
                audit.append(tx, act, f"web:{fingerprint}", address=web.address)
            return web
    raise NotFound(f"no web server has a key with the fingerprint {fingerprint}")


def _refused(tx: Tx, keys: list[str]) -> None:
    for key in keys:
        tx.execute("peer_is_refused", key=key, now=tx.now)
