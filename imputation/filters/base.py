"""What every classical filter answers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Filter(Protocol):
    """Smooths one image without having learned anything.

    The module of a filter has the filter's name and declares, as ``IDENTITY``, the spec whose
    strength is zero: the contract tests hold every filter to it.
    """

    def __call__(self, image: Tensor) -> Tensor:
        """Return (C, H, W) float32 in [0, 1] of the same; ``image`` is left as it is."""
        ...


def check_size(size: int) -> None:
    """Refuse a window without a centre.

    Raises:
        ValueError: ``size`` is even or below 1.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be an odd number of pixels, at least 1; got {size}")
