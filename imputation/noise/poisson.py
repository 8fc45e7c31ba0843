"""Photon noise: the light or the X-rays that reach a detector come in countable quanta."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.parameters import FAINTEST, check, draw

IDENTITY = "poisson(gain=0)"

_GAIN = Range(0.01, 0.01)


@NOISES.register("poisson")
def poisson(*, gain: Range = _GAIN) -> Noise:
    """Return noise that turns a value x into gain * k, k ~ Poisson(x / gain), and clips to [0, 1].

    The grey value is taken to be linear in the dose: its mean stays x, its variance is gain * x,
    so bright regions are noisier. With the default, 100 photons make white, and the standard
    deviation at mid-grey is 0.07.

    Args:
        gain: grey value of one photon, 1 / the count that makes white, from 0 to 1; one is drawn
            per image, uniformly from low to high. 0 is identity: infinitely many photons.

    Raises:
        ValueError: ``gain`` does not lie in [0, 1].

    >>> poisson(gain=Range(0.01, 0.1))
    PhotonNoise(gain=Range(low=0.01, high=0.1))
    """
    check("gain", gain)
    return PhotonNoise(gain)


@dataclass(frozen=True)
class PhotonNoise:
    """Clipped gain * Poisson(x / gain); ``sigma`` is sqrt(gain * x), x meaned over channels."""

    gain: Range

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]; every channel counts photons of its own."""
        gain = draw(self.gain, generator)
        clean = untouched(image)
        if gain < FAINTEST**2:
            return clean
        expected = clean.image.to(generator.device).div_(gain)
        noisy = torch.poisson(expected, generator=generator).to(image.device).mul_(gain)
        return Corrupted(
            noisy.clamp_(0, 1), clean.hole, image.mean(0, keepdim=True).mul_(gain).sqrt_()
        )
