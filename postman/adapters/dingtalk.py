"""DingTalk, by a custom robot; its secret, if it has one, signs the URL."""

import base64
import hmac
from urllib.parse import urlencode

from postman.adapters.outgoing import Outgoing, code_problem, json_to
from postman.wording import told
from wire.letters import Letter


def make(letter: Letter, web_url: str, at: float) -> Outgoing:
    what = told(letter, web_url)
    lines = [f"### {what.head}", *what.lines]
    if what.link is not None:
        lines.append(f"[Open the page]({what.link})")
    markdown = {"title": what.head, "text": "\n\n".join(lines)}
    url = signed(letter.url, letter.secret, at) if letter.secret else letter.url
    return json_to(url, {"msgtype": "markdown", "markdown": markdown})


def signed(url: str, secret: str, at: float) -> str:
    """With time in milliseconds, and the HMAC of time and secret under the secret."""
    timestamp = str(int(at * 1000))
    digest = hmac.digest(secret.encode(), f"{timestamp}\n{secret}".encode(), "sha256")
    query = urlencode({"timestamp": timestamp, "sign": base64.b64encode(digest).decode()})
    return f"{url}{'&' if '?' in url else '?'}{query}"


def problem(answer: bytes) -> str:
    return code_problem(answer, "errcode")
