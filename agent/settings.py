"""What can be set on an agent?"""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from utils import LOG_LEVELS, secret_or_file, setting

MAX_QUEUES = 64
QUEUE_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")


def _not_queues(text: str) -> str | None:
    """Why this is no list of queues; None: it is one."""
    names = _names(text)
    if any(not QUEUE_NAME.fullmatch(name) for name in names):
        return "must be names of queues with commas between them, of letters, digits, . _ and -"
    if len(set(names)) < len(names):
        return "must name each queue once"
    return f"must be at most {MAX_QUEUES} names" if len(names) > MAX_QUEUES else None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


@dataclass(frozen=True)
class Settings:
    """Runs what the mschedule master hands to this host."""

    state_dir: Path = setting(
        Path("/var/lib/mschedule-agent"), "where identity, journal and runs are kept", metavar="dir"
    )
    join: str | None = setting(
        None,
        "join string of the master, needed once; - reads it from stdin",
        metavar="-",
        secret=True,
    )
    join_file: Path | None = setting(None, "file that holds the join string", metavar="file")
    hostname: str | None = setting(
        None, "hostname to report, if not the one of this machine", metavar="name"
    )
    slots: int = setting(4, "how many runs are executed at once", minimum=1, maximum=1024)
    queues: str = setting(
        "",
        "named queues to take work from, such as scans,backups: first what is named first, and"
        " no others; none: work of all queues",
        metavar="names",
        check=_not_queues,
    )
    new_identity: bool = setting(
        False,
        "put the identity, the journal and the runs of this host aside, and leave; it joins as a"
        " new host at the next start, which needs a join string",
        only="argv",
    )
    log_level: str = setting("info", "least severity that is logged", choices=LOG_LEVELS)
    machine_id_file: Path = setting(
        Path("/etc/machine-id"), "file that names this machine", only="environment"
    )
    boot_id_file: Path = setting(
        Path("/proc/sys/kernel/random/boot_id"), "file that names this boot", only="environment"
    )

    def reported_hostname(self) -> str:
        """The name under which the host appears; a claim, which grants nothing."""
        return self.hostname or socket.gethostname()

    def queue_names(self) -> list[str]:
        """The queues that this agent serves, in its order; none named: all."""
        return _names(self.queues)

    def join_string(self) -> str | None:
        """The join string, if one was given and is still there."""
        return secret_or_file(self.join, self.join_file)
