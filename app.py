"""The agent: runs what the master hands to this host."""

# First of all, before anything imports socket or threading. Without ssl, which nothing here
# uses: importing it costs every host four megabytes.
from gevent import monkey

monkey.patch_all(ssl=False)

import sys

from agent import run
from agent.settings import Settings
from utils import launch


def main() -> int:
    return launch(Settings, "mschedule-agent", run)


if __name__ == "__main__":
    sys.exit(main())
