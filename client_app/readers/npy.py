"""NPY: one NumPy array, read without ever unpickling."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.readers.samples import check_size, scaled
from fedmend.errors import DataError

MAGIC = b"\x93NUMPY"


def decode(data: bytes) -> Tensor:
    """Return the image, (C, H, W) float32 in [0, 1].

    Args:
        data: of an array (H, W), (H, W, C) or (C, H, W), C = 1 or 3, of bool, uint8, uint16 or
            floating point in [0, 1].

    Raises:
        DataError: another shape or type, or a file of the wrong length.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, columns_first, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise DataError("the array's format version is not supported")
    if dtype.hasobject or dtype.kind not in "buf":
        raise DataError("the image's sample type does not say what is black and what is white")
    _check_shape(shape)
    count = int(np.prod(shape, dtype=np.int64))
    if len(data) - file.tell() != count * dtype.itemsize:
        raise DataError("the image is damaged or truncated")
    flat = np.frombuffer(data, dtype=dtype, offset=file.tell())
    return scaled(_last(flat.reshape(shape, order="F" if columns_first else "C")))


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) == 2:
        check_size(shape[1], shape[0])
        return
    if len(shape) != 3 or (shape[0] in (1, 3)) == (shape[2] in (1, 3)):
        raise DataError("the array's shape is not (H, W), (H, W, C) or (C, H, W), C = 1 or 3")
    height, width = shape[1:] if shape[0] in (1, 3) else shape[:2]
    check_size(width, height)


def _last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the array with its colours, if it has any, on the last axis."""
    first = array.ndim == 3 and array.shape[0] in (1, 3)
    return np.moveaxis(array, 0, 2) if first else array
