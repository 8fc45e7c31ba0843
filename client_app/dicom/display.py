"""A frame as it is shown: grey scale pipeline (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2) and colour.

Stored values -> modality LUT -> VOI LUT or window -> inversion (MONOCHROME1) -> [0, 1].
Overlays are ignored. Pixels keep the file's own size and orientation; whoever shows them turns them
by :mod:`client_app.dicom.upright` and makes them square by :func:`aspect`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from pydicom import Dataset
from torch import Tensor

from client_app.dicom.grey import line, scale
from client_app.dicom.groups import holder
from client_app.dicom.layout import Layout, layout
from client_app.dicom.lut import palette
from client_app.dicom.padding import padded, padding
from client_app.dicom.quiet import quiet
from client_app.dicom.stored import Stored, checked
from client_app.dicom.values import numbers
from client_app.dicom.window import Window

__all__ = ["Window", "aspect", "image"]

FILE = Window()
_BLOCK = 2**15
"""Pixels whose places are held at once: they stay in the processor's cache."""


def image(
    dataset: Dataset, frame: int = 0, window: Window = FILE, claimed: Layout | None = None
) -> Tensor:
    """Return one frame as it is shown.

    Args:
        dataset: as :func:`client_app.dicom.files.read` gives it.
        frame: counted from 0.
        window: which part of the grey scale; colour pictures have none.
        claimed: what :func:`client_app.dicom.layout.layout` says of it, where that is known.

    Returns:
        (C, H, W) float32 in [0, 1]: 1 channel where the file is grey, 3 (RGB) otherwise.

    Raises:
        Untrusted: the pixels or the tables that show them cannot be trusted.
        IndexError: there is no such frame.
    """
    claimed = claimed or layout(dataset)
    pixels = checked(dataset, claimed, frame)
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
    kinds = _kinds(pixels)
    colours = [table(kinds) / table.top for table in palette(dataset, claimed)]
    return _looked_up(pixels, np.stack(colours, axis=-1).astype(np.float32))


def _grey(
    dataset: Dataset, frame: int, pixels: Stored, claimed: Layout, window: Window
) -> npt.NDArray[np.float32]:
    """Take grey values (H, W) through the pipeline, to [0, 1]."""
    if pixels.dtype.itemsize > 2:
        outside = padding(dataset, pixels, claimed)
        return scale(dataset, frame, pixels, ~outside, claimed, window)
    if not padded(dataset, claimed):
        ends = int(pixels.min()), int(pixels.max())
        straight = line(dataset, frame, ends, claimed, window)
        if straight is not None:
            return straight(pixels)
    # What becomes of each of at most 65,536 values, and then one look-up a pixel.
    kinds = _kinds(pixels)
    inside = ~padding(dataset, kinds, claimed)
    if "ModalityLUTSequence" in dataset or not inside.all():
        # Otherwise the units rise or fall with the values, and the first and the last one, which
        # are in the picture, bound the range.
        inside &= _present(pixels, kinds.size)
    return _looked_up(pixels, scale(dataset, frame, kinds, inside, claimed, window))


def _kinds(pixels: Stored) -> Stored:
    """Return all values from the smallest to the largest of integer pixels, ascending."""
    return np.arange(int(pixels.min()), int(pixels.max()) + 1)


def _places(pixels: Stored) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
    """Yield where in :func:`_kinds` pixels are, some rows at a time: places are wide numbers."""
    low, step = int(pixels.min()), max(1, _BLOCK // pixels.shape[1])
    for top in range(0, pixels.shape[0], step):
        rows = slice(top, top + step)
        yield rows, np.subtract(pixels[rows], low, dtype=np.intp)


def _present(pixels: Stored, count: int) -> npt.NDArray[np.bool_]:
    """Say which of the kinds the picture has."""
    present = np.zeros(count, bool)
    for _, at in _places(pixels):
        present[at] = True
    return present


def _looked_up(pixels: Stored, shown: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Replace each pixel by what is shown for its kind."""
    made = np.empty(pixels.shape + shown.shape[1:], np.float32)
    for rows, at in _places(pixels):
        np.take(shown, at, axis=0, out=made[rows], mode="clip")  # any other mode copies
    return made
