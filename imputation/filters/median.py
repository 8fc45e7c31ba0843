"""Moving median (Tukey 1977): removes outliers and keeps edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter, check_size

IDENTITY = "median(size=1)"


@FILTERS.register("median")
def median(*, size: int = 3) -> Filter:
    """Return the median over a square window; the border's values go on beyond the border.

    Args:
        size: side of the window in pixels, odd; 1 is identity.

    Raises:
        ValueError: ``size`` is even or below 1.
    """
    check_size(size)
    return Median(size)


@dataclass(frozen=True)
class Median:
    """Takes the median of every channel alike."""

    size: int

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        if self.size == 1:
            return image.clone()
        import skimage.filters

        window = np.ones((1, self.size, self.size), dtype=bool)
        middle: Callable[..., Any] = skimage.filters.median
        return torch.from_numpy(middle(image.numpy(), window, mode="nearest"))
