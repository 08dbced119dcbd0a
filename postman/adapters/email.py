"""E-mail: the event as a plain text, with an id that stays the same at each try."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from postman.wording import told
from wire.letters import Letter


def make(letter: Letter, web_url: str, at: float) -> EmailMessage:
    what = told(letter, web_url)
    message = EmailMessage()
    message["From"] = letter.sender
    message["To"] = ", ".join(letter.recipients)
    message["Subject"] = what.head
    message["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    domain = parseaddr(letter.sender)[1].rpartition("@")[2]
    message["Message-ID"] = f"<{letter.id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody is to answer by himself
    lines = [what.head, "", *what.lines, *(["", what.link] if what.link is not None else [])]
    message.set_content("\n".join(lines) + "\n")
    return message
