"""What a detector learns from of a folder of originals, at the scales that are mended."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from client_app.calibration import FITTED, Sample, Stored
from client_app.decoding import Copied, Decoding
from client_app.mending.mender import PIXELS, Scale
from fedmend.records import Index, Reader, Record, quantised
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


class _Middle:
    """A reader that keeps the middle of the image that it loaded last."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.pixels: Stored | None = None

    def fingerprint(self) -> str:
        """Return the reader's."""
        return self.reader.fingerprint()

    def index(self) -> Index:
        """Return the reader's."""
        return self.reader.index()

    def load(self, record: Record) -> Tensor:
        """Return the reader's image."""
        image = self.reader.load(record)
        if image.ndim == 3 and min(image.shape[1:]) >= LEAST:
            height, width = image.shape[1:]
            top, left = (max(0, side - _SIDE) // 2 for side in (height, width))
            self.pixels = quantised(image[:, top : top + _SIDE, left : left + _SIDE])
        return image

    def copies(self, record: Record) -> Sequence[Record]:
        """Return the reader's; none where it knows of none."""
        return self.reader.copies(record) if isinstance(self.reader, Copied) else ()
