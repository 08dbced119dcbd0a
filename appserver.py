"""The master: decides who may start what, and remembers everything."""

# First of all, before anything imports socket or threading. Without ssl, which nothing here uses,
# and without plugins of gevent's: to look for them, once for each module that is patched, in the
# metadata of all that is installed, was a quarter of what a master takes to start.
import gevent.events
from gevent import monkey

gevent.events.notify_and_call_entry_points = gevent.events.notify
monkey.patch_all(ssl=False)

import sys

from master import run
from master.settings import Settings
from utils import launch


def main() -> int:
    return launch(Settings, "mschedule-master", run)


if __name__ == "__main__":
    sys.exit(main())
