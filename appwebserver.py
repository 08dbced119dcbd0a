"""The web: the HTTP API and the pages. Not patched: asyncio and gevent never share a thread."""

import sys

from utils import launch
from webserver import run
from webserver.settings import Settings


def main() -> int:
    return launch(Settings, "mschedule-web", run)


if __name__ == "__main__":
    sys.exit(main())
