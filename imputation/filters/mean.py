"""Moving average."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter, check_size

IDENTITY = "mean(size=1)"


@FILTERS.register("mean")
def mean(*, size: int = 3) -> Filter:
    """Return the mean over a square window; the border's values go on beyond the border.

    Args:
        size: side of the window in pixels, odd; 1 is identity.

    Raises:
        ValueError: ``size`` is even or below 1.
    """
    check_size(size)
    return Mean(size)


@dataclass(frozen=True)
class Mean:
    """Averages every channel alike."""

    size: int

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        if self.size == 1:
            return image.clone()
        around = functional.pad(image[None], (self.size // 2,) * 4, mode="replicate")
        return functional.avg_pool2d(around, self.size, stride=1)[0].clamp_(0, 1)
