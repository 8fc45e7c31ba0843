"""Bilateral filter (Tomasi & Manduchi 1998): averages neighbours of similar value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter

IDENTITY = "bilateral(spatial=0)"


@FILTERS.register("bilateral")
def bilateral(*, spatial: float = 1.5, value: float = 0.2) -> Filter:
    """Return a mean weighted by distance and by likeness, both Gaussian.

    Args:
        spatial: standard deviation of the distance in pixels; 0 is identity.
        value: standard deviation of the difference of values, in units of the image's range;
            0 is identity.

    Raises:
        ValueError: either is negative or not finite.
    """
    for name, given in (("spatial", spatial), ("value", value)):
        if not 0 <= given < math.inf:
            raise ValueError(f"{name} must be a finite number of at least 0; got {given:g}")
    return Bilateral(spatial, value)


@dataclass(frozen=True)
class Bilateral:
    """Compares pixels by all their channels at once; the border's values go on beyond it."""

    spatial: float
    value: float

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        if self.spatial == 0 or self.value == 0:
            return image.clone()
        from skimage.restoration import denoise_bilateral

        grey = image.shape[0] == 1
        made = denoise_bilateral(
            image[0].numpy() if grey else image.numpy(),
            sigma_color=self.value,
            sigma_spatial=self.spatial,
            mode="edge",
            channel_axis=None if grey else 0,
        )
        return torch.from_numpy(made).float().reshape(image.shape).clamp_(0, 1)
