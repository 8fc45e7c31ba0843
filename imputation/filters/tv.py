"""Total variation (Rudin, Osher & Fatemi 1992): the nearest image with few and steep edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter
from imputation.filters.level import check_level, level

IDENTITY = "tv(strength=0)"
_STEPS = 200
_CLOSE = 1e-4


@FILTERS.register("tv")
def tv(*, std: float = 0.0, strength: float = 1.0) -> Filter:
    """Return total variation denoising by Chambolle's projections (2004).

    Args:
        std: the noise's standard deviation in units of the image's range; 0: estimated on each
            image (:func:`imputation.detectors.residual.noise_std`).
        strength: weight of the total variation, in units of ``std``; 0 is identity.

    Raises:
        ValueError: either is negative or not finite.
    """
    check_level(std=std, strength=strength)
    return TotalVariation(std, strength)


@dataclass(frozen=True)
class TotalVariation:
    """Takes each channel by itself."""

    std: float
    strength: float

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        weight = self.strength * level(image, self.std)
        if weight == 0:
            return image.clone()
        import skimage.restoration

        smooth: Callable[..., Any] = skimage.restoration.denoise_tv_chambolle
        made = smooth(image.numpy(), weight=weight, eps=_CLOSE, max_num_iter=_STEPS, channel_axis=0)
        return torch.from_numpy(made).float().clamp_(0, 1)
