"""PNG, JPEG, TIFF and NPY: bytes in, an image in [0, 1] out, or the reason why not."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from client_app.readers import deep_png, npy, tiff
from client_app.readers.samples import check_size, opaque, scaled
from fedmend.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy"})

_STARTS = {
    "png": (deep_png.SIGNATURE,),
    "jpeg": (b"\xff\xd8\xff",),
    "tiff": tiff.MAGIC,
    "npy": (npy.MAGIC,),
}
_GREY, _COLOUR = ("1", "L"), ("P", "RGB", "CMYK", "YCbCr")
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")


def kind_of(data: bytes) -> str:
    r"""Return "png", "jpeg", "tiff" or "npy" by the first bytes; a file's name proves nothing.

    Raises:
        DataError: the file is empty, or none of these.

    >>> kind_of(b"\xff\xd8\xff\xe0")
    'jpeg'
    """
    if not data:
        raise DataError("the file is empty")
    for kind, starts in _STARTS.items():
        if data.startswith(starts):
            return kind
    raise DataError("the file is not a PNG, JPEG, TIFF or NPY image")


def decode(data: bytes) -> Tensor:
    """Return an image, turned upright, (C, H, W) float32 in [0, 1], C = 1 (grey) or 3 (RGB).

    Raises:
        DataError: it is damaged, too large, or its meaning is not clear.
    """
    kind = kind_of(data)
    try:
        if kind == "npy":
            return npy.decode(data)
        if kind == "png" and deep_png.is_deep(data):
            return deep_png.decode(data)
        if kind == "tiff" and not tiff.is_shallow(data):
            return tiff.decode(data)
        return _pillow(data, kind)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("the image has too many pixels") from error
    except Exception as error:  # decoders meet hostile bytes with any exception
        raise DataError("the image is damaged or truncated") from error


def _pillow(data: bytes, kind: str) -> Tensor:
    with Image.open(io.BytesIO(data), formats=(kind.upper(),)) as image:
        check_size(*image.size)
        if getattr(image, "n_frames", 1) > 1:
            raise DataError("the image has several frames")
        image.load()
        # Pillow has turned a TIFF already, and dropped the tag that says so.
        return scaled(np.asarray(_plain(ImageOps.exif_transpose(image))))


def _plain(image: Image.Image) -> Image.Image:
    """Return an image as 8-bit or 16-bit grey, or as RGB."""
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        if image.mode.startswith("I"):
            raise DataError("the image has transparent pixels")
        image = image.convert("RGBA" if image.mode[0] in "PR" else "LA")
        opaque(np.asarray(image)[..., -1], 255)
        return image.convert("RGB" if image.mode == "RGBA" else "L")
    if image.mode in _GREY:
        return image.convert("L")
    if image.mode in _COLOUR:
        return image.convert("RGB")
    if image.mode == "I;16":
        return image
    raise DataError("the image's colour model is not supported")
