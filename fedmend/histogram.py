"""AUROC that merges: scores are counted in bins, and bins add up across sites.

A score is a log-odds (any real number). Bins are equally wide in asinh(log-odds): fine around
even odds, where most pairs are decided, and coarse where a score is already certain.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 1024
_SPAN = 6.0  # asinh(200) = 6.0: beyond odds of e^200 all scores share the last bin


def counts(
    log_odds: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the scores' histogram.

    Args:
        log_odds: (n,) real scores, larger for the positive class.
        positive: (n,) the truth.

    Returns:
        (2 * BINS,): the counts of negatives, then of positives.
    """
    place = (np.arcsinh(log_odds) / _SPAN + 1) / 2 * BINS
    cell = np.clip(place, 0, BINS - 1).astype(np.int64) + BINS * positive.astype(np.int64)
    return np.bincount(cell, minlength=2 * BINS).astype(np.float64)


def auroc_error(histogram: npt.NDArray[np.float64]) -> float | None:
    """Return the standard error of the area under the ROC curve (Hanley and McNeil 1982).

    The area goes into it as if half an image of the rarer class were in the wrong place: the error
    of a perfect order is not 0, unless there are no end of images.

    Args:
        histogram: as for :func:`auroc`.

    Returns:
        None where there is no area.

    >>> both = counts(np.array([-1.0] * 50 + [1.0] * 50), np.array([False] * 50 + [True] * 50))
    >>> round(auroc_error(both), 3)
    0.01
    """
    area = auroc(histogram)
    if area is None:
        return None
    negative, positive = float(histogram[:BINS].sum()), float(histogram[BINS:].sum())
    fewer = min(negative, positive)
    area = (area * fewer + 0.5) / (fewer + 1)
    twice_positive, twice_negative = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area)
        + (positive - 1) * (twice_positive - area**2)
        + (negative - 1) * (twice_negative - area**2)
    ) / (negative * positive)
    return float(np.sqrt(variance))


def auroc(histogram: npt.NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve; pairs within one bin count one half.

    Args:
        histogram: (2 * BINS,) as from ``counts``, possibly merged.

    Returns:
        The share of (negative, positive) pairs in the right order; None without such a pair.
    """
    negative, positive = histogram[:BINS], histogram[BINS:]
    pairs = negative.sum() * positive.sum()
    if pairs == 0:
        return None
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
