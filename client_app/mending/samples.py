"""What a detector learns from of a folder of originals, at the scales that are mended."""

from __future__ import annotations

from torch import Tensor

from client_app.calibration import FITTED, Sample, Stored
from client_app.decoding import Decoding
from client_app.mending.mender import PIXELS, Scale
from client_app.watching import Watching
from fedmend.records import Reader, Record, quantised
from imputation.detectors.signs import LEAST

_SIDE = 128
"""Of the middle of a picture that stands for its pixels: signs are shares, or means, of it."""


class Cut:
    """Decodes a record at the scales that are asked for: the work of a process.

    Args:
        reader: of the record.
        size: side in pixels of the squares that the imputer was trained on.
        channels: 1 (grey) or 3 (RGB).
        scale: at which images are looked at.
    """

    def __init__(self, reader: Reader, size: int, channels: int, scale: Scale) -> None:
        self.scale = scale
        self.middle = _Middle(reader)
        self.decoding = Decoding(self.middle, size, channels)

    def __call__(self, record: Record) -> Sample:
        """Return the picture fitted, and the middle of its pixels unless it is too small."""
        self.middle.pixels = None
        fitted = self.decoding(record).pixels
        if fitted is None:
            return {}
        made = {} if self.scale == "full" else {FITTED: fitted}
        if self.scale != "model" and self.middle.pixels is not None:
            made[PIXELS] = self.middle.pixels
        return made

    def lost(self, record: Record) -> Sample:
        """Return that a record cannot be decoded, because processes died over it."""
        del record
        return {}


class _Middle(Watching):
    """Keeps the middle of the image that was loaded last."""

    pixels: Stored | None = None

    def seen(self, image: Tensor) -> None:
        """Keep it, unless the image is too small."""
        if image.ndim == 3 and min(image.shape[1:]) >= LEAST:
            height, width = image.shape[1:]
            top, left = (max(0, side - _SIDE) // 2 for side in (height, width))
            self.pixels = quantised(image[:, top : top + _SIDE, left : left + _SIDE])
