"""Feishu (Lark), by a custom robot; its secret, if it has one, signs the body."""

import base64
import hmac
from typing import Any

from postman.adapters.outgoing import Outgoing, code_problem, json_to
from postman.wording import told
from wire.letters import Letter


def make(letter: Letter, web_url: str, at: float) -> Outgoing:
    what = told(letter, web_url)
    lines = [what.head, *what.lines, *([what.link] if what.link is not None else [])]
    content: dict[str, Any] = {"msg_type": "text", "content": {"text": "\n".join(lines)}}
    if letter.secret:
        timestamp = str(int(at))
        content |= {"timestamp": timestamp, "sign": signature(timestamp, letter.secret)}
    return json_to(letter.url, content)


def signature(timestamp: str, secret: str) -> str:
    """The HMAC of nothing, under time and secret: so Feishu has it."""
    digest = hmac.digest(f"{timestamp}\n{secret}".encode(), b"", "sha256")
    return base64.b64encode(digest).decode()


def problem(answer: bytes) -> str:
    return code_problem(answer, "code", "StatusCode")
