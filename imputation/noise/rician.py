"""Rician noise: what thermal noise in both channels of an MR receiver does to the magnitude."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.parameters import FAINTEST, check, draw

IDENTITY = "rician(std=0)"

_STD = Range(0.07, 0.07)
_HIGH_SNR = 1e3


@NOISES.register("rician")
def rician(*, std: Range = _STD) -> Noise:
    """Return noise that turns x into sqrt((x + std * n)² + (std * m)²), n, m ~ N(0, 1), clipped.

    It is nearly Gaussian where x is well above std. Where there is no signal it is Rayleigh
    distributed: the background is raised to 1.25 std, and its standard deviation is 0.66 std.

    Args:
        std: standard deviation of the real and of the imaginary part, in units of the image's
            range, from 0 to 1; one is drawn per image, uniformly from low to high. 0 is identity.

    Raises:
        ValueError: ``std`` does not lie in [0, 1].

    Source: Gudbjartsson and Patz, The Rician Distribution of Noisy MRI Data (Magn Reson Med
    1995).

    >>> rician(std=Range(0.1, 0.1))
    MagnitudeNoise(std=Range(low=0.1, high=0.1))
    """
    check("std", std)
    return MagnitudeNoise(std)


@dataclass(frozen=True)
class MagnitudeNoise:
    """Clipped |x + complex noise|; ``sigma`` is the Rician standard deviation, without the bias.

    Of several channels ``sigma`` is the root mean square.
    """

    std: Range

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]; every channel gets noise of its own."""
        std = draw(self.std, generator)
        clean = untouched(image)
        if std < FAINTEST:
            return clean
        parts = torch.randn((2, *image.shape), generator=generator, device=generator.device)
        real, imaginary = parts.mul_(std).to(image.device)
        magnitude = torch.hypot(real.add_(image), imaginary).clamp_(0, 1)
        variance = rician_variance(image / std).mean(0, keepdim=True)
        return Corrupted(magnitude, clean.hole, variance.sqrt_().mul_(std))


def rician_variance(snr: Tensor) -> Tensor:
    """Return the variance of |snr + n + im|, n, m ~ N(0, 1), for a ``snr`` of at least 0.

    It is 2 + snr² - (pi / 2) L(-snr² / 2)², L the Laguerre function of order 1/2; it rises from
    2 - pi / 2 to 1. The result has the shape and the type of ``snr``.
    """
    # The difference of two terms of about snr² loses its digits where the limit of 1 has long
    # been reached (it is missed by 1 / (2 snr²)).
    squared = snr.double().clamp_(max=_HIGH_SNR).square_()
    at = squared / 4
    laguerre = (1 + 2 * at) * torch.special.i0e(at) + 2 * at * torch.special.i1e(at)
    variance: Tensor = 2 + squared - math.pi / 2 * laguerre.square_()
    return variance.to(snr.dtype)
