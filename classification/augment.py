"""Augmentation: small changes that a radiograph might have had anyway.

Images are shifted and their grey values stretched a little. They are never flipped: left and
right matter (the heart lies left, dextrocardia is a finding), and so do up and down.

What is drawn depends on the generator and the number of images alone, never on their content, so
that two arms which train on different versions of the same images change them alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SHARE = 1 / 16
"""Largest shift, as a share of the side."""
_GAIN = 0.1
_OFFSET = 0.05


def _drawn(count: int, generator: torch.Generator) -> Tensor:
    """Return (count,) draws from U(-1, 1)."""
    return torch.rand(count, generator=generator) * 2 - 1


def _places(side: int, draws: Tensor) -> Tensor:
    """Return (n, side): where each pixel along one axis comes from, clamped at the edge."""
    reach = int(side * _SHARE)
    step = (draws * (reach + 0.5)).round().clamp(-reach, reach).long()
    return (torch.arange(side) + step[:, None]).clamp(0, side - 1)


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return each image moved by whole pixels, uniform over up to 1/16 of the side each way.

    Args:
        images: (n, C, H, W), on the CPU.
        generator: of the shifts, one pair an image.

    Returns:
        (n, C, H, W): what an image's move uncovers repeats its edge.
    """
    count, channels, height, width = images.shape
    rows = _places(height, _drawn(count, generator))
    columns = _places(width, _drawn(count, generator))
    source = rows[:, :, None] * width + columns[:, None, :]
    flat = source.flatten(1)[:, None].expand(-1, channels, -1)
    return images.flatten(2).gather(2, flat).reshape(images.shape)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return each image as gain * image + offset, clamped to [0, 1].

    The gain is drawn from U(0.9, 1.1), the offset from U(-0.05, 0.05), once an image.

    Args:
        images: (n, C, H, W) in [0, 1], on the CPU.
        generator: of the gains and offsets.
    """
    gain = 1 + _GAIN * _drawn(len(images), generator)
    offset = _OFFSET * _drawn(len(images), generator)
    stretched = images * gain[:, None, None, None] + offset[:, None, None, None]
    return stretched.clamp_(0, 1)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images, (n, C, H, W) in [0, 1], shifted and jittered; the originals stay."""
    return jitter(shift(images, generator), generator)
