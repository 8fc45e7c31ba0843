"""Pixels that are no part of the picture (PS3.3 C.7.5.1.1.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from client_app.dicom.layout import Layout
from client_app.dicom.stored import Stored
from client_app.dicom.values import number

_KEYWORDS = {
    "PixelData": "PixelPadding",
    "FloatPixelData": "FloatPixelPadding",
    "DoubleFloatPixelData": "DoubleFloatPixelPadding",
}


def padded(dataset: Dataset, claimed: Layout) -> bool:
    """Say whether the header names a padding value."""
    return number(dataset, f"{_KEYWORDS[claimed.keyword]}Value") is not None


def padding(dataset: Dataset, values: Stored, claimed: Layout) -> npt.NDArray[np.bool_]:
    """Say which stored values are padding, or not even numbers; shape as given.

    Padding is one value, or all from it to the range limit, both included.
    """
    stem = _KEYWORDS[claimed.keyword]
    outside = np.zeros(values.shape, bool) if not claimed.floating else ~np.isfinite(values)
    value = number(dataset, f"{stem}Value")
    if value is None:
        return outside
    limit = number(dataset, f"{stem}RangeLimit")
    ends = [_as_stored(end, claimed) for end in (value, value if limit is None else limit)]
    return outside | ((values >= min(ends)) & (values <= max(ends)))


def _as_stored(value: float, claimed: Layout) -> float:
    """Bring a value to the bits and the sign that the pixels have: headers often have another."""
    if claimed.floating:
        return float(np.float32(value)) if claimed.allocated == 32 else value
    bits = int(value) & (2**claimed.stored - 1)
    negative = claimed.signed and bits >= 2 ** (claimed.stored - 1)
    return float(bits - 2**claimed.stored if negative else bits)
