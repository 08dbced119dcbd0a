"""How do output, sizes and times look to a person? Pure functions; escaping is the template's."""

import re
from datetime import datetime

# CSI … final byte; OSC, DCS, APC, PM, SOS … up to BEL or ST; and the escapes of two or three bytes.
# What does not end within its line is text: nothing after it may vanish. As in static/ansi.js.
_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-OQ-WYZ`-~]"
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


_UNITS_S = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))
_UNIT_S = {
    "ms": 0.001, "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)\s*", re.ASCII)


def human_duration(seconds: float) -> str:
    """86400 → "1 day", 5400 → "1 h 30 min", 0.25 → "250 ms"; the two largest units."""
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    left, parts = round(seconds), []
    for name, size_s in _UNITS_S:
        count, left = divmod(left, size_s)
        if count:
            parts.append(f"{count} {name}{'s' if name == 'day' and count > 1 else ''}")
        elif parts:
            break  # "1 day 3 s" would be exact where nobody asked
    return " ".join(parts[:2])


def parse_duration(text: str) -> float | None:
    """Seconds of "90", "1.5 h" or "1 h 30 min"; None for what is no duration."""
    text = text.strip().lower()
    if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", text, re.ASCII):
        return float(text)
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or part[2] not in _UNIT_S:
            return None
        total += float(part[1]) * _UNIT_S[part[2]]
        at = part.end()
    return total if text else None


def exact_duration(seconds: float) -> str:
    """Like human_duration where that loses nothing, else seconds: for a field to edit."""
    shown = human_duration(seconds)
    return shown if parse_duration(shown) == seconds else f"{seconds:.12g} s"


def human_span(start: str | None, end: str | None) -> str:
    """The time between two times of the API; a dash while one is not there."""
    if start is None or end is None:
        return "–"
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return human_duration(max(0.0, span.total_seconds()))


def human_skew(seconds: float | None) -> str:
    """How far a clock is off: "+2.5 s"; a dash while it is not known."""
    if seconds is None:
        return "–"
    return f"{seconds:+.1f} s" if abs(seconds) >= 0.05 else "0 s"


def human_count(count: int, noun: str) -> str:
    """1, "host" → "1 host"; 12000, "host" → "12,000 hosts"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
