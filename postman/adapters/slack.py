"""Slack, by an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from postman.adapters.outgoing import Outgoing, json_to
from postman.wording import told
from wire.letters import Letter


def make(letter: Letter, web_url: str, at: float) -> Outgoing:
    """The three characters that mean something to Slack are escaped as it asks."""
    what = told(letter, web_url)
    lines = [f"*{_escaped(what.head)}*", *map(_escaped, what.lines)]
    if what.link is not None:
        lines.append(f"<{_escaped(what.link)}|Open the page>")
    return json_to(letter.url, {"text": "\n".join(lines)})


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
