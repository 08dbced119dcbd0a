"""How does the first admin come in, and one who lost the password? With a code, typed once.

The master makes one when nobody can log in yet, and whoever is at the machine can have another.
The store has its hash; the newest is the one that counts. It makes an admin, or gives one who is
known a new password.
"""

import base64
import secrets

import msgspec
from msgspec import Struct

from master import people, sessions
from master.ids import hash_of
from master.people import Account, Change
from master.reader import Reader
from master.rights import ADMIN
from master.sessions import Opened, Span
from master.transaction import Tx
from wire.errors import Unauthenticated

_META = "setup_code"
_LETTERS = 20  # of five bits each
_NOT_VALID = "the code is not the one in use, or it was used; see the file setup-code at the master"


class Code(Struct, frozen=True):
    """`expires_at` None: the code of the first start, good until there is a person."""

    sha256: str
    expires_at: float | None


def make(tx: Tx, lasts_s: float | None) -> str:
    """The code as it is typed, such as ABCDE-FGHIJ-KLMNO-PQRST; one made before is void."""
    letters = base64.b32encode(secrets.token_bytes(13)).decode()[:_LETTERS]
    expires_at = None if lasts_s is None else tx.now + lasts_s
    tx.put_meta(_META, msgspec.json.encode(Code(hash_of(letters), expires_at)).decode())
    return "-".join(letters[at : at + 5] for at in range(0, _LETTERS, 5))


def is_open(source: Tx | Reader) -> bool:
    return _current(source) is not None


def check(source: Tx | Reader, code: str) -> None:
    """Raises Unauthenticated."""
    current = _current(source)
    if current is None or hash_of(_normal(code)) != current.sha256:
        raise Unauthenticated(_NOT_VALID)


def use(
    tx: Tx, code: str, name: str, password: str, address: str, old: str | None, span: Span
) -> Opened:
    """The code is void afterwards. Raises Unauthenticated."""
    check(tx, code)
    admin = _make_admin(tx, name, password)
    tx.put_meta(_META, "")
    return sessions.open_for(tx, admin, password, address, old, span)


def _make_admin(tx: Tx, name: str, password: str) -> Account:
    known = people.account_by_name(tx, name)
    if known is None:
        return people.add(tx, name, ADMIN, None, password)
    repaired = Change(role=ADMIN, hosts=None, password=password, disabled=False)
    return people.change(tx, known.id, repaired)


def _current(source: Tx | Reader) -> Code | None:
    row = source.row("meta", name=_META)
    if row is None or not row[0]:
        return None
    code = msgspec.json.decode(row[0], type=Code)
    if code.expires_at is None:
        return None if people.is_anybody_there(source) else code
    return code if source.now < code.expires_at else None


def _normal(code: str) -> str:
    """As it was made: typed in whatever case, with or without the dashes."""
    return code.upper().replace("-", "").replace(" ", "").replace("0", "O").replace("1", "I")
