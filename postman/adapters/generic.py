"""JSON for programs, as the Standard Webhooks specification has it."""

import msgspec

from postman import signing
from postman.adapters.outgoing import JSON, Outgoing
from postman.wording import told
from wire.letters import Letter


def make(letter: Letter, web_url: str, at: float) -> Outgoing:
    """type, timestamp and data, with data.url where it is known where the pages are."""
    event, link = letter.event, told(letter, web_url).link
    if link is not None:
        event = {**event, "data": {**event["data"], "url": link}}
    body = msgspec.json.encode(event)
    signed = signing.headers(letter.id, at, body, letter.secret, letter.old_secret)
    return Outgoing(letter.url, {**JSON, **signed}, body)
