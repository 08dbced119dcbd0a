"""What can be set on a master?"""

import re
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from master.chain import link_of
from utils import LOG_LEVELS, setting


def _not_an_address(value: str | None) -> str | None:
    host, _, port = (value or "").rpartition(":")
    if host and port.isdecimal() and 0 < int(port) < 65536:
        return None
    return "must be host:port, such as master.example.org:9000"


def _not_a_link(value: str | None) -> str | None:
    if link_of(value or "") is not None:
        return None
    return "must be the number and the hash of a record, as --verify-audit prints them"


def networks(text: str) -> list[str]:
    """Those in a text such as 10.1.0.0/16,fd00::/8. Raises ValueError."""
    return [str(ip_network(one)) for one in text.replace(",", " ").split()]


def _not_networks(value: str) -> str | None:
    try:
        networks(value)
    except ValueError:
        return "must be networks such as 10.1.0.0/16,fd00::/8, with commas between them"
    return None


def certificates(path: Path | None) -> str:
    """Those in a file, as PEM. Raises OSError, ValueError (ssl.SSLError is one of the former)."""
    if path is None:
        return ""
    text = path.read_text(encoding="ascii")
    ssl.create_default_context().load_verify_locations(cadata=text)
    return text


def _not_certificates(path: Path | None) -> str | None:
    try:
        certificates(path)
    except (OSError, ValueError) as error:
        return f"must be a file of certificates in PEM; {path}: {error}"
    return None


def _not_a_web_url(value: str) -> str | None:
    if not value or re.fullmatch(r"https?://[!-~]+", value):
        return None
    return "must be a URL such as https://mschedule.example.org"


_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size_bytes(text: str) -> int:
    """The number of bytes in a text such as 10G or 500M. Raises ValueError."""
    number, unit = text.strip(), text.strip()[-1:].upper()
    factor = _UNITS.get(unit, 1)
    if unit in _UNITS:
        number = number[:-1]
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise ValueError(text)
    return int(number) * factor


def _not_a_size(value: str) -> str | None:
    try:
        size_bytes(value)
    except ValueError:
        return "must be a number of bytes, such as 500M or 10G; 0 is no limit"
    return None


@dataclass(frozen=True)
class Settings:
    """Decides who may start what, and remembers everything."""

    state_dir: Path = setting(
        Path("/var/lib/mschedule-master"), "where store and keys are kept", metavar="dir"
    )
    bind: str = setting(
        "0.0.0.0",  # agents come from everywhere, each with a key  # nosec B104
        "address to listen on",
        metavar="address",
    )
    port: int = setting(9000, "port to listen on; 0 takes a free one", minimum=0, maximum=65535)
    advertise: str | None = setting(
        None,
        "host:port at which agents reach this master, put into join strings;"
        " none: the name of this machine and the port",
        metavar="host:port",
        check=_not_an_address,
    )
    print_join: str | None = setting(
        None,
        "print a join string for an agent or for the web, and leave; works while the master runs",
        choices=("agent", "web"),
        only="argv",
    )
    join_hours: float = setting(
        24.0,
        "hours in which hosts may join by a printed join string; 0 is no limit",
        minimum=0,
        maximum=8784,
    )
    print_setup_code: bool = setting(
        False,
        "print a one-time code that makes an admin, or gives one who is known a new password, and"
        " leave; it holds for an hour; works while the master runs",
        only="argv",
    )
    list_webs: bool = setting(
        False,
        "print the web servers that have enrolled, by the fingerprints of their keys, and leave;"
        " works while the master runs",
        only="argv",
    )
    revoke_web: str | None = setting(
        None,
        "make the key of a web server worthless, and leave; works while the master runs, and holds"
        " from then on, also on connections that are open",
        metavar="fingerprint",
        only="argv",
    )
    session_idle_hours: float = setting(
        12.0, "hours after which an unused session of a browser ends", minimum=0.1, maximum=8760
    )
    session_days: float = setting(
        7.0, "days after which a session ends, however much it is used", minimum=0.01, maximum=365
    )
    verify_audit: Path | None = setting(
        None,
        "check the audit log in a store's file, or in a state directory, and leave: 0 if it is"
        " as it was written; works while the master runs, and on a backup",
        metavar="path",
        only="argv",
    )
    verify_audit_against: str | None = setting(
        None,
        "with --verify-audit: SEQ:HASH that an earlier check printed, and that must be found again",
        metavar="seq:hash",
        only="argv",
        check=_not_a_link,
    )
    heartbeat: float = setting(
        5.0, "seconds between two heartbeats of an agent", minimum=1, maximum=60
    )
    keep_days: float = setting(
        90.0,
        "days that a task is kept after its end, with runs and output; 0 keeps all for ever",
        minimum=0,
        maximum=36_500,
    )
    keep_bytes: str = setting(
        "0",
        "most that the store may hold on disk, such as 500M or 10G; beyond, what ended first"
        " is forgotten. 0 is no limit",
        metavar="size",
        check=_not_a_size,
    )
    keep_items: int = setting(
        0,
        "most items that queues which have ended may hold in the store; beyond, the queues that"
        " ended first are forgotten. 0 is no limit",
        minimum=0,
    )
    lost_secrets: str | None = setting(
        None,
        "forget: when secrets.key is lost, give up the secrets that it had sealed, and start",
        choices=("forget",),
        only="argv",
    )
    callback_allow: str = setting(
        "",
        "networks that callbacks may reach though they are not public, such as"
        " 10.1.0.0/16,fd00::/8; all others that are private, loopback or link-local are refused",
        metavar="networks",
        check=_not_networks,
    )
    callback_ca: Path | None = setting(
        None,
        "certificates (PEM) of authorities whose receivers callbacks trust, besides those of the"
        " system",
        metavar="file",
        check=_not_certificates,
    )
    callback_hours: float = setting(
        24.0,
        "hours for which a callback is tried that is not taken; its pauses grow with it",
        minimum=0.001,
        maximum=720,
    )
    callback_log_days: float = setting(
        30.0,
        "days that the log of callbacks is kept; 0 keeps all for ever",
        minimum=0,
        maximum=36_500,
    )
    web_url: str = setting(
        "",
        "where people find the pages, such as https://mschedule.example.org: for links in"
        " callbacks; none: they have no links",
        metavar="url",
        check=_not_a_web_url,
    )
    log_level: str = setting("info", "least severity that is logged", choices=LOG_LEVELS)


def advertised(settings: Settings, port: int) -> tuple[str, int]:
    """Under which address and port others reach a master that listens on this port."""
    if settings.advertise is None:
        return socket.getfqdn(), port
    host, _, text = settings.advertise.rpartition(":")
    return host.strip("[]"), int(text)
