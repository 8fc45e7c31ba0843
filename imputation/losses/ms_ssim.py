"""Structure at several scales: MS-SSIM, which keeps contrast but drifts in brightness.

Wang et al., "Multiscale structural similarity for image quality assessment", Asilomar 2003.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, weighted

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SPREAD = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_LEAST = 1e-4
"""Below it a similarity counts as this much: a power below 1 has no slope that is finite at 0,
and of a negative number it has no value."""


@LOSSES.register("ms_ssim")
def ms_ssim(*, weight: float = 1.0) -> Loss:
    """Return 1 - MS-SSIM, at as many of the five scales as the images' sides allow.

    Args:
        weight: in a sum of losses, above 0.

    Raises:
        ValueError: ``weight`` is out of range.
    """
    return weighted(dissimilarity, weight)


def dissimilarity(restored: Tensor, target: Tensor) -> Tensor:
    """Return (B,) 1 - MS-SSIM, not negative whatever is lost in rounding."""
    return (1 - similarity(restored, target)).clamp_min(0)


def scales(side: int) -> int:
    """Return at how many scales an image of this shorter side, in pixels, is compared.

    Each scale halves the last, and the window must fit into the coarsest: five need 176 pixels.

    Raises:
        ValueError: the window does not fit at all.

    >>> [scales(side) for side in (16, 28, 64, 128, 176, 512)]
    [1, 2, 3, 4, 5, 5]
    """
    if side < _WINDOW:
        raise ValueError(f"MS-SSIM needs sides of at least {_WINDOW} pixels; got {side}")
    return min(len(_EXPONENTS), (side // _WINDOW).bit_length())


def similarity(images: Tensor, target: Tensor) -> Tensor:
    """Return the multi-scale structural similarity of each image, at most 1.

    With fewer than five scales the exponents of the finest ones are used, and scaled up to the
    sum of 1 that the five have.

    Args:
        images: (B, C, H, W), data range 1.
        target: of the same shape.

    Returns:
        (B,), positive: parts that disagree altogether count as 0.0001.

    Raises:
        ValueError: a side is below 11 pixels.
    """
    exponents = _EXPONENTS[: scales(min(images.shape[2:]))]
    product = torch.ones(len(images), dtype=images.dtype, device=images.device)
    for scale, exponent in enumerate(exponents):
        if scale:
            images, target = functional.avg_pool2d(images, 2), functional.avg_pool2d(target, 2)
        whole, contrast = _similarity(images, target)
        # Brightness is compared at the coarsest scale alone.
        part = whole if scale == len(exponents) - 1 else contrast
        product = product * part.clamp_min(_LEAST) ** (exponent / sum(exponents))
    return product


def _similarity(images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM and its part of contrast and structure, (B,) each; Wang et al. 2004."""
    planes = torch.stack([images, target, images**2, target**2, images * target])
    mean, mean_target, square, square_target, cross = _blurred(planes)
    covariance = cross - mean * mean_target
    variances = square - mean**2 + square_target - mean_target**2
    contrast = (2 * covariance + _C2) / (variances + _C2)
    brightness = (2 * mean * mean_target + _C1) / (mean**2 + mean_target**2 + _C1)
    return (brightness * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def _blurred(planes: Tensor) -> Tensor:
    """Return the Gaussian-weighted means of (n, B, C, H, W), where the whole window lies inside."""
    places = torch.arange(_WINDOW, dtype=planes.dtype, device=planes.device) - _WINDOW // 2
    window = torch.exp(-(places**2) / (2 * _SPREAD**2))
    window = window / window.sum()
    flat = planes.flatten(0, 2)[:, None]
    flat = functional.conv2d(flat, window.reshape(1, 1, 1, -1))
    flat = functional.conv2d(flat, window.reshape(1, 1, -1, 1))
    return flat.reshape(*planes.shape[:3], *flat.shape[2:])
