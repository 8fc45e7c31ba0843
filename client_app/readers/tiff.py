"""TIFF of one page: 1 to 8 bits through Pillow, 16 bits and floating point through tifffile."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from client_app.readers.samples import check_size, opaque, scaled
from fedmend.errors import DataError

if TYPE_CHECKING:
    import tifffile

MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_WHITE_IS_0, _BLACK_IS_0, _RGB = 0, 1, 2  # photometric interpretations
_ALPHA = (1, 2)  # extra samples: associated, unassociated


def is_shallow(data: bytes) -> bool:
    """Say whether an image has at most 8 bits a sample; refuse what no decoder should try.

    Raises:
        DataError: several pages, no pixels, too many, or a bit depth that is not supported.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if len(file.pages) != 1:
            raise DataError("the image has several pages")
        page = _first(file)
        check_size(page.imagewidth, page.imagelength)
        if page.imagedepth != 1:
            raise DataError("the image has several pages")
        bits = page.bitspersample
        if bits not in (1, 2, 4, 8, 16, 32, 64) or page.dtype is None:
            raise DataError("the image's bit depth is not supported")
        return bits <= 8 and page.dtype.kind in "bu"


def decode(data: bytes) -> Tensor:
    """Return an image of 16 bits or floating point, (C, H, W) float32 in [0, 1].

    Raises:
        DataError: its colour model, sample type or compression is not supported.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = _first(file)
        samples = _turned(_samples(page, data), int(page.tags.valueof("Orientation", 1)))
        samples = _without_alpha(page, samples)
        if page.photometric == _WHITE_IS_0:
            samples = _inverted(samples)
        colours = 1 if samples.ndim == 2 else samples.shape[2]
        if (int(page.photometric), colours) not in {(_WHITE_IS_0, 1), (_BLACK_IS_0, 1), (_RGB, 3)}:
            raise DataError("the image's colour model is not supported")
        return scaled(samples)


def _first(file: tifffile.TiffFile) -> tifffile.TiffPage:
    page: tifffile.TiffPage = file.pages.first
    return page


def _samples(page: tifffile.TiffPage, data: bytes) -> npt.NDArray[Any]:
    """Return the page as stored, (H, W) or (H, W, samples), before any turn."""
    try:
        samples: npt.NDArray[Any] = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        samples = _through_pillow(page, data)
    if page.axes == "SYX":  # one plane a sample
        samples = np.moveaxis(samples, 0, 2)
    if samples.shape[:2] != (page.imagelength, page.imagewidth):
        raise DataError("the image's layout is not supported")
    return samples[:, :, 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples


def _through_pillow(page: tifffile.TiffPage, data: bytes) -> npt.NDArray[Any]:
    """Return what tifffile alone cannot unpack (LZW, say), in the same type, or refuse it."""
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
        upright = int(page.tags.valueof("Orientation", 1)) == 1  # Pillow turns while it loads
        samples = np.asarray(image)
    kind = page.dtype.newbyteorder("=") if page.dtype is not None else None
    if samples.shape != page.shape or samples.dtype != kind or not upright:
        raise DataError("the image's compression is not supported")
    return samples


def _without_alpha(page: tifffile.TiffPage, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not page.extrasamples:
        return samples
    if len(page.extrasamples) > 1 or int(page.extrasamples[0]) not in _ALPHA or samples.ndim != 3:
        raise DataError("the image has samples of unknown meaning")
    opaque(samples[..., -1], 65535 if samples.dtype.kind == "u" else 1.0)
    colours = samples[..., :-1]
    return colours[..., 0] if colours.shape[2] == 1 else colours


def _inverted(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if samples.dtype.kind != "u":
        raise DataError("the image's sample type does not say what is black and what is white")
    return np.asarray(np.iinfo(samples.dtype).max - samples)


def _turned(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return the samples upright; the orientations are those of TIFF 6.0 and EXIF, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples
