"""Is the door locked? Asks a listening server what it would let a stranger do."""

import re
from collections.abc import Iterable

from wire.client import Client
from wire.errors import Forbidden, Refusal, Unavailable
from wire.keys import make_keys

TIMEOUT_S = 5.0
BUILTIN = ("_zerorpc_list", "_zerorpc_inspect", "_zerorpc_help")  # zerorpc's introspection

_TYPED = re.compile(r"(\w+)\((\w+)\)")


def probe(endpoint: str, server_key: str, names: Iterable[str]) -> set[str]:
    """Call each of `names` (as `Server.names` gives them) with a key made for the purpose.

    Returns those that were not answered `forbidden`. Unavailable: the server did not
    answer, and nothing is known.
    """
    client = Client(endpoint, server_key, make_keys(), timeout_s=TIMEOUT_S)
    try:
        return {name for name in (*names, *BUILTIN) if _is_open(client, name)}
    finally:
        client.close()


def _is_open(client: Client, name: str) -> bool:
    typed = _TYPED.fullmatch(name)
    try:
        if typed is None:
            client.call(name, {}, object)
        else:
            client.call(typed[1], {"type": typed[2], "payload": {}}, object)
    except Forbidden:
        return False
    except Unavailable:
        raise
    except Refusal:
        return True
    return True
