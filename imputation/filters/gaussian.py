"""Gaussian smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter

IDENTITY = "gaussian(sigma=0)"


@FILTERS.register("gaussian")
def gaussian(*, sigma: float = 1.0) -> Filter:
    """Return a convolution with a Gaussian; the border's values go on beyond the border.

    Args:
        sigma: standard deviation in pixels; 0 is identity.

    Raises:
        ValueError: ``sigma`` is negative or not finite.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be a finite number of pixels, at least 0; got {sigma:g}")
    return Gaussian(sigma)


@dataclass(frozen=True)
class Gaussian:
    """Smooths every channel alike, cut off at 4 sigma."""

    sigma: float

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        if self.sigma == 0:
            return image.clone()
        import skimage.filters

        smooth: Callable[..., Any] = skimage.filters.gaussian
        made = smooth(image.numpy(), sigma=self.sigma, mode="nearest", channel_axis=0)
        return torch.from_numpy(made).float().clamp_(0, 1)
