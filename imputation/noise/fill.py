"""What replaces the pixels of a hole."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from imputation.noise.base import Corrupted

Fill = Literal["zero", "one", "mean", "random"]
"""0, 1, the mean of each of the image's channels, or a grey level drawn per image from U(0, 1)."""


def filled(image: Tensor, hole: Tensor, fill: Fill, level: float) -> Corrupted:
    """Replace the pixels of ``image``, (C, H, W), where ``hole``, (1, H, W), is 1.

    Args:
        image: float32 in [0, 1], which is left as it is.
        hole: of the image's type.
        fill: what replaces them.
        level: the grey level that was drawn for the fill "random".
    """
    replaced = torch.where(hole > 0, _paint(image, fill, level), image)
    return Corrupted(replaced, hole, torch.zeros_like(hole))


def _paint(image: Tensor, fill: Fill, level: float) -> Tensor:
    """Return (C, 1, 1): the value of replaced pixels, channel by channel."""
    if fill == "mean":
        return image.mean((-2, -1), keepdim=True)
    levels = {"zero": 0.0, "one": 1.0, "random": level}
    return image.new_full((image.shape[0], 1, 1), levels[fill])
