"""Who is this agent, on which machine, in which boot, and who is its master?

The identity is made once, at the first start, and kept: another id is another agent. A new key
for the same id is made for a join string that says so, and kept once the master has taken it.
"""

import os
import uuid

# hashlib would load OpenSSL, which costs every agent 3.6 MB; CPython's own blake2 does not.
from _blake2 import blake2b
from dataclasses import dataclass
from pathlib import Path

import msgspec

from utils import StartError, getLogger, sync_directory, write_private
from wire.keys import (
    Join,
    KeyPair,
    fingerprint,
    is_key,
    load_or_make_keys,
    make_keys,
    parse_join,
)

log = getLogger(__name__)

NEW_KEYS = "keys.new"


@dataclass(frozen=True)
class Identity:
    """The agent's name for itself and the keys that prove it is the same one."""

    id: str  # uuid4 hex
    keys: KeyPair
    on_trial: bool = False  # the keys are kept once the master has taken them


@dataclass(frozen=True)
class Host:
    """The machine that the agent runs on, and its boot. The raw ids never leave the host."""

    machine_id: str
    boot_id: str

    @property
    def machine(self) -> str:
        """The machine id as it is told to the master: hashed, as machine-id(5) asks for."""
        return _hash("machine", self.machine_id)

    def instance(self, journal: str) -> str:
        """The name of one journal in one boot of one machine: within it, no mark can be lost."""
        return _hash("instance", self.machine_id, self.boot_id, journal)


class Master(msgspec.Struct, frozen=True):
    """Where the master is and by which key it is known. The token is used once and not kept.

    `agent`: the id of the one agent that gets a new key by the token.
    """

    host: str
    port: int
    key: str
    token: str | None = None
    agent: str | None = None

    @property
    def endpoint(self) -> str:
        return Join(self.host, self.port, self.key, "").endpoint


class _MadeFor(msgspec.Struct, frozen=True):
    """What stands beside a key pair that was made for a join token: the token's hash."""

    token: str = ""


def load_identity(directory: Path, master: Master | None = None) -> Identity:
    """The identity kept in `directory`, made there at the first start.

    Keys come first: a crash between the two leaves keys that no master has seen yet.
    """
    if master is not None and master.agent is not None and master.token is not None:
        return _with_new_keys(directory, master.agent, _hash("token", master.token))
    return Identity(_kept(directory / "id"), _keys(directory / "keys"))


def keep_keys(directory: Path, identity: Identity) -> None:
    """The master has taken the new keys: they replace the old ones, in one step."""
    if identity.on_trial and (directory / NEW_KEYS).exists():
        os.rename(directory / NEW_KEYS, directory / "keys")
        sync_directory(directory)


def _with_new_keys(directory: Path, agent: str, token: str) -> Identity:
    """New keys for the id that a join string names; the same at every start with that string.

    Until the master has taken them the old ones stay: the join string may be no good any more.
    """
    id_file, new = directory / "id", directory / NEW_KEYS
    if id_file.exists() and _kept(id_file) != agent:
        raise StartError(
            f"the join string gives a new key to agent {agent}, and this host is agent "
            f"{_kept(id_file)}: use it on the host that it was made for"
        )
    if _made_for(directory / "keys") == token:
        return Identity(agent, _keys(directory / "keys"))
    if _made_for(new) != token:
        made = make_keys()
        both = {"public": made.public, "secret": made.secret, "token": token}
        write_private(new, msgspec.json.encode(both) + b"\n")
        log.info(f"a new key for agent {agent}: fingerprint {fingerprint(made.public)}")
    if not id_file.exists():
        write_private(id_file, agent.encode() + b"\n")
    return Identity(agent, _keys(new), on_trial=True)


def _made_for(path: Path) -> str | None:
    """The hash of the join token that the keys in `path` were made for; None: there are none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_MadeFor).token
    except (OSError, msgspec.DecodeError):
        return None


def _keys(path: Path) -> KeyPair:
    try:
        return load_or_make_keys(path)
    except ValueError as error:
        raise StartError(str(error)) from error


def read_host(directory: Path, machine_id_file: Path, boot_id_file: Path) -> Host:
    """Machine and boot, read from the files that the settings name.

    A machine without an id (many containers) gets one of its own, kept in `directory`, which
    then stays: two machine ids under one key look like a copied identity.
    """
    own = directory / "machine-id"
    machine_id = "" if own.exists() else _read(machine_id_file)
    if not machine_id or machine_id == "uninitialized":
        machine_id = _kept(own)
    boot_id = _read(boot_id_file)
    if not boot_id:
        raise StartError(f"{boot_id_file} can't be read: without it, a reboot can't be noticed")
    return Host(machine_id, boot_id)


def choose_master(directory: Path, join: str | None) -> Master:
    """The master of the join string if there is one, else the one that was joined before."""
    if join is not None:
        try:
            parsed = parse_join(join)
        except ValueError as error:
            raise StartError(f"the join string is not usable: {error}") from error
        return Master(parsed.host, parsed.port, parsed.key, parsed.token, parsed.agent)
    path = directory / "master"
    try:
        master = msgspec.json.decode(path.read_bytes(), type=Master)
    except FileNotFoundError:
        raise StartError(
            "this host has not joined a master yet: give the join string that "
            "`mschedule-master --print-join agent` prints with --join-file FILE, --join - (stdin) "
            "or MSCHEDULE_JOIN"
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise StartError(f"{path} can't be read ({error}): give the join string again") from error
    if not is_key(master.key):
        raise StartError(f"{path} holds no key of a master: give the join string again")
    return master


def remember_master(directory: Path, master: Master) -> None:
    """Keep where the master is, without the token; called once it has taken this agent."""
    kept = msgspec.json.encode(msgspec.structs.replace(master, token=None, agent=None)) + b"\n"
    path = directory / "master"
    if _read(path).encode() != kept.strip():
        write_private(path, kept)


def _kept(path: Path) -> str:
    """The uuid4 hex in a file, which is made if it is missing and never changed."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        text = uuid.uuid4().hex
        write_private(path, text.encode() + b"\n")
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise StartError(f"{path} is damaged: it must hold 32 hexadecimal digits")
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _hash(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16, person=b"mschedule").hexdigest()
