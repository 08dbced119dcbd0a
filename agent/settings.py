"""What can be set on an agent?"""

import socket
from dataclasses import dataclass
from pathlib import Path

from utils import LOG_LEVELS, secret_or_file, setting


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

    def join_string(self) -> str | None:
        """The join string, if one was given and is still there."""
        return secret_or_file(self.join, self.join_file)
