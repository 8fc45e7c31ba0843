"""Kind and bit depth of a PNG, JPEG, TIFF or NPY file that has been decoded before."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import numpy as np

from client_app.readers import raster

_HEAD = 64
_PNG_DEPTH = 24
"""Where a PNG's bit depth is (PNG specification, third edition, 11.2.1)."""


class RasterFile(NamedTuple):
    """What a file's own header says."""

    kind: str
    """PNG, JPEG, TIFF or NPY."""
    bits: str
    """A sample."""


def read(file: BinaryIO) -> RasterFile:
    """Read what a file is.

    Args:
        file: at its beginning; seekable.

    Raises:
        DataError: it is none of these.
        ValueError: its header is damaged.
    """
    head = file.read(_HEAD)
    kind = raster.kind_of(head)
    file.seek(0)
    if kind == "png":
        bits = str(head[_PNG_DEPTH])
    elif kind == "tiff":
        bits = _tiff(file)
    elif kind == "npy":
        bits = _npy(file)
    else:
        bits = "8"  # JPEG as Pillow reads it has no other depth
    return RasterFile(kind.upper(), bits)


def _tiff(file: BinaryIO) -> str:
    import tifffile

    with tifffile.TiffFile(file) as opened:
        page = opened.pages.first
        return f"{page.bitspersample}{_float(page.dtype)}"


def _npy(file: BinaryIO) -> str:
    first = np.lib.format.read_magic(file) == (1, 0)
    read_header = (
        np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    )
    kind = read_header(file)[2]
    return f"{1 if kind == np.bool_ else kind.itemsize * 8}{_float(kind)}"


def _float(kind: object) -> str:
    return " (float)" if kind is not None and np.dtype(str(kind)).kind == "f" else ""
