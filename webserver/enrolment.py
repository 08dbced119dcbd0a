"""How does the web come to its master? By a join string once, by its own key from then on."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from utils import StartError, write_private
from wire.keys import Join, KeyPair, load_or_make_keys, parse_join

KEY_FILE = "key.json"
MASTER_FILE = "master.json"


class Address(msgspec.Struct, frozen=True):
    """Where the master is, and the key by which it is known."""

    endpoint: str
    key: str


@dataclass(frozen=True)
class Enrolment:
    """`token` is None when no join string was given: the key must be known already."""

    address: Address
    keys: KeyPair
    token: str | None = field(repr=False)


def enrol(state_dir: Path, join_string: str | None) -> Enrolment:
    """The enrolment kept in `state_dir`; a join string that is given goes before it."""
    try:
        keys = load_or_make_keys(state_dir / KEY_FILE)
        join = parse_join(join_string) if join_string else None
    except ValueError as error:
        raise StartError(str(error)) from None
    if join is None:
        return Enrolment(_kept(state_dir / MASTER_FILE), keys, None)
    address = _address(join)
    write_private(state_dir / MASTER_FILE, msgspec.json.encode(address))
    return Enrolment(address, keys, join.token)


def _address(join: Join) -> Address:
    return Address(join.endpoint, join.key)


def _kept(path: Path) -> Address:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Address)
    except FileNotFoundError:
        raise StartError(
            "this web server has no master yet: print a join string with "
            "mschedule-master --print-join web, and give it with --join-file"
        ) from None
    except msgspec.DecodeError:
        raise StartError(f"{path} is damaged: remove it, and give a join string again") from None
