"""WeCom, by a group robot; the key in its URL is all the secret that it has."""

from postman.adapters.outgoing import Outgoing, code_problem, json_to
from postman.wording import told
from wire.letters import Letter

MAX_BYTES = 4096  # of a text, which WeCom refuses beyond


def make(letter: Letter, web_url: str, at: float) -> Outgoing:
    what = told(letter, web_url)
    lines = [f"**{what.head}**", *(f"> {line}" for line in what.lines)]
    if what.link is not None:
        lines.append(f"[Open the page]({what.link})")
    content = "\n".join(lines).encode()[:MAX_BYTES].decode(errors="ignore")
    return json_to(letter.url, {"msgtype": "markdown", "markdown": {"content": content}})


def problem(answer: bytes) -> str:
    return code_problem(answer, "errcode")
