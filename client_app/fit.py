"""Fitting images of any size and colour into the run's square."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from fedmend.errors import DataError

_LONGEST = 50
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def fit(image: Tensor, size: int, channels: int) -> Tensor:
    """Return an image as a square of ``size`` pixels, its aspect kept by black margins.

    Args:
        image: (C, H, W) float32 in [0, 1], C = 1 or 3.
        size: side of the square in pixels.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        (channels, size, size) float32 in [0, 1]; the image itself where nothing is to be done.

    Raises:
        DataError: it is a strip rather than an image.
    """
    height, width = image.shape[1:]
    side = max(height, width)
    if side > _LONGEST * min(height, width):
        raise DataError(f"the image is more than {_LONGEST} times as long as it is wide")
    image = _recoloured(image, channels)
    if height == width == size:
        return image
    # Along the longer side first: the margins of a large, narrow image then cost little.
    if width > height:
        image = _resized(image, height, size)
    elif height > width:
        image = _resized(image, size, width)
    top, left = (side - height) // 2, (side - width) // 2
    margins = (left, side - width - left, top, side - height - top)
    return _resized(functional.pad(image, margins) if any(margins) else image, size, size)


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    """Return the image at another size; averaging over what a coarser pixel covers."""
    resized: Tensor = functional.interpolate(
        image[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )[0]
    return resized.clamp(0, 1)


def _recoloured(image: Tensor, channels: int) -> Tensor:
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    weights = torch.tensor(_LUMA)[:, None, None]
    return (image * weights).sum(0, keepdim=True)
