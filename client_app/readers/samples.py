"""From stored samples to an image in [0, 1]: by bit depth, never by what the image happens to hold.

Scaling by an image's own smallest and largest value would make the same tissue look different
from image to image, and one hot pixel would darken the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmend.errors import DataError

MOST_PIXELS = 80_000_000
"""More are taken for a decompression bomb; the largest mammograms have about 30 million."""

_TOP = {"b1": 1, "u1": 255, "u2": 65535}


def check_size(width: int, height: int) -> None:
    """Refuse a size before anything is decoded.

    Raises:
        DataError: no pixels, or more than ``MOST_PIXELS``.
    """
    if width < 1 or height < 1:
        raise DataError("the image has no pixels")
    if width * height > MOST_PIXELS:
        raise DataError(f"the image has more than {MOST_PIXELS // 1_000_000} million pixels")


def scaled(samples: npt.NDArray[Any]) -> Tensor:
    """Return stored samples as an image.

    Args:
        samples: (H, W) or (H, W, C), C = 1 or 3; bool, uint8 (0 to 255), uint16 (0 to 65535) or
            floating point, which must already be in [0, 1].

    Returns:
        (C, H, W) float32 in [0, 1].

    Raises:
        DataError: another type, or floating-point values that are out of range or not finite.
    """
    planes = samples[None] if samples.ndim == 2 else np.moveaxis(samples, 2, 0)
    kind = f"{samples.dtype.kind}{samples.dtype.itemsize}"
    if samples.dtype.kind == "f":
        if not np.isfinite(planes).all():
            raise DataError("the image has values that are not finite")
        if planes.min() < 0 or planes.max() > 1:
            raise DataError("the image has floating-point values outside 0 to 1")
        values = planes.astype(np.float32)
    elif kind in _TOP:
        values = planes.astype(np.float32) / np.float32(_TOP[kind])
    else:
        raise DataError("the image's sample type does not say what is black and what is white")
    return torch.from_numpy(np.ascontiguousarray(values))


def opaque(alpha: npt.NDArray[Any], top: float) -> None:
    """Refuse transparency: what lies behind such pixels is anyone's guess.

    Raises:
        DataError: a value of ``alpha`` is below ``top``.
    """
    if alpha.size and alpha.min() < top:
        raise DataError("the image has transparent pixels")
