"""How is one request made? Redirects are followed by hand, each address judged; one KB is read."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from msgspec import Struct
from yarl import URL

from postman.adapters.outgoing import Outgoing
from postman.addresses import Doorkeeper
from utils import VERSION
from wire.letters import MOST_OF_ANSWER_BYTES

MOST_REDIRECTS = 3
ANSWER_S = 5.0  # for the answer's body, whose beginning is all that is wanted
AGAIN = (307, 308)  # redirects that keep method and body


class PostProblem(Exception):
    """There was no answer that could be judged."""


class Answered(Struct, frozen=True):
    status: int
    beginning: bytes
    retry_after_s: float | None = None


def make_session(
    keeper: Doorkeeper, timeout_s: float, trust: ssl.SSLContext
) -> aiohttp.ClientSession:
    """One for all letters. How many are under way at once is for the master to bound."""

    def judged(found: tuple[Any, ...]) -> socket.socket:
        return keeper.socket_for(found)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, force_close=True, use_dns_cache=False, socket_factory=judged, ssl=trust
        ),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": f"mschedule/{VERSION}", "Accept-Encoding": "identity"},
    )


async def post(session: aiohttp.ClientSession, outgoing: Outgoing) -> Answered:
    """Raises PostProblem, aiohttp.ClientError, OSError, TimeoutError."""
    url = URL(outgoing.url)
    for _ in range(MOST_REDIRECTS + 1):
        async with session.post(
            url, data=outgoing.body, headers=outgoing.headers, allow_redirects=False
        ) as response:
            if response.status not in AGAIN:
                return await _answered(response)
            url = _next(url, response.headers.get("Location"))
    raise PostProblem(f"more than {MOST_REDIRECTS} redirects")


def _next(url: URL, location: str | None) -> URL:
    if not location:
        raise PostProblem("a redirect without Location")
    try:
        found = url.join(URL(location))
    except ValueError:
        raise PostProblem(f"a redirect to {location[:100]!r}, which is no URL") from None
    if found.scheme not in ("http", "https") or not found.host:
        raise PostProblem(f"a redirect to {found.scheme or 'nothing'}, which is not followed")
    if url.scheme == "https" and found.scheme == "http":
        raise PostProblem("a redirect from https to http, which is not followed")
    return found


async def _answered(response: aiohttp.ClientResponse) -> Answered:
    return Answered(response.status, await _beginning(response), _retry_after_s(response.headers))


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The status counts also if the rest is slow or breaks off."""
    content = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(ANSWER_S):
            while len(content) < MOST_OF_ANSWER_BYTES:
                more = await response.content.read(MOST_OF_ANSWER_BYTES - len(content))
                if not more:
                    break
                content += more
    return content


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds alone: a date is rare, and the pauses grow by themselves."""
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None
