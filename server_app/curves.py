"""Curves over rounds, as the points and ticks of an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 110, 14, 42
_GAP = 16.0
"""Least distance between two labels, in units of the drawing."""

Points = Sequence[tuple[float, float]]


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float
    label: str


class Line(NamedTuple):
    """One curve."""

    name: str
    points: list[tuple[float, float]]
    """In units of the drawing, left to right."""
    label_at: float
    """Where down the right edge its name stands, clear of the others."""

    @property
    def path(self) -> str:
        """The points as a polyline wants them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


class Chart(NamedTuple):
    """A drawing of WIDTH by HEIGHT units."""

    across: list[Tick]
    up: list[Tick]
    lines: list[Line]


def chart(curves: Mapping[str, Points]) -> Chart | None:
    """Lay out curves on shared axes; None where there is no point at all.

    Args:
        curves: by name, the (round, value) pairs in order; finite.
    """
    known = {name: points for name, points in curves.items() if points}
    if not known:
        return None
    across = _whole_ticks([x for points in known.values() for x, _ in points])
    up = _ticks([y for points in known.values() for _, y in points])
    drawn = {
        name: [
            (_place(x, across, LEFT, WIDTH - RIGHT), _place(y, up, HEIGHT - BOTTOM, TOP))
            for x, y in points
        ]
        for name, points in known.items()
    }
    labels = _apart({name: points[-1][1] for name, points in drawn.items()})
    return Chart(
        across=[Tick(_place(x, across, LEFT, WIDTH - RIGHT), f"{x:g}") for x in across],
        up=[Tick(_place(y, up, HEIGHT - BOTTOM, TOP), _written(y, up)) for y in up],
        lines=[Line(name, points, labels[name]) for name, points in drawn.items()],
    )


def _place(value: float, ticks: Sequence[float], low: float, high: float) -> float:
    """Return where between ``low`` and ``high`` a value stands, the ticks being the ends."""
    return low + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (high - low)


def _written(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    # 0.025 needs a decimal more than its size tells.
    digits = next(n for n in range(16) if math.isclose(step * 10**n, round(step * 10**n)))
    return f"{value:.{digits}f}"


def _step(span: float, most: int) -> float:
    """Return the least round step by which ``most`` intervals cover ``span``."""
    unit: float = 10.0 ** math.floor(math.log10(span / most))
    return next(unit * each for each in (1, 2, 2.5, 5, 10, 20) if unit * each * most >= span)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return four to seven round numbers that enclose the values."""
    low, high = min(values), max(values)
    if high - low < 1e-3 * max(abs(high), 1.0):
        pad = max(abs(high), 1.0) * 0.01
        low, high = low - pad, high + pad
    step = _step(high - low, 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * each for each in range(first, last + 1)]


def _whole_ticks(values: Sequence[float]) -> list[float]:
    """Return whole numbers from the least value to at least the greatest."""
    low, high = math.floor(min(values)), max(math.ceil(max(values)), math.floor(min(values)) + 1)
    step = max(1, math.ceil(_step(high - low, 10)))
    return [float(low + step * each) for each in range(math.ceil((high - low) / step) + 1)]


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """Return the places nearest to those wanted that keep labels ``_GAP`` apart.

    Taking i gaps off the i-th label turns this into isotonic regression, which pooling adjacent
    violators solves: labels that would collide become a block around their common middle.
    """
    order = sorted(wanted, key=lambda name: wanted[name])
    blocks: list[list[float]] = []
    for rank, name in enumerate(order):
        blocks.append([wanted[name] - rank * _GAP])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    ranked = [_mean(block) for block in blocks for _ in block]
    bottom = HEIGHT - BOTTOM - (len(order) - 1) * _GAP
    return {
        name: max(TOP, min(place, bottom)) + rank * _GAP
        for rank, (name, place) in enumerate(zip(order, ranked, strict=True))
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
