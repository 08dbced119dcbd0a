"""How do figures become a picture? An SVG of two panels over the number of agents, by hand.

Plain shapes and text, readable on a light and on a dark page, and small in a diff.
"""

from collections.abc import Sequence
from html import escape
from math import ceil, log10
from typing import NamedTuple

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 44, 44
PANEL = WIDTH // 2
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # times a power of ten: between two lines of an axis
LINES = 4

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 13px }
.grid { stroke: #8b949e; stroke-opacity: .3 }
.curve { fill: none; stroke: #2f6fde; stroke-width: 2 }
.point { fill: #2f6fde }
@media (prefers-color-scheme: dark) { text { fill: #adbac7 } }
"""


class Curve(NamedTuple):
    """One panel: `points` are (agents, value), agents rising."""

    title: str
    points: Sequence[tuple[int, float]]


def svg(curves: Sequence[Curve], note: str) -> str:
    """The curves side by side, agents on a logarithmic axis, values from 0; `note` below."""
    panels = "\n".join(_panel(curve, PANEL * n) for n, curve in enumerate(curves))
    width = PANEL * len(curves)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img">\n'
        f"<title>{escape(', '.join(curve.title for curve in curves))}</title>\n"
        f"<style>{STYLE}</style>\n{panels}\n"
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{escape(note)}</text>\n</svg>\n'
    )


def _panel(curve: Curve, offset: int) -> str:
    step = _step(max(value for _, value in curve.points))
    top = step * LINES
    first, last = log10(curve.points[0][0]), log10(curve.points[-1][0])

    def x(agents: int) -> float:
        share = (log10(agents) - first) / (last - first) if last > first else 0.5
        return round(offset + LEFT + share * (PANEL - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<text class="title" x="{offset + LEFT}" y="22">{escape(curve.title)}</text>']
    for n in range(LINES + 1):
        at, from_x, to_x = y(step * n), offset + LEFT, offset + PANEL - RIGHT
        parts.append(f'<path class="grid" d="M{from_x} {at}H{to_x}"/>')
        parts.append(f'<text x="{from_x - 6}" y="{at + 4}" text-anchor="end">{step * n:,g}</text>')
    for agents, value in curve.points:
        label = f"{agents:,} agents: {value:,g}"
        parts.append(
            f'<circle class="point" cx="{x(agents)}" cy="{y(value)}" r="4">'
            f"<title>{label}</title></circle>"
        )
        parts.append(
            f'<text x="{x(agents)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{agents:,}</text>"
        )
    line = "L".join(f"{x(agents)} {y(value)}" for agents, value in curve.points)
    parts.append(f'<path class="curve" d="M{line}"/>')
    return "\n".join(parts)


def _step(most: float) -> float:
    """The smallest round number of which LINES reach `most`."""
    wanted = max(most, 1e-9) / LINES
    power: float = 10.0 ** (ceil(log10(wanted)) - 1)
    return next(factor * power for factor in STEPS if factor * power >= wanted * 0.999)
