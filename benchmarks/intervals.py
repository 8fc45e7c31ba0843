"""Means and paired differences over seeds, with 95 % intervals (Student's t)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean and the half-width of its 95 % interval."""

    mean: float
    half: float

    def __str__(self) -> str:
        width = f"± {self.half:.3f}" if math.isfinite(self.half) else "(one seed)"
        return f"{self.mean:+.3f} {width}"


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of ``values`` and its half-width; infinite for fewer than two."""
    from scipy.stats import t

    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return Interval(mean, math.inf)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    return Interval(mean, float(t.ppf(0.975, count - 1)) * deviation / math.sqrt(count))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the interval of the differences, seed by seed."""
    return interval([a - b for a, b in zip(ours, theirs, strict=True)])
