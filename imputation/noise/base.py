"""What every noise answers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Corrupted(NamedTuple):
    """What a noise did to one image."""

    image: Tensor
    """(C, H, W) float32 in [0, 1]."""
    hole: Tensor
    """(1, H, W) float32: 1 where pixels were replaced, 0 elsewhere."""
    sigma: Tensor
    """(1, H, W) float32: local standard deviation of what was added, before clipping."""


class Noise(Protocol):
    """Corrupts one image, drawing whatever is random from the generator it is given.

    The module of a noise has the noise's name and declares, as ``IDENTITY``, the spec whose
    strength is zero: the contract tests hold every noise to it.
    """

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt ``image``, (C, H, W) float32 in [0, 1], which is left as it is."""
        ...


def untouched(image: Tensor) -> Corrupted:
    """Return a copy of ``image``, (C, H, W), to which nothing was done."""
    plane = (1, *image.shape[-2:])
    return Corrupted(image.clone(), image.new_zeros(plane), image.new_zeros(plane))
