"""How does the web start, serve and stop?"""

import asyncio
import logging
import signal
import socket

from aiohttp import web

from utils import StartError, state_dir
from webserver.application import make_app
from webserver.bridge import Bridge, Link, OnTrouble
from webserver.enrolment import Enrolment, enrol
from webserver.listener import Listener, limits_of_this_machine
from webserver.settings import Settings
from webserver.tls import Tls, check_open, tls_of
from wire.client import Client
from wire.keys import fingerprint

log = logging.getLogger(__name__)

# There are few webs, and people wait at them: what agents do would add seconds to each outage.
RETRY_MAX_S = 0.2
STOP_S = 3.0  # for answers that are under way when the program is told to stop


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop."""
    tls = tls_of(settings)
    check_open(settings, _addresses(settings.bind))
    with state_dir(settings.state_dir) as directory:
        enrolment = enrol(directory, settings.join_string())
        log.info(f"the key of this web server is {fingerprint(enrolment.keys.public)}")
        asyncio.run(_serve(settings, enrolment, tls))
    return 0


def _addresses(bind: str) -> list[str]:
    try:
        found = socket.getaddrinfo(bind, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"--bind {bind} is no address of this machine: {error.strerror}") from None
    return [str(address[0]) for *_, address in found]


async def _serve(settings: Settings, enrolment: Enrolment, tls: Tls | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Without TLS there is nothing to read again, and nothing to end for.
    loop.add_signal_handler(signal.SIGHUP, tls.renew if tls else lambda: None)
    bridge = make_bridge(settings, enrolment)
    await bridge.start()
    proxies = settings.proxies()
    runner = make_runner(make_app(bridge, proxies=proxies))
    try:
        await runner.setup()
        assert runner.server is not None  # it is set up
        context = tls.context if tls is not None else None
        listener = Listener(runner.server, proxies, context, limits_of_this_machine())
        try:
            await _listen(listener, settings)
            await stop.wait()
            log.info("stopping")
        finally:
            listener.close()
    finally:
        await runner.cleanup()
        await bridge.close()


def make_runner(app: web.Application) -> web.AppRunner:
    """What starts and stops the application; its connections are made by a Listener."""
    return web.AppRunner(
        app,
        handler_cancellation=True,  # a client that left needs no answer, and no place in a queue
        shutdown_timeout=STOP_S,
    )


def make_bridge(settings: Settings, enrolment: Enrolment) -> Bridge:
    def connect(on_trouble: OnTrouble) -> Link:
        return Client(
            enrolment.address.endpoint,
            enrolment.address.key,
            enrolment.keys,
            timeout_s=settings.master_timeout,
            retry_max_s=RETRY_MAX_S,
            on_trouble=on_trouble,
        )

    return Bridge(connect, join_token=enrolment.token, timeout_s=settings.master_timeout)


async def _listen(listener: Listener, settings: Settings) -> None:
    try:
        places = await listener.listen(settings.bind, settings.port)
    except OSError as error:
        raise StartError(
            f"cannot listen on {settings.bind} port {settings.port}: {error.strerror}; "
            "choose another with --bind and --port"
        ) from None
    scheme = "https" if settings.tls_cert else "http"
    for host, port in places:
        shown = f"[{host}]" if ":" in host else host
        log.info(f"listening on {scheme}://{shown}:{port}")
