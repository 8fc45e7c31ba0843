"""Salt and pepper: single pixels lost to bit errors, or dead and hot in the detector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.parameters import check, draw

IDENTITY = "saltpepper(share=0)"

_SHARE = Range(0.05, 0.05)


@NOISES.register("saltpepper")
def saltpepper(*, share: Range = _SHARE, salt: float = 0.5) -> Noise:
    """Return noise that replaces each pixel with probability ``share``, by 1 or by 0.

    Pixels are replaced independently of each other, and in all channels alike.

    Args:
        share: probability that a pixel is replaced, from 0 to 1; one is drawn per image,
            uniformly from low to high. 0 is identity.
        salt: probability that a replaced pixel becomes 1 (salt) instead of 0 (pepper).

    Raises:
        ValueError: ``share`` or ``salt`` does not lie in [0, 1].

    >>> saltpepper(salt=1)
    Impulses(share=Range(low=0.05, high=0.05), salt=1)
    """
    check("share", share)
    if not 0 <= salt <= 1:
        raise ValueError(f"salt must be a number from 0 to 1; got {salt:g}")
    return Impulses(share, salt)


@dataclass(frozen=True)
class Impulses:
    """Replaces single pixels; ``hole`` says which, ``sigma`` is 0."""

    share: Range
    salt: float

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]."""
        share = draw(self.share, generator)
        clean = untouched(image)
        if share == 0:
            return clean
        plane = clean.hole.shape
        lot = torch.rand(plane, generator=generator, device=generator.device).to(image.device)
        hole = (lot < share).to(image)
        extreme = (lot < share * self.salt).to(image)
        return Corrupted(torch.where(hole > 0, extreme, image), hole, clean.sigma)
