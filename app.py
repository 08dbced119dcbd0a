"""The agent: runs what the master hands to this host."""

import sys

# Nothing is patched: every wait in the agent is on an object of gevent's own, and what the
# patches bring along would cost each host two megabytes. So would typing_extensions, which
# msgspec takes where it is installed; the standard library has all that is used here.
sys.modules["typing_extensions"] = None  # type: ignore[assignment]

from agent import run
from agent.settings import Settings
from utils import launch


def main() -> int:
    return launch(Settings, "mschedule-agent", run)


if __name__ == "__main__":
    sys.exit(main())
