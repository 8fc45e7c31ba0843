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


def one_sided(differences: Sequence[float], bound: float) -> float:
    """Return the p-value of a t-test that the mean difference is at most ``bound``."""
    from scipy.stats import ttest_1samp

    if len(set(differences)) == 1:  # nothing varies: a t-test is not defined
        return 0.0 if differences[0] > bound else 1.0
    return float(ttest_1samp(differences, bound, alternative="greater").pvalue)


def holm(values: Sequence[float], level: float = 0.025) -> list[bool]:
    """Return which of several hypotheses are rejected together (Holm 1979).

    >>> holm([0.04, 0.001, 0.012])
    [False, True, True]
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    rejected = [False] * len(values)
    for number, place in enumerate(order):
        if values[place] > level / (len(values) - number):
            break
        rejected[place] = True
    return rejected
