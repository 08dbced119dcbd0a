"""What does a master do that is not to serve? Commands that print something, and leave.

They work beside a master that runs: its store takes a second writer. Each that changes something
writes it into the audit log.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import gevent

from master import audit, setup_file
from master.settings import Settings, advertised
from master.storage import Storage
from master.verify import STORE, verify
from master.web_servers import WebServer
from utils import StartError, iso
from wire.errors import NotFound
from wire.keys import Join, load_or_make_keys

KEYS = "master.keys"
HOUR_S = 3600.0
PATIENCE_S = 15.0  # for the master that runs; it looks twice a second
LOOK_S = 0.05


def obey(settings: Settings) -> int | None:
    """The exit code, after the command that the settings name; None: they name none."""
    if settings.verify_audit is not None:
        return verify(settings.verify_audit, settings.verify_audit_against)
    if settings.print_join is not None:
        print(print_join(settings, settings.print_join))
    elif settings.print_setup_code:
        print(print_setup_code(settings))
    elif settings.list_webs:
        print(list_webs(settings), end="")
    elif settings.revoke_web is not None:
        print(revoke_web(settings, settings.revoke_web))
    else:
        return None
    return 0


def print_join(settings: Settings, kind: str) -> str:
    """A new join string. `kind` agent: for any number of hosts; web: for one web server. Good for
    `join_hours`."""
    directory = settings.state_dir
    with _store_beside(directory) as storage:
        uses = 1 if kind == "web" else None
        made = storage.make_join_token(
            kind,
            f"printed for {kind}",
            uses=uses,
            expires_in=settings.join_hours * HOUR_S or None,
        ).wait()
    host, port = advertised(settings, _bound_port(directory) or settings.port)
    return str(Join(host, port, load_or_make_keys(directory / KEYS).public, made.secret))


def print_setup_code(settings: Settings) -> str:
    """A new one-time code, for whoever lost the password of the last admin."""
    with _store_beside(settings.state_dir) as storage:
        code = storage.people.make_setup_code(
            setup_file.PRINTED_LASTS_S, audit.of_system("setup_code.print")
        ).wait()
    setup_file.remove(settings.state_dir)  # one that lies there is void now
    return code


def list_webs(settings: Settings) -> str:
    """A line a web server, oldest first."""
    with _store_beside(settings.state_dir) as storage:
        return "".join(f"{_line(web)}\n" for web in storage.webs.all().wait())


def revoke_web(settings: Settings, fingerprint: str) -> str:
    """A master that runs refuses the key by the time this returns. Raises StartError."""
    with _store_beside(settings.state_dir) as storage:
        try:
            act = audit.of_system("web.revoke")
            web = storage.webs.revoke(fingerprint.strip().lower(), act).wait()
        except NotFound as refusal:
            raise StartError(f"{refusal.message}; --list-webs shows those that there are") from None
        _await_refusal(storage, settings.state_dir, web)
    return f"web server {web.fingerprint} is revoked: nothing that it sends is obeyed any more"


def _await_refusal(storage: Storage, directory: Path, web: WebServer) -> None:
    """A master that does not run will know when it starts."""
    ends_at = time.monotonic() + PATIENCE_S
    while web.key in storage.webs.to_refuse().wait() and _is_serving(directory):
        if time.monotonic() > ends_at:
            raise StartError(
                f"{web.fingerprint} is revoked in the store, but the master that runs has not "
                f"taken note of it within {PATIENCE_S:g} s: restart it"
            )
        gevent.sleep(LOOK_S)


def _is_serving(directory: Path) -> bool:
    """Does a process hold the state directory?"""
    descriptor = os.open(directory / "lock", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _line(web: WebServer) -> str:
    revoked = f", revoked {iso(web.revoked_at)}" if web.revoked_at is not None else ""
    return f"{web.fingerprint}  enrolled {iso(web.created_at)} from {web.address or '?'}{revoked}"


@contextlib.contextmanager
def _store_beside(directory: Path) -> Iterator[Storage]:
    """The store, opened beside a master that may be running."""
    if not (directory / STORE).exists():
        raise StartError(f"there is no master in {directory} yet: start one first")
    storage = Storage(directory / STORE)
    try:
        yield storage
    finally:
        storage.close()


def _bound_port(directory: Path) -> int | None:
    try:
        return int((directory / "port").read_text())
    except (OSError, ValueError):
        return None
