"""The web: HTTP API and pages in front of the master. Holds no authority of its own."""

from webserver.application import make_app
from webserver.program import run

__all__ = ["make_app", "run"]
