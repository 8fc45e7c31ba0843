"""A heat map of differences with their intervals, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from benchmarks.intervals import Interval

WIDTH, HEIGHT, LEFT, TOP = 104, 44, 190, 96
_STRONGEST = 0.2
_BETTER, _WORSE = (33, 102, 172), (178, 24, 43)  # blue and red: told apart by colour-blind readers


def colour(value: float) -> tuple[str, str]:
    """Return the colours of a cell and of its text: white at 0, full at ±0.2."""
    strength = min(abs(value) / _STRONGEST, 1.0)
    goal = _BETTER if value > 0 else _WORSE
    mixed = [round(255 + (channel - 255) * strength) for channel in goal]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})", "#fff" if strength > 0.6 else "#111"


def drawn(title: str, rows: Mapping[str, Mapping[str, Interval]]) -> str:
    """Return the picture: blue where the difference is above 0, red where it is below.

    A difference whose interval leaves 0 out is set in bold. All rows have the same columns.
    """
    columns = list(next(iter(rows.values()), {}))
    size = (LEFT + WIDTH * len(columns) + 8, TOP + HEIGHT * len(rows) + 8)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="13">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#fff"/>',
        f'<text x="8" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for place, name in enumerate(columns):
        arm, _, test = name.partition(", ")
        middle = LEFT + WIDTH * (place + 0.5)
        for line, words in enumerate((arm, f"{test} test")):
            parts.append(_text(middle, TOP - 30 + 18 * line, words))
    for number, (name, cells) in enumerate(rows.items()):
        top = TOP + HEIGHT * number
        parts.append(_text(LEFT - 10, top + HEIGHT / 2 + 5, name, anchor="end"))
        for place, column in enumerate(columns):
            parts.append(_cell(LEFT + WIDTH * place, top, cells[column]))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cell(left: float, top: float, value: Interval) -> str:
    fill, ink = colour(value.mean)
    width = f"± {value.half:.3f}" if math.isfinite(value.half) else "one seed"
    sure = abs(value.mean) > value.half
    return (
        f'<rect x="{left}" y="{top}" width="{WIDTH - 2}" height="{HEIGHT - 2}" fill="{fill}" '
        'stroke="#ddd"/>'
        + _text(left + WIDTH / 2, top + 19, f"{value.mean:+.3f}", ink=ink, bold=sure)
        + _text(left + WIDTH / 2, top + 34, width, ink=ink, size=11)
    )


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "middle",
    ink: str = "#111",
    size: int = 13,
    bold: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{ink}" font-size="{size}"'
        f"{weight}>{escape(words)}</text>"
    )
