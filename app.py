"""The agent: runs what the master hands to this host."""

# First of all, before anything imports socket or threading. Without ssl, which nothing here
# uses, and without looking for plugins of gevent, of which there are none: six megabytes that
# every host would pay for.
import gevent.events
from gevent import monkey

gevent.events.notify_and_call_entry_points = gevent.events.notify
monkey.patch_all(ssl=False)

import sys

from agent import run
from agent.settings import Settings
from utils import launch


def main() -> int:
    return launch(Settings, "mschedule-agent", run)


if __name__ == "__main__":
    sys.exit(main())
