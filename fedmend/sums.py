"""Sums: statistics of a site that merge with another site's by addition.

A metric over all sites is computed once, from the merged sums; an average of averages never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

Sums = Mapping[str, npt.NDArray[np.float64]]
"""Name -> one-dimensional float64 array; missing and all-zero mean the same."""


def merge(parts: Iterable[Sums]) -> dict[str, npt.NDArray[np.float64]]:
    """Add sums up, in the order given (which is part of what makes results repeat to the bit).

    >>> merge([{"n": np.array([2.0])}, {"n": np.array([3.0])}])["n"]
    array([5.])
    """
    total: dict[str, npt.NDArray[np.float64]] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total[key] + value if key in total else np.array(value, dtype=np.float64)
    return total


def prefixed(prefix: str, sums: Sums) -> dict[str, npt.NDArray[np.float64]]:
    """Return the same sums under ``prefix/name``."""
    return {f"{prefix}/{key}": value for key, value in sums.items()}


def under(prefix: str, sums: Sums) -> dict[str, npt.NDArray[np.float64]]:
    """Return the sums whose names start with ``prefix/``, without it."""
    start = f"{prefix}/"
    return {key.removeprefix(start): value for key, value in sums.items() if key.startswith(start)}


def ratio(sums: Sums, part: str, whole: str) -> float | None:
    """Return one scalar sum over another; None where there is nothing to divide by."""
    if whole not in sums or part not in sums or float(sums[whole][0]) == 0:
        return None
    return float(sums[part][0]) / float(sums[whole][0])
