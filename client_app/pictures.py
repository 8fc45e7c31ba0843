"""A folder's images one after another, each as a run would see it; nothing is kept on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.calibration import Fitted, Learnt, learn
from client_app.decoding import Decoded, Decoding
from client_app.place import Place, place_of
from client_app.source import Progress, listed, refused, told
from client_app.twins import Twins
from client_app.watching import Watching
from client_app.workers import Workers, cores
from fedmend.records import Index, Pixels, Reader, Record, Rejected
from fedmend.settings import Settings
from imputation.detectors.base import Detector

_SAMPLES_AT_ONCE = 2**23  # of fitted images that are handled together
_MOST_AT_ONCE = 64

Shape = tuple[int, int, int]


class Picture(NamedTuple):
    """One image as a run would see it."""

    record: Record
    place: Place
    shape: Shape
    """(C, H, W) as it is stored."""
    pixels: npt.NDArray[np.uint16]
    """(channels, size, size), as a site keeps it."""


class Pictures:
    """The pictures of a reader's images, in batches, and what there are none of.

    Args:
        reader: of the images. Where several processes decode, it is sent to them.
        size: side in pixels of the square that each is fitted into.
        channels: 1 (grey) or 3 (RGB).
        most: of a batch; None: as many as memory takes easily.
        workers: processes that decode, this one included; None: one a core. The result does not
            depend on their number.
        progress: told after each file that is looked at and each image that is decoded.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        size: int,
        channels: int,
        most: int | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.reader = reader
        self.size = size
        self.channels = channels
        self.most = most or at_once(size, channels)
        self.workers = 1 if getattr(reader, "whole", False) else workers or cores()
        self.progress = progress
        self.refused: Sequence[Rejected] = ()
        """What cannot be used, once all batches were taken."""
        self._index: Index | None = None

    def learnt(self, detector: Detector, settings: Settings, *, believed: bool) -> Learnt:
        """Let a detector learn what it would learn of these images in a run.

        Args:
            detector: as it comes.
            settings: of the run.
            believed: whether the site's own word on its images counts.

        Raises:
            DataError: the source as a whole cannot be used.
            RunError: as :meth:`batches`.
        """
        sample = Fitted(Decoding(self.reader, self.size, self.channels))
        with Workers(self.workers) as crew:
            records = self._listed(crew).records
            mapped = told(crew, "decoding", self.progress)
            return learn(detector, records, sample, mapped, settings, believed=believed)

    def _listed(self, crew: Workers) -> Index:
        if self._index is None:
            self._index = listed(self.reader, told(crew, "reading", self.progress))
        return self._index

    def batches(self) -> Iterator[list[Picture]]:
        """Yield the pictures, all batches full but the last.

        Raises:
            DataError: the source as a whole cannot be used.
            RunError: the disk fails, or the images changed since they were listed.
        """
        failed: dict[str, Rejected] = {}
        instead: list[Record] = []
        with Workers(self.workers) as crew:
            index = self._listed(crew)
            chunk: list[Picture] = []
            for picture in self._decoded(crew, index, failed, instead):
                chunk.append(picture)
                if len(chunk) == self.most:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk
        self.refused = refused(index, list(failed.values()), instead)

    def _decoded(
        self, crew: Workers, index: Index, failed: dict[str, Rejected], instead: list[Record]
    ) -> Iterator[Picture]:
        mapped = told(crew, "decoding", self.progress)
        seen = mapped(_Seeing(self.reader, self.size, self.channels), index.records)
        twins = Twins(self.reader)
        for row, (record, (decoded, shape)) in enumerate(zip(index.records, seen, strict=True)):
            for each in decoded.failed:
                named = place_of(self.reader, record).path if each.source == record.uid else ""
                one = each._replace(source=named or each.source)
                failed.setdefault(one.source, one)
            used = record
            if decoded.instead is not None:
                instead.append(decoded.instead)
                used = record._replace(facts=decoded.instead.facts)
            if decoded.pixels is None:
                continue
            judged = twins.judge(row, used, decoded.pixels)
            # One that is withdrawn has been shown already; it is listed all the same.
            for one in judged.rejected:
                failed.setdefault(one.source, one)
            if judged.kept:
                place = place_of(self.reader, used)
                yield Picture(used, place, _stored(used, shape), decoded.pixels)


class _Measured(Watching):
    """Remembers the shape of the image that was loaded last."""

    shape: Shape = (0, 0, 0)

    def seen(self, image: Tensor) -> None:
        """Remember it."""
        if image.ndim == 3:
            self.shape = int(image.shape[0]), int(image.shape[1]), int(image.shape[2])


class _Seeing:
    """Decodes one record, and says how large the image is: the work of a process."""

    def __init__(self, reader: Reader, size: int, channels: int) -> None:
        self.measured = _Measured(reader)
        self.decoding = Decoding(self.measured, size, channels)

    def __call__(self, record: Record) -> tuple[Decoded, Shape]:
        return self.decoding(record), self.measured.shape

    def lost(self, record: Record) -> tuple[Decoded, Shape]:
        """Return that a record cannot be decoded, because processes died over it."""
        return self.decoding.lost(record), (0, 0, 0)


def _stored(record: Record, loaded: Shape) -> Shape:
    """Return an image's shape as stored: DICOM readers turn it, and make its pixels square."""
    rows, columns = record.facts.get("Rows"), record.facts.get("Columns")
    if isinstance(rows, float) and isinstance(columns, float):
        return loaded[0], int(rows), int(columns)
    return loaded


def at_once(size: int, channels: int) -> int:
    """Return how many fitted images to handle together, so that memory stays bounded.

    >>> at_once(64, 1), at_once(1024, 3), at_once(4096, 3)
    (64, 2, 1)
    """
    return max(1, min(_MOST_AT_ONCE, _SAMPLES_AT_ONCE // (size * size * channels)))


def stacked(chunk: Sequence[Picture]) -> Tensor:
    """Return the pictures of a chunk, (n, C, H, W) float32 in [0, 1], n at least 1."""
    return Pixels(np.stack([picture.pixels for picture in chunk])).take(range(len(chunk)))
