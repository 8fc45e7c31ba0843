"""A frame as it is shown: grey scale pipeline (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2) and colour.

Stored values -> modality LUT -> VOI LUT or window -> inversion (MONOCHROME1) -> [0, 1].
Overlays are ignored. Pixels keep the file's own size and orientation: a patient orientation is
described by the header, never by turning the stored matrix, and pixels that are not square are
told by :func:`aspect`, for whoever resizes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from pydicom import Dataset
from torch import Tensor

from client_app.dicom.grey import scale
from client_app.dicom.groups import holder
from client_app.dicom.layout import Layout, layout
from client_app.dicom.lut import palette
from client_app.dicom.padding import padding
from client_app.dicom.quiet import quiet
from client_app.dicom.stored import Stored, stored
from client_app.dicom.values import numbers
from client_app.dicom.window import Window

__all__ = ["Window", "aspect", "image"]

FILE = Window()


def image(dataset: Dataset, frame: int = 0, window: Window = FILE) -> Tensor:
    """Return one frame as it is shown.

    Args:
        dataset: as :func:`client_app.dicom.files.read` gives it.
        frame: counted from 0.
        window: which part of the grey scale; colour pictures have none.

    Returns:
        (C, H, W) float32 in [0, 1]: 1 channel where the file is grey, 3 (RGB) otherwise.

    Raises:
        Untrusted: the pixels or the tables that show them cannot be trusted.
        IndexError: there is no such frame.
    """
    claimed = layout(dataset)
    pixels = stored(dataset, frame)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    with quiet(), np.errstate(all="ignore"):
        if claimed.samples == 3:
            shown = pixels.astype(np.float32)
            shown /= np.float32(2**claimed.stored - 1)
        elif claimed.photometric == "PALETTE COLOR":
            shown = _painted(dataset, pixels, claimed)
        else:
            shown = _grey(dataset, frame, pixels, claimed, window)[..., None]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(shown, -1, 0)))


def aspect(dataset: Dataset, frame: int = 0) -> float:
    """Return a pixel's height over its width; 1.0 where the header does not say.

    It is taken from PixelAspectRatio, else from the spacing of the patient's plane, of the
    detector's, or of the scanned film. :func:`image` leaves the pixels as they are.
    """
    ratio = numbers(dataset, "PixelAspectRatio")
    if not _two(ratio):
        measures = holder(dataset, frame, "PixelMeasuresSequence", "PixelSpacing")
        keywords = ("ImagerPixelSpacing", "NominalScannedPixelSpacing")
        found = [numbers(measures, "PixelSpacing"), *(numbers(dataset, name) for name in keywords)]
        ratio = next((pair for pair in found if _two(pair)), (1.0, 1.0))
    return ratio[0] / ratio[1]


def _two(pair: tuple[float, ...]) -> bool:
    return len(pair) == 2 and min(pair) > 0


def _painted(dataset: Dataset, pixels: Stored, claimed: Layout) -> npt.NDArray[np.float32]:
    """Apply the palette to indices (H, W); returns (H, W, 3) in [0, 1]."""
    tables = palette(dataset, claimed)
    kinds, at = _kinds(pixels)
    painted = [(table(kinds.astype(np.float64)) / table.top).astype(np.float32) for table in tables]
    return np.stack(painted, axis=-1)[at]


def _grey(
    dataset: Dataset, frame: int, pixels: Stored, claimed: Layout, window: Window
) -> npt.NDArray[np.float32]:
    """Take grey values (H, W) through the pipeline, to [0, 1]."""
    if pixels.dtype.itemsize > 2:
        outside = padding(dataset, pixels, claimed)
        return scale(dataset, frame, pixels, ~outside, claimed, window)
    # What becomes of each of at most 65,536 values, and then one look-up a pixel.
    kinds, at = _kinds(pixels)
    inside = ~padding(dataset, kinds, claimed)
    if "ModalityLUTSequence" in dataset or not inside.all():
        present = np.zeros(kinds.size, bool)
        present[at] = True
        inside &= present
    return np.take(scale(dataset, frame, kinds, inside, claimed, window), at)


def _kinds(pixels: Stored) -> tuple[Stored, Stored]:
    """Return the values from the smallest to the largest, and where among them each pixel is."""
    if pixels.dtype.itemsize > 2:
        kinds, at = np.unique(pixels, return_inverse=True)
        return kinds, at.reshape(pixels.shape)
    low, high = int(pixels.min()), int(pixels.max())
    return np.arange(low, high + 1), np.subtract(pixels, low, dtype=np.intp)
