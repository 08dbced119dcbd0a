"""What happens to connections that never become a request that can be read, and to too many."""

import asyncio
import logging
import ssl

import pytest
from aiohttp import web

from webserver.connections import Limits, Place, Places
from webserver.proxies import Proxies, networks

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def port(listening):
    return (await listening())[1]


async def connect(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def answer(reader):
    """All that comes until the connection is closed."""
    return (await asyncio.wait_for(reader.read(), 60)).decode()


async def one_answer(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return (head + await reader.readexactly(length)).decode()


async def test_it_says_so_when_the_head_of_a_request_takes_too_long(listening):
    _, port = await listening(limits=Limits(head_s=0.2))
    reader, writer = await connect(port)
    dripping = asyncio.create_task(drip(writer))
    # To its end, no further, and in one go: what is still dripping then makes the other side
    # reset, and a stream that was reset no longer gives what it has.
    text = await asyncio.wait_for(reader.readuntil(b"the headers took too long\n"), 60)
    assert text.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    await dripping


async def drip(writer):
    """A header that never ends, until the other side has had enough."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    try:
        for n in range(10_000):
            writer.write(b"X: 1" if n == 0 else b"1")
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        return
    finally:
        writer.close()


async def test_it_counts_the_time_of_each_head_anew(listening):
    _, port = await listening(limits=Limits(head_s=1.5))
    reader, writer = await connect(port)
    for _ in range(4):
        writer.write(HEALTH[:20])
        await asyncio.sleep(0.5)
        writer.write(HEALTH[20:])
        assert (await one_answer(reader)).startswith("HTTP/1.1 200")
    writer.close()


async def test_it_closes_a_connection_that_never_sends_anything(listening):
    _, port = await listening(limits=Limits(idle_s=0.2))
    reader, writer = await connect(port)
    assert await answer(reader) == ""
    writer.close()


async def test_it_closes_a_connection_that_is_used_no_more(listening):
    _, port = await listening(limits=Limits(idle_s=0.2))
    reader, writer = await connect(port)
    writer.write(HEALTH)
    assert (await answer(reader)).startswith("HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /task HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_it_answers_nonsense_shortly_and_tells_no_version(port, nonsense, caplog):
    caplog.set_level(logging.DEBUG)
    reader, writer = await connect(port)
    writer.write(nonsense)
    writer.write_eof()
    head = await answer(reader)
    writer.close()
    if head:  # of what is no line at all, the rest is waited for
        assert " 400 " in head
        assert "Server: mschedule" in head
        assert "yyyy" not in head and "aaaa" not in head
    assert "aiohttp/" not in head
    assert "Traceback" not in caplog.text


async def test_it_says_in_its_own_words_that_it_cannot_read_a_request(port, caplog):
    caplog.set_level(logging.INFO)
    reader, writer = await connect(port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nsecret\x00: hidden\r\n\r\n")
    assert (await answer(reader)).endswith("\r\n\r\n400: the request cannot be read\n")
    writer.close()
    assert "hidden" not in caplog.text


# ---- how many there may be


async def opened(port, n):
    """Connections that have been answered once and now wait."""
    made = []
    for _ in range(n):
        reader, writer = await connect(port)
        writer.write(HEALTH)
        await one_answer(reader)
        made.append((reader, writer))
    return made


async def test_it_lets_go_of_who_waits_longest_when_all_places_are_taken(listening):
    listener, port = await listening(limits=Limits(most=3))
    first, second, third = await opened(port, 3)
    first[1].write(HEALTH)  # used last, so it stays
    await one_answer(first[0])
    [fourth] = await opened(port, 1)
    assert await answer(second[0]) == ""
    for reader, writer in (first, third, fourth):
        writer.write(HEALTH)
        assert (await one_answer(reader)).startswith("HTTP/1.1 200")
    assert len(listener.places) == 3
    for _, writer in (first, second, third, fourth):
        writer.close()


async def test_it_turns_away_when_every_place_is_at_work(listening, master):
    under_way, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(_):
        under_way.release()
        await go.wait()
        return web.HTTPNotFound()

    master.answer("get_tasks", slow)
    _, port = await listening(limits=Limits(most=2))
    busy = []
    for _ in range(2):
        reader, writer = await connect(port)
        writer.write(
            b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Bearer alice-admin-token\r\n\r\n"
        )
        busy.append((reader, writer))
        await under_way.acquire()
    reader, writer = await connect(port)
    told = await answer(reader)
    assert told.startswith("HTTP/1.1 503 Service Unavailable\r\n")
    assert "Retry-After: " in told
    go.set()
    for one, its_writer in busy:
        assert (await one_answer(one)).startswith("HTTP/1.1 ")
        its_writer.close()
    writer.close()


async def test_it_serves_again_when_connections_have_gone(listening):
    listener, port = await listening(limits=Limits(most=2))
    for _ in range(5):
        for _, writer in await opened(port, 2):
            writer.close()
            await writer.wait_closed()
    assert len(listener.places) <= 2


async def test_it_forgets_handshakes_that_never_come_to_an_end(listening, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener, port = await listening(limits=Limits(most=2), tls=context)
    silent = [await connect(port) for _ in range(3)]  # none says a word of TLS
    assert await answer(silent[0][0]) == ""
    assert len(listener.places) == 2
    listener.close()
    for reader, writer in silent[1:]:
        assert await answer(reader) == ""
        writer.close()
    silent[0][1].close()


def full_of(places, n, address):
    taken = [places.take(address) for _ in range(n)]
    assert None not in taken
    for place in taken:
        places.works(place)
    return taken


def test_one_address_takes_only_its_own_places():
    places = Places(Limits(most=10, most_of_one=3))
    full_of(places, 3, "10.0.0.1")
    assert places.take("10.0.0.1") is None
    assert places.take("10.0.0.2") is not None
    assert places.take("10.0.0.1", free=True) is not None


def test_one_address_makes_room_for_itself():
    places = Places(Limits(most=10, most_of_one=2))
    other = places.take("10.0.0.2")
    first, second = full_of(places, 2, "10.0.0.1")
    for place in (first, second):
        places.rests(place)
    assert isinstance(places.take("10.0.0.1"), Place)
    assert (other in places, first in places, second in places) == (True, False, True)


def test_places_are_free_again_however_they_were_left():
    places = Places(Limits(most=2, most_of_one=2))
    for _ in range(5):
        one, two = full_of(places, 2, "10.0.0.1")
        places.leave(one)
        places.leave(one)
        places.leave(two)
        places.rests(two)
    assert len(places) == 0
    assert not places.clear_one()


async def test_a_proxy_may_have_as_many_connections_as_there_are_places(listening):
    proxies = Proxies(networks("127.0.0.1"))
    _, port = await listening(limits=Limits(most=8, most_of_one=1), proxies=proxies)
    made = await opened(port, 6)
    for reader, writer in made:
        writer.write(HEALTH)
        assert (await one_answer(reader)).startswith("HTTP/1.1 200")
        writer.close()
