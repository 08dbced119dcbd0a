"""What can be set on the web?"""

from dataclasses import dataclass
from pathlib import Path

from utils import LOG_LEVELS, secret_or_file, setting
from webserver.proxies import Proxies, networks, wrong_networks


@dataclass(frozen=True)
class Settings:
    """Serves the HTTP API and the pages of an mschedule master."""

    state_dir: Path = setting(
        Path("/var/lib/mschedule-web"),
        "where the key and the master's address are kept",
        metavar="dir",
    )
    bind: str = setting("127.0.0.1", "address to listen on", metavar="address")
    port: int = setting(9900, "port to listen on; 0 takes a free one", minimum=0, maximum=65535)
    join: str | None = setting(
        None,
        "join string of the master, needed once; - reads it from stdin",
        metavar="-",
        secret=True,
    )
    join_file: Path | None = setting(None, "file that holds the join string", metavar="file")
    tls_cert: Path | None = setting(
        None, "certificate with its chain, as PEM; with it the web speaks TLS", metavar="file"
    )
    tls_key: Path | None = setting(
        None, "private key of the certificate, as PEM, unencrypted", metavar="file"
    )
    trusted_proxies: str | None = setting(
        None,
        "addresses or networks, with commas between them, whose X-Forwarded-For, -Proto and -Host "
        "are believed",
        metavar="addresses",
        check=wrong_networks,
    )
    plain_http: bool = setting(
        False, "serve without TLS on an address that others reach: they can read passwords"
    )
    master_timeout: float = setting(
        10.0, "seconds that the master has for an answer", minimum=0.1, maximum=300
    )
    log_level: str = setting("info", "least severity that is logged", choices=LOG_LEVELS)

    def join_string(self) -> str | None:
        """The join string, if one was given and is still there."""
        return secret_or_file(self.join, self.join_file)

    def proxies(self) -> Proxies:
        return Proxies(networks(self.trusted_proxies or ""))
