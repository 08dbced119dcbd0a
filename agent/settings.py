"""What can be set on an agent?"""

import socket
from dataclasses import dataclass
from pathlib import Path

from utils import setting

LEVELS = ("debug", "info", "warning", "error")


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
    log_level: str = setting("info", "least severity that is logged", choices=LEVELS)
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
        """The join string, if one was given.

        A missing file is no error here: it is needed once, and may be removed afterwards.
        """
        if self.join is not None or self.join_file is None:
            return self.join
        try:
            return self.join_file.read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None
