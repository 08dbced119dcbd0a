"""What happens to connections that never become a request that can be read."""

import asyncio
import logging

import pytest
from aiohttp import web

from webserver import make_app, program


@pytest.fixture
async def port(master):
    runner = program.make_runner(make_app(master))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def answer(reader):
    return (await asyncio.wait_for(reader.read(), 10)).decode()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(program, "IDLE_S", 0.2)


async def test_it_closes_a_connection_that_never_sends_a_whole_head(impatient, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    dripping = asyncio.create_task(_drip(writer))
    assert await answer(reader) == ""
    await dripping


async def _drip(writer):
    """A header that never ends, until the other side has had enough."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    try:
        for n in range(10_000):
            writer.write(b"X-%d: 1\r\n" % n if n % 100 == 0 else b"")
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        return
    finally:
        writer.close()


async def test_it_closes_a_connection_that_is_used_no_more(impatient, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await answer(reader)).startswith("HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST /task HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_it_answers_nonsense_shortly_and_tells_no_version(port, nonsense, caplog):
    caplog.set_level(logging.DEBUG)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(nonsense)
    writer.write_eof()
    head = await answer(reader)
    writer.close()
    if head:  # of what is no line at all, the rest is waited for
        assert " 400 " in head
        assert "Server: mschedule" in head
    assert "aiohttp/" not in head
    assert "Traceback" not in caplog.text
