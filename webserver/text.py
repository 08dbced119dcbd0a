"""How do output, sizes and times look to a person? Pure functions; escaping is the template's."""

import re

# CSI … final byte; OSC, DCS, APC, PM, SOS … up to BEL or ST; and the escapes of two or three bytes.
_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
)
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)}
_PICTURES[0x7F] = 0x2421
# What would reorder or hide text on the page: C1 controls, bidirectional and zero-width marks.
_HIDDEN = re.compile("[\x80-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def readable(output: bytes) -> str:
    """Bytes of a terminal as text that shows all there is and does nothing.

    Colours and cursor movement are dropped, other control characters become visible,
    bytes that are not UTF-8 become the replacement character.
    """
    text = _ANSI.sub("", output.decode("utf-8", "replace"))
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_PICTURES)
    return _HIDDEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def human_bytes(count: int) -> str:
    """1536 → "1.5 KiB"."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def human_when(time: str | None) -> str:
    """ "2026-11-21T08:50:00.123Z" → "2026-11-21 08:50:00"; None, for never, becomes a dash."""
    return "–" if time is None else time[:19].replace("T", " ")
