"""Where a picture is, within what is handed over as its pixels.

Squaring an image that is higher than wide puts bars beside it, and a collimator leaves a frame
around it. Whole lines at the border of one constant value are such margins: nothing is to be
found in them, and nothing to be mended.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEP = 2 / 65535
"""Two steps of the 16 bits in which a site keeps its images: what differs less is the same."""
LEAST_CONTRAST = 10 ** (-32 / 20)
"""Standard deviation of pixels below which an image has neither noise to speak of (32 dB) nor a
picture."""


def boxes(images: Tensor) -> Tensor:
    """Return (n, 4) int64: the first and last row (exclusive) of each picture, and its columns.

    A picture of one constant value is empty: both of its rows, or columns, are the same.

    Args:
        images: (n, C, H, W).
    """
    sides = []
    for axis in (2, 3):
        # Rows, then columns: their darkest and brightest pixel, by channel.
        lowest, highest = images.amin(5 - axis), images.amax(5 - axis)
        flat = (highest - lowest).amax(1) <= STEP
        for backwards in (False, True):
            line = lowest.flip(2) if backwards else lowest
            alike = (line - line[:, :, :1]).abs().amax(1) <= STEP
            passed = (alike & (flat.flip(1) if backwards else flat)).cumprod(1).sum(1)
            sides.append(images.shape[axis] - passed if backwards else passed)
    top, bottom, left, right = sides
    return torch.stack((top, torch.maximum(top, bottom), left, torch.maximum(left, right)), 1)


def margins(images: Tensor) -> Tensor:
    """Return (n, 1, H, W) bool: the pixels that are beside the picture."""
    top, bottom, left, right = (side[:, None] for side in boxes(images).unbind(1))
    row = torch.arange(images.shape[2], device=images.device)
    column = torch.arange(images.shape[3], device=images.device)
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    return ~(rows[:, :, None] & columns[:, None, :])[:, None]


def contrast(images: Tensor) -> Tensor:
    """Return (n,): the standard deviation of each picture's pixels, all channels together."""
    inside = (~margins(images)).to(images).expand_as(images)
    count = inside.sum((1, 2, 3)).clamp_min(1)
    mean = (images * inside).sum((1, 2, 3)) / count
    off = (images - mean[:, None, None, None]) * inside
    return (off.square().sum((1, 2, 3)) / count).sqrt()
