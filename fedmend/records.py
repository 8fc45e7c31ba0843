"""Images as a site knows them: records before decoding, pixels after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SPLITS = ("train", "val", "test")
_TOP = 65535.0


class Record(NamedTuple):
    """One image, known without decoding it."""

    uid: str
    """SHA-256 (hex) of the file's bytes and frame: stable, free of patient data."""
    label: str | None
    """Its class by name; None where nobody has labelled it."""
    group: str
    """Hashed patient: no split and no partition divides a group."""
    split: str
    """"train", "val" or "test"; empty until the site has split its records."""
    noisy: bool | None
    """Vouched for by the site as noisy or clean; None where nobody knows."""
    facts: Mapping[str, str | float]
    """Acquisition and further label columns; they never leave the site."""


class Rejected(NamedTuple):
    """One file that cannot be used."""

    source: str
    """Its name within the site's data; stays at the site."""
    reason: str
    """Why, in words without names or paths: counts per reason may leave the site."""
    detail: str = ""
    """What exactly; stays at the site."""


class Index(NamedTuple):
    """What a reader found."""

    records: Sequence[Record]
    rejected: Sequence[Rejected]


class Reader(Protocol):
    """Finds a site's images and decodes them one at a time.

    Where what ``load`` returns depends on more than the bytes of the image (a window, say), the
    reader has an attribute ``decoding`` that says on what: it becomes part of the cache's key.
    """

    def fingerprint(self) -> str:
        """Return a hash that changes whenever ``index`` might answer differently.

        It must be cheap (file sizes and times, not contents): it is asked for at every message.

        Raises:
            DataError: there is nothing to read.
        """
        ...

    def index(self) -> Index:
        """Return the records, sorted by uid, and the files that were refused.

        Raises:
            DataError: the source as a whole cannot be used.
        """
        ...

    def load(self, record: Record) -> Tensor:
        """Return one image, (C, H, W) float32 in [0, 1], C = 1 or 3, at its own size.

        Raises:
            DataError: this image cannot be decoded; the site lists it as rejected.
        """
        ...


class Pixels:
    """Images of one shape, kept as 16-bit integers, possibly memory-mapped.

    Args:
        array: (n, C, H, W) uint16; 65535 stands for 1.0.
        rows: (m,) which of the array's images these are, in this order; None: all.
    """

    def __init__(
        self, array: npt.NDArray[np.uint16], rows: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.array = array
        self.rows = rows

    def __len__(self) -> int:
        return len(self.array if self.rows is None else self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image."""
        return self.array.shape[1], self.array.shape[2], self.array.shape[3]

    def take(self, places: Sequence[int] | npt.NDArray[np.int64] | Tensor) -> Tensor:
        """Return the images at these places, (len(places), C, H, W) float32 in [0, 1]."""
        chosen = np.asarray(places, dtype=np.int64)
        rows = chosen if self.rows is None else self.rows[chosen]
        return torch.from_numpy(self.array[rows].astype(np.float32)).div_(_TOP)

    def select(self, places: npt.NDArray[np.int64]) -> Pixels:
        """Return the images at these places, without reading them."""
        return Pixels(self.array, places if self.rows is None else self.rows[places])


def in_parts(images: Pixels | Tensor, size: int) -> Iterator[Tensor]:
    """Yield (n, C, H, W) float32 images in order, ``size`` at a time; one empty part of none."""
    for start in range(0, max(len(images), 1), size):
        stop = min(start + size, len(images))
        yield images.take(range(start, stop)) if isinstance(images, Pixels) else images[start:stop]


def quantised(images: Tensor) -> npt.NDArray[np.uint16]:
    """Return images in [0, 1] (any shape, float32) as 16-bit integers, rounded to nearest."""
    return (images.detach().cpu().clamp(0, 1) * _TOP).round().numpy().astype(np.uint16)
