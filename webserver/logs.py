"""What does the web log of requests? One line each, without what is nobody's business."""

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from webserver.proxies import SEEN

NAME = "mschedule"


class AccessLog(AbstractAccessLogger):
    """One line an answer. Never the query string or a header, which may hold secrets."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        seen = request.get(SEEN)
        self.logger.info(
            f"{seen.address if seen else request.remote} {request.method} "
            f"{request.rel_url.raw_path} "
            f"{response.status} {response.body_length} bytes {time * 1000:.0f} ms"
        )


def unexcited() -> logging.Logger:
    """aiohttp's log, where a request that nobody can read is one line and no traceback."""
    logger = logging.getLogger("webserver.http")
    logger.filters = [_shorten]
    return logger


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
        # Not its own words, which repeat what was sent.
        record.msg = f"{record.getMessage()}: it cannot be read ({type(error).__name__})"
        record.args = None
    return True
