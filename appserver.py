"""The master: decides who may start what, and remembers everything."""

# First of all, before anything imports socket or threading. Without ssl, which nothing here uses.
from gevent import monkey

monkey.patch_all(ssl=False)

import sys

from master import run
from master.settings import Settings
from utils import launch


def main() -> int:
    return launch(Settings, "mschedule-master", run)


if __name__ == "__main__":
    sys.exit(main())
