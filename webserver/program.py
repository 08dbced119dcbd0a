"""How does the web start, serve and stop?"""

import asyncio
import logging
import signal

from aiohttp import web, web_response
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from utils import StartError, state_dir
from webserver.application import make_app
from webserver.bridge import Bridge, Link, OnTrouble
from webserver.enrolment import Enrolment, enrol
from webserver.settings import Settings
from wire.client import Client

log = logging.getLogger(__name__)

STOP_S = 3.0  # for answers that are under way when the program is told to stop
IDLE_S = 75.0  # for a connection to send a whole head; longer than proxies keep theirs idle
MAX_HEADER_BYTES = 16 << 10
NAME = "mschedule"


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop."""
    with state_dir(settings.state_dir) as directory:
        enrolment = enrol(directory, settings.join_string())
        asyncio.run(_serve(settings, enrolment))
    return 0


async def _serve(settings: Settings, enrolment: Enrolment) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bridge = make_bridge(settings, enrolment)
    await bridge.start()
    runner = make_runner(make_app(bridge))
    try:
        await runner.setup()
        await _listen(runner, settings)
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()
        await bridge.close()


def make_runner(app: web.Application) -> web.AppRunner:
    """What serves the application; a request that cannot be read is answered in here, too."""
    # Else such an answer tells the versions of all there is.
    web_response.SERVER_SOFTWARE = NAME  # type: ignore[attr-defined]
    return web.AppRunner(
        app,
        access_log_class=AccessLog,
        handler_cancellation=True,  # a client that left needs no answer, and no place in a queue
        shutdown_timeout=STOP_S,
        # Counted from the end of the last answer, whatever has arrived since: so a head that is
        # sent a byte at a time holds no connection for long.
        keepalive_timeout=IDLE_S,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        logger=_unexcited(),
    )


def _unexcited() -> logging.Logger:
    """aiohttp's log, where a request that nobody can read is one line and no traceback."""
    logger = logging.getLogger("webserver.http")
    logger.filters = [_shorten]
    return logger


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
        record.msg = f"{record.getMessage()}: it cannot be read, {' '.join(error.message.split())}"
        record.args = None
    return True


def make_bridge(settings: Settings, enrolment: Enrolment) -> Bridge:
    def connect(on_trouble: OnTrouble) -> Link:
        return Client(
            enrolment.address.endpoint,
            enrolment.address.key,
            enrolment.keys,
            timeout_s=settings.master_timeout,
            on_trouble=on_trouble,
        )

    return Bridge(connect, join_token=enrolment.token, timeout_s=settings.master_timeout)


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.bind, settings.port).start()
    except OSError as error:
        raise StartError(
            f"cannot listen on {settings.bind} port {settings.port}: {error.strerror}; "
            "choose another with --bind and --port"
        ) from None
    host, port = runner.addresses[0][:2]
    log.info(f"listening on http://{host}:{port}")


class AccessLog(AbstractAccessLogger):
    """One line an answer. Never the query string, which may hold what is nobody's business."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.logger.info(
            f"{request.remote} {request.method} {request.rel_url.raw_path} "
            f"{response.status} {response.body_length} bytes {time * 1000:.0f} ms"
        )
