"""What is sent, whatever the kind of receiver: a POST of JSON."""

from typing import Any

import msgspec
from msgspec import Struct

JSON = {"Content-Type": "application/json"}


class Outgoing(Struct, frozen=True):
    url: str
    headers: dict[str, str]
    body: bytes


def json_to(url: str, content: dict[str, Any]) -> Outgoing:
    return Outgoing(url, JSON, msgspec.json.encode(content))


def taken(answer: bytes) -> str:
    """Status 2xx alone says that it was."""
    return ""


def code_problem(answer: bytes, *names: str) -> str:
    """Of receivers that answer 200 with a code of their own, 0 if they have taken it."""
    try:
        found = msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.DecodeError:
        return "the answer is not the JSON that this kind of receiver gives"
    code = next((found[name] for name in names if name in found), None)
    if code == 0:
        return ""
    return f"it answered code {code}: {str(found.get('errmsg') or found.get('msg') or '')[:200]}"
