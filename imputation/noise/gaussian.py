"""Additive white Gaussian noise: thermal noise of detector and electronics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.parameters import draw

IDENTITY = "gaussian(std=0)"

_STD = Range(0.07, 0.07)


@NOISES.register("gaussian")
def gaussian(*, std: Range = _STD) -> Noise:
    """Return noise that adds std * n to every value, n ~ N(0, 1), and clips to [0, 1].

    Args:
        std: standard deviation in units of the image's range; one is drawn per image,
            uniformly from low to high. 0 is identity.

    Raises:
        ValueError: ``std`` is negative or not finite.

    >>> gaussian(std=Range(0.1, 0.5))
    AdditiveGaussian(std=Range(low=0.1, high=0.5))
    """
    if not 0 <= std.low <= std.high < math.inf:
        raise ValueError(f"std must be a finite number or range of at least 0; got {std}")
    return AdditiveGaussian(std)


@dataclass(frozen=True)
class AdditiveGaussian:
    """Clipped x + std * n; ``sigma`` is the drawn std everywhere."""

    std: Range

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]; every channel gets noise of its own."""
        std = draw(self.std, generator)
        if std == 0:
            return untouched(image)
        added = torch.randn(image.shape, generator=generator, device=generator.device)
        noisy = added.to(image.device).mul_(std).add_(image).clamp_(0, 1)
        clean = untouched(image)
        return Corrupted(noisy, clean.hole, clean.sigma.fill_(std))
