"""Non-local means (Buades, Coll & Morel 2005): averages pixels whose surroundings look alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter, check_size
from imputation.filters.level import check_level, level

IDENTITY = "nlm(strength=0)"


@FILTERS.register("nlm")
def nlm(*, std: float = 0.0, strength: float = 0.8, size: int = 5, distance: int = 6) -> Filter:
    """Return a mean over a neighbourhood, weighted by how alike the patches around pixels are.

    Args:
        std: the noise's standard deviation in units of the image's range, by which patches may
            differ without counting as unlike; 0: estimated on each image
            (:func:`imputation.detectors.residual.noise_std`).
        strength: how fast weights fall with the remaining difference, in units of the noise's
            standard deviation; 0 is identity.
        size: side of the patches in pixels, odd.
        distance: how far away, in pixels, patches are looked for.

    Raises:
        ValueError: ``std`` or ``strength`` is negative or not finite, ``size`` is even or below
            1, or ``distance`` is below 1.
    """
    check_level(std=std, strength=strength)
    check_size(size)
    if distance < 1:
        raise ValueError(f"distance must be at least 1 pixel; got {distance}")
    return NonLocalMeans(std, strength, size, distance)


@dataclass(frozen=True)
class NonLocalMeans:
    """Compares patches by all their channels at once."""

    std: float
    strength: float
    size: int
    distance: int

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        std = level(image, self.std)
        if self.strength * std == 0:
            return image.clone()
        from skimage.restoration import denoise_nl_means

        grey = image.shape[0] == 1
        made = denoise_nl_means(
            image[0].numpy() if grey else image.numpy(),
            patch_size=self.size,
            patch_distance=self.distance,
            h=self.strength * std,
            sigma=std,
            fast_mode=True,
            channel_axis=None if grey else 0,
        )
        return torch.from_numpy(made).float().reshape(image.shape).clamp_(0, 1)
