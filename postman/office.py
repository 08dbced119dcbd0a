"""What does the postman do? Reads letters from the master, tries each once, and tells how it went.

It decides nothing: what is tried, when and how often again is the master's to say. It ends with
the connection, however the master ends.
"""

import asyncio
import os
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import msgspec

from postman import mail
from postman.adapters import ADAPTERS, EMAIL, email
from postman.addresses import Doorkeeper, RefusedAddress
from postman.mail import MailProblem
from postman.post import Answered, PostProblem, make_session, post
from utils import getLogger, set_up_logging
from wire.letters import HEAD, Letter, Reply, Rules, framed, size_of

log = getLogger(__name__)

MAIL_SLACK = 2  # a mail takes several exchanges
MASTER = 0  # the descriptor of the socket that the master has given us as standard input
THREADS = 256  # for names and mails: as many as letters can be under way
GONE = 410
NO_KNOWN_AUTHORITY = (18, 19, 20, 21)  # of OpenSSL: self-signed, or nobody knows its issuer


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the master ends us
    set_up_logging("warning")
    asyncio.run(_run())
    return 0


async def _run() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="postman"))
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=MASTER))
    rules = msgspec.msgpack.decode(await _frame(reader), type=Rules)
    office = Office(rules, writer)
    try:
        while True:
            office.take(msgspec.msgpack.decode(await _frame(reader), type=Letter))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the master has ended, or wants this to
    finally:
        await office.close()
        os._exit(0)  # no thread that still waits for a mail server is waited for


async def _frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(size_of(await reader.readexactly(HEAD.size)))


class Office:
    """Letters under way, each in a task of its own."""

    def __init__(self, rules: Rules, writer: asyncio.StreamWriter):
        self._rules = rules
        self._writer = writer
        self._keeper = Doorkeeper(rules.allow)
        self._trust = ssl.create_default_context()
        if rules.ca:
            self._trust.load_verify_locations(cadata=rules.ca)
        self._session = make_session(self._keeper, rules.timeout_s, self._trust)
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, letter: Letter) -> None:
        task = asyncio.create_task(self._deliver(letter))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await self._session.close()

    async def _deliver(self, letter: Letter) -> None:
        began_s = time.monotonic()
        reply = await self._tried(letter)
        reply = msgspec.structs.replace(reply, took_s=time.monotonic() - began_s)
        self._writer.write(framed(reply))
        await self._writer.drain()

    async def _tried(self, letter: Letter) -> Reply:
        try:
            if letter.kind == EMAIL:
                return await self._mail(letter)
            return await self._post(letter)
        except Exception as error:
            if not isinstance(error, _EXPECTED):
                log.exception(f"letter {letter.id} could not be tried")
            status = error.status if isinstance(error, MailProblem) else None
            return Reply(letter.id, status, self._told(error), b"", 0.0)

    async def _post(self, letter: Letter) -> Reply:
        adapter = ADAPTERS[letter.kind]
        outgoing = adapter.make(letter, self._rules.web_url, time.time())
        answered = await post(self._session, outgoing)
        return Reply(
            letter.id,
            answered.status,
            _problem(answered) or adapter.problem(answered.beginning),
            answered.beginning,
            0.0,
            retry_after_s=answered.retry_after_s,
            gone=answered.status == GONE,
        )

    async def _mail(self, letter: Letter) -> Reply:
        message = email.make(letter, self._rules.web_url, time.time())
        timeout_s = self._rules.timeout_s
        async with asyncio.timeout(MAIL_SLACK * timeout_s):
            said = await asyncio.to_thread(
                mail.send, letter, message, self._keeper, timeout_s, self._trust
            )
        return Reply(letter.id, 250, "", said.encode(), 0.0)

    def _told(self, error: Exception) -> str:
        """A sentence; never the URL, which may be a secret."""
        match error:
            case TimeoutError():
                return f"no answer within {self._rules.timeout_s:g} s"
            case aiohttp.ClientConnectorCertificateError():
                return _distrust(error.certificate_error)
            case aiohttp.ClientConnectorError():
                return f"no connection: {error.os_error.strerror or error.os_error}"
            case RefusedAddress() | PostProblem() | MailProblem():
                return str(error)
            case ssl.SSLCertVerificationError():
                return _distrust(error)
            case ssl.SSLError() | OSError():
                return f"no connection: {error.strerror or error}"
            case aiohttp.ClientError():
                return f"the connection broke: {type(error).__name__}"
        return f"this callback cannot be sent: {type(error).__name__}"


_EXPECTED = (aiohttp.ClientError, OSError, TimeoutError, PostProblem, MailProblem)


def _distrust(error: Exception) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error}"
    of_nobody = error.verify_code in NO_KNOWN_AUTHORITY
    hint = "; the master's setting callback_ca says which others to trust" if of_nobody else ""
    return f"its certificate is not trusted: {error.verify_message}{hint}"


def _problem(answered: Answered) -> str:
    if 200 <= answered.status < 300:
        return ""
    if 300 <= answered.status < 400:
        return f"it answered {answered.status}, a redirect that would lose the content"
    return f"it answered {answered.status}"
