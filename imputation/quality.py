"""How close restored images are to the truth, as sums that merge across sites."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedmend.sums import Sums

KEYS = ("n", "psnr", "ssim", "l1", "l2")
SMALLEST = 16
"""Smallest side in pixels for which SSIM is defined here (its window takes 11)."""

_CAP = 100.0
_AT_ONCE = 64


def psnr(images: Tensor, target: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image, in dB.

    Args:
        images: (n, C, H, W), range [0, 1].
        target: the truth, of the same shape.

    Returns:
        (n,) float64: 10 log10(1 / MSE), at most 100 dB, so that equal images stay finite.
    """
    error = (images.double() - target.double()).square().mean((1, 2, 3))
    return -10 * torch.log10(error.clamp_min(10 ** (-_CAP / 10)))


def quality(images: Tensor, target: Tensor) -> Sums:
    """Return the images' number and the sums of their metrics.

    Args:
        images: (n, C, H, W) in [0, 1]; n may be 0.
        target: the truth, of the same shape.

    Returns:
        ``n`` and, summed over images, ``psnr`` (dB, as from :func:`psnr`), ``ssim`` (Wang et
        al. 2004: Gaussian window of 11 pixels and standard deviation 1.5, data range 1),
        ``l1`` and ``l2`` (mean absolute and mean squared error); each (1,) float64.

    Raises:
        ValueError: the shapes differ, or a side is below :data:`SMALLEST`.
    """
    if images.shape != target.shape:
        raise ValueError(f"shapes differ: {tuple(images.shape)} and {tuple(target.shape)}")
    if min(images.shape[-2:]) < SMALLEST:
        sides = " x ".join(str(side) for side in images.shape[-2:])
        raise ValueError(f"SSIM needs sides of at least {SMALLEST} pixels; got {sides}")
    total = torch.zeros(len(KEYS), dtype=torch.float64)
    # Parts of a bounded size, since SSIM needs many times their memory.
    for first in range(0, len(images), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        total += _metrics(images[rows].detach(), target[rows].detach()).sum(1).cpu()
    return {
        key: np.array([value], dtype=np.float64)
        for key, value in zip(KEYS, total.tolist(), strict=True)
    }


def _metrics(images: Tensor, target: Tensor) -> Tensor:
    """Return (len(KEYS), n) float64."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    likeness = structural_similarity_index_measure(
        images.float(), target.float(), data_range=1.0, reduction="none"
    )
    assert isinstance(likeness, Tensor)
    error = images.double() - target.double()
    return torch.stack(
        (
            torch.ones_like(likeness),
            psnr(images, target),
            likeness,
            error.abs().mean((1, 2, 3)),
            error.square().mean((1, 2, 3)),
        )
    )
