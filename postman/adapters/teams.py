"""Microsoft Teams, by the webhook of a workflow, which posts an adaptive card."""

from typing import Any

from postman.adapters.outgoing import Outgoing, json_to
from postman.wording import told
from wire.letters import Letter

CARD = "application/vnd.microsoft.card.adaptive"


def make(letter: Letter, web_url: str, at: float) -> Outgoing:
    what = told(letter, web_url)
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": [
            {"type": "TextBlock", "text": what.head, "weight": "Bolder", "wrap": True},
            {
                "type": "FactSet",
                "facts": [{"title": name, "value": value} for name, value in what.facts],
            },
        ],
    }
    if what.link is not None:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the page", "url": what.link}]
    attachment = {"contentType": CARD, "contentUrl": None, "content": card}
    return json_to(letter.url, {"type": "message", "attachments": [attachment]})
