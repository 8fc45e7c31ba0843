"""Speckle: the echoes of a coherent wave interfere, as in ultrasound or optical coherence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedmend import randomness
from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.parameters import FAINTEST, check, draw

IDENTITY = "speckle(std=0)"

_STD = Range(0.2, 0.2)


@NOISES.register("speckle")
def speckle(*, std: Range = _STD) -> Noise:
    """Return noise that multiplies x by g ~ Gamma(shape L, scale 1 / L), L = 1 / std², and clips.

    The intensity of fully developed speckle is exponentially distributed about its mean (std 1);
    the mean of L independent looks at it is Gamma distributed. The factor has mean 1 and standard
    deviation std, is drawn for each pixel on its own (a grain is one pixel) and, the wave being
    one, is the same for all channels.

    Args:
        std: standard deviation of the factor, 1 / sqrt(looks), from 0 to 1; one is drawn per
            image, uniformly from low to high. 0 is identity.

    Raises:
        ValueError: ``std`` does not lie in [0, 1].

    Source: Goodman, Some Fundamental Properties of Speckle (J Opt Soc Am 1976).

    >>> speckle(std=Range(0.5, 0.5))
    GammaSpeckle(std=Range(low=0.5, high=0.5))
    """
    check("std", std)
    return GammaSpeckle(std)


@dataclass(frozen=True)
class GammaSpeckle:
    """Clipped x * Gamma; ``sigma`` is std * x, of several channels the root mean square."""

    std: Range

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]."""
        std = draw(self.std, generator)
        clean = untouched(image)
        if std < FAINTEST:
            return clean
        factor = _gamma(image.shape[-2:], std**-2, generator).to(image.device)
        noisy = clean.image.mul_(factor).clamp_(0, 1)
        return Corrupted(noisy, clean.hole, image.square().mean(0, keepdim=True).sqrt_().mul_(std))


def _gamma(shape: torch.Size, looks: float, generator: torch.Generator) -> Tensor:
    """Draw (H, W) float32 of mean 1 and variance 1 / ``looks``."""
    # torch offers no public Gamma draws that take a generator; NumPy does, seeded from ours.
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    rng = randomness.numpy_generator(int(seed))
    return torch.from_numpy((rng.standard_gamma(looks, tuple(shape)) / looks).astype(np.float32))
