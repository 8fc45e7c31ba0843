"""Pictures whose pixels are not square, brought to the proportions of what they show."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as functional
from torch import Tensor

from client_app.dicom.limits import MAX_SAMPLES
from client_app.dicom.untrusted import TOO_LARGE, Untrusted

Aspect = Literal["keep", "stretch"]
"""Whether a picture keeps its proportions, with margins around it, or fills the run's square."""
_SQUARE = 0.01
"""Pixels that are off by less are square: spacings are rounded decimals."""


def proportioned(image: Tensor, ratio: float, aspect: Aspect) -> Tensor:
    """Return an image with square pixels, or a square one.

    The coarser side is refined, so that nothing is lost.

    Args:
        image: (C, H, W).
        ratio: a pixel's height over its width.
        aspect: what is kept.

    Raises:
        Untrusted: it would become larger than an image may be.
    """
    height, width = image.shape[-2:]
    if aspect == "stretch":
        side = max(height, width)
        return _resized(image, side, side)
    if abs(ratio - 1) < _SQUARE:
        return image
    if ratio > 1:
        return _resized(image, round(height * ratio), width)
    return _resized(image, height, round(width / ratio))


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[-2:] == (height, width):
        return image
    if image.shape[0] * height * width > MAX_SAMPLES:
        raise Untrusted(TOO_LARGE, local=f"{height} x {width} with square pixels")
    resized: Tensor = functional.interpolate(
        image[None], size=(height, width), mode="bilinear", align_corners=False
    )[0]
    return resized.clamp(0, 1)
