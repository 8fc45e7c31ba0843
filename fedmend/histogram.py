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
