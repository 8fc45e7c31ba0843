"""Fitting images of any size and colour into the run's square."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def fit(image: Tensor, size: int, channels: int) -> Tensor:
    """Return an image as a square of ``size`` pixels, its aspect kept by black margins.

    Args:
        image: (C, H, W) float32 in [0, 1], C = 1 or 3.
        size: side of the square in pixels.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        (channels, size, size) float32 in [0, 1]; the image itself where nothing is to be done.
    """
    image = _recoloured(image, channels)
    height, width = image.shape[1:]
    if height == width == size:
        return image
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    margins = (left, side - width - left, top, side - height - top)
    square = functional.pad(image, margins)
    resized = functional.interpolate(
        square[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    fitted: Tensor = resized[0].clamp(0, 1)
    return fitted


def _recoloured(image: Tensor, channels: int) -> Tensor:
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    return torch.tensordot(torch.tensor(_LUMA), image, dims=1)[None]
