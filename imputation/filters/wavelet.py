"""Wavelet shrinkage: what is small among an image's wavelet coefficients is held to be noise."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedmend.plugins import FILTERS
from imputation.filters.base import Filter
from imputation.filters.level import check_level, level

IDENTITY = "wavelet(strength=0)"
_METHODS = {"bayes": "BayesShrink", "visu": "VisuShrink"}
_WAVELET = "db2"


@FILTERS.register("wavelet")
def wavelet(
    *,
    std: float = 0.0,
    strength: float = 1.0,
    method: Literal["bayes", "visu"] = "bayes",
    shifts: int = 3,
) -> Filter:
    """Return soft thresholding of Daubechies' wavelets with two vanishing moments.

    Args:
        std: the noise's standard deviation in units of the image's range; 0: estimated on each
            image (:func:`imputation.detectors.residual.noise_std`).
        strength: factor on ``std``; 0 is identity.
        method: the threshold: ``bayes`` suits it to each band (BayesShrink, Chang, Yu & Vetterli
            2000), ``visu`` is one for all that removes nearly all noise, and detail with it
            (VisuShrink, Donoho & Johnstone 1994).
        shifts: the mean is taken over this many shifts each way, which removes the artefacts of
            the transform's grid (cycle spinning, Coifman & Donoho 1995); 1 is none.

    Raises:
        ValueError: ``std`` or ``strength`` is negative or not finite, or ``shifts`` below 1.
    """
    check_level(std=std, strength=strength)
    if shifts < 1:
        raise ValueError(f"shifts must be at least 1; got {shifts}")
    return Wavelet(std, strength, _METHODS[method], shifts)


@dataclass(frozen=True)
class Wavelet:
    """Takes each channel by itself."""

    std: float
    strength: float
    method: str
    shifts: int

    def __call__(self, image: Tensor) -> Tensor:
        """Filter (C, H, W) in [0, 1]."""
        std = self.strength * level(image, self.std)
        if std == 0:
            return image.clone()
        from skimage.restoration import denoise_wavelet

        # Beyond the border the mirror image goes on, lest shifting joins opposite borders.
        around = min(self.shifts - 1, *(side - 1 for side in image.shape[1:]))
        larger = np.pad(image.numpy(), ((0, 0), (around, 0), (around, 0)), mode="reflect")
        levels = _levels(min(larger.shape[1:]) - around)
        total = np.zeros_like(image.numpy())
        for down, right in itertools.product(range(around + 1), repeat=2):
            window = larger[:, down:, right:]
            made = denoise_wavelet(
                window, sigma=std, wavelet=_WAVELET, method=self.method, mode="soft",
                wavelet_levels=levels, rescale_sigma=False, channel_axis=0,
            )  # fmt: skip
            total += made[:, around - down :, around - right :]
        return torch.from_numpy(total).div_((around + 1) ** 2).clamp_(0, 1)


def _levels(side: int) -> int:
    """Return how often a side may be halved: the coarsest band keeps twice the wavelet's length.

    >>> _levels(16), _levels(64), _levels(224)
    (1, 3, 5)
    """
    return max(1, math.floor(math.log2(side / 3)) - 1)
