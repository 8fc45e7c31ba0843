"""One PNG, JPEG, TIFF or NPY image mended: written in its own kind, size and bit depth.

JPEG becomes PNG, so that nothing more is lost. Images are written upright, as they are shown.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client_app.mending import png
from client_app.mending.unmendable import NOT_THE_SAME, Unmendable
from client_app.readers import raster

_WHITE_IS_0 = 0
_DEPTH_AT = 24  # of the bit depth in a PNG
_ROUNDING = 1e-3


def encoded(data: bytes, mended: Tensor) -> bytes | None:
    """Return the mended image's file, read back and found to be what it should be.

    Args:
        data: the source file's bytes.
        mended: (C, H, W) in [0, 1], of the size that :func:`client_app.readers.raster.decode`
            gave.

    Returns:
        The file's bytes; None where it has no sample that changes.

    Raises:
        DataError: the source cannot be decoded.
        Unmendable: what was written does not read as it should.
    """
    kind = raster.kind_of(data)
    before = raster.decode(data)
    shown = np.moveaxis(mended.numpy(), 0, -1)
    shown = shown[..., 0] if shown.shape[2] == 1 else shown
    samples = _quantised(shown, _type(data, kind))
    if kind == "npy":
        made = _npy(data, samples)
    elif kind == "tiff":
        made = _tiff(data, samples)
    else:
        made = png.encode(samples)
    after = raster.decode(made)
    off = float((after - mended).abs().max()) if after.shape == mended.shape else np.inf
    if off > _half_step(samples.dtype):
        raise Unmendable(NOT_THE_SAME)
    return None if torch.equal(after, before) else made


def name_for(name: str, made: bytes) -> str:
    r"""Return what the mended file is called: what became a PNG says so.

    >>> name_for("a/b.jpg", b"\x89PNG\r\n\x1a\n"), name_for("a/b.tif", b"II*\0")
    ('a/b.jpg.png', 'a/b.tif')
    """
    renamed = raster.kind_of(made) == "png" and not name.lower().endswith(".png")
    return f"{name}.png" if renamed else name


def _type(data: bytes, kind: str) -> np.dtype[Any]:
    """Return the type of a file's samples; fewer than 8 bits are written as 8."""
    if kind == "npy":
        return _header(data)[1].newbyteorder("=")
    if kind == "tiff":
        import tifffile

        with tifffile.TiffFile(io.BytesIO(data)) as file:
            found = file.pages.first.dtype
        return np.dtype(np.uint8 if found is None or found.itemsize == 1 else found)
    deep = kind == "png" and data[_DEPTH_AT] == 16
    return np.dtype(np.uint16 if deep else np.uint8)


def _top(kind: np.dtype[Any]) -> int:
    """Return what stands for 1.0 in integers."""
    return 1 if kind.kind == "b" else int(np.iinfo(kind).max)


def _half_step(kind: np.dtype[Any]) -> float:
    """Return by how much rounding may move a value in [0, 1]."""
    if kind.kind == "f":
        return float(np.finfo(kind).eps)
    return (0.5 + _ROUNDING) / _top(kind)


def _quantised(shown: npt.NDArray[np.float32], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    if kind.kind == "f":
        return shown.astype(kind.newbyteorder("="))
    return np.rint(shown.astype(np.float64) * _top(kind)).astype(kind.newbyteorder("="))


def _tiff(data: bytes, samples: npt.NDArray[Any]) -> bytes:
    """Return a TIFF file; white is 0 where it was."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        white = file.pages.first.photometric == _WHITE_IS_0
    photometric = "rgb" if samples.ndim == 3 else "minisblack"
    if white and samples.ndim == 2 and samples.dtype.kind == "u":
        photometric, samples = "miniswhite", np.iinfo(samples.dtype).max - samples
    made = io.BytesIO()
    tifffile.imwrite(made, samples, photometric=photometric, metadata=None, software=False)
    return made.getvalue()


def _npy(data: bytes, samples: npt.NDArray[Any]) -> bytes:
    """Return an NPY file of the source's shape and type."""
    shape, kind = _header(data)
    first = len(shape) == 3 and shape[0] in (1, 3)
    if len(shape) == 3 and samples.ndim == 2:
        samples = samples[..., None]
    array = np.moveaxis(samples, -1, 0) if first else samples
    made = io.BytesIO()
    np.save(made, np.ascontiguousarray(array).astype(kind), allow_pickle=False)
    return made.getvalue()


def _header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) == (1, 0):
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, kind = np.lib.format.read_array_header_2_0(file)
    return shape, kind
