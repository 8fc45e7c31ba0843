"""All usable images of one reader, decoded once and kept in the cache.

Two entries stand behind a source. The index goes by the reader's fingerprint (names, sizes,
times), the pixels by the images' content: a folder that was moved or touched is indexed again,
and decodes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from client_app.cache import Cache
from client_app.fit import fit
from fedmend.errors import DataError
from fedmend.records import Index, Pixels, Reader, Record, Rejected, quantised

_DECODER = "1"  # of what pixels become; a change of it decodes everything anew

Progress = Callable[[int, int], None]
"""Called with the number of images decoded and the number of all."""


class Source(NamedTuple):
    """All usable images of one reader."""

    records: tuple[Record, ...]
    """Of the images that can be decoded, sorted by uid."""
    rejected: tuple[Rejected, ...]
    """The files that cannot be used, from index and decoding."""
    pixels: Pixels
    """(n, C, H, W) in the records' order."""


def open_source(
    cache: Cache, reader: Reader, *, size: int, channels: int, progress: Progress | None = None
) -> Source:
    """Return a reader's images, each fitted into a square; decoded where the cache lacks them.

    Args:
        cache: of the site.
        reader: of its images.
        size: the square's side in pixels.
        channels: 1 (grey) or 3 (RGB).
        progress: told after each image that is decoded.

    Raises:
        DataError: the source as a whole cannot be used, or no room is left for it.
    """
    index = _indexed(cache, reader)
    content = hashlib.sha256("".join(record.uid for record in index.records).encode()).hexdigest()
    shape = (len(index.records), channels, size, size)

    def fill(folder: Path) -> None:
        _decode(reader, index.records, shape, folder, progress)

    key = f"pixels {_DECODER} {content} {size} {channels}"
    kept = cache.entry(key, int(np.prod(shape, dtype=np.int64)) * 2, fill)
    good = np.flatnonzero(kept["good"])
    usable = tuple(record for record, fine in zip(index.records, kept["good"], strict=True) if fine)
    failed = [Rejected(*pair) for pair in _unpacked(kept["failed"])]
    return Source(
        records=usable,
        rejected=(*index.rejected, *failed),
        pixels=Pixels(kept["image"], None if len(good) == shape[0] else good),
    )


def _indexed(cache: Cache, reader: Reader) -> Index:
    def make() -> dict[str, npt.NDArray[Any]]:
        index = reader.index()
        return {"records": _packed(index.records), "rejected": _packed(index.rejected)}

    kept = cache.arrays(f"index {_DECODER} {reader.fingerprint()}", make)
    return Index(
        [Record(*fields) for fields in _unpacked(kept["records"])],
        [Rejected(*pair) for pair in _unpacked(kept["rejected"])],
    )


def _packed(rows: Sequence[Sequence[Any]]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8)


def _unpacked(array: npt.NDArray[np.uint8]) -> list[list[Any]]:
    loaded: list[list[Any]] = json.loads(array.tobytes())
    return loaded


def _decode(
    reader: Reader,
    records: Sequence[Record],
    shape: tuple[int, int, int, int],
    folder: Path,
    progress: Progress | None,
) -> None:
    """Decode every image into the entry's files, one at a time in memory."""
    images: npt.NDArray[np.uint16]
    if shape[0]:
        images = np.lib.format.open_memmap(
            folder / "image.npy", mode="w+", dtype=np.uint16, shape=shape
        )
    else:
        images = np.zeros(shape, dtype=np.uint16)
        np.save(folder / "image.npy", images)
    good = np.zeros(shape[0], dtype=bool)
    failed: list[Rejected] = []
    for row, record in enumerate(records):
        try:
            images[row] = quantised(fit(reader.load(record), shape[2], shape[1]))
            good[row] = True
        except DataError as error:
            failed.append(Rejected(error.local or record.uid, str(error)))
        except (
            ArithmeticError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
            OSError,
        ) as error:
            # Whatever a decoder trips over costs this image alone.
            failed.append(Rejected(record.uid, f"cannot be decoded ({type(error).__name__})"))
        if progress is not None:
            progress(row + 1, shape[0])
    if isinstance(images, np.memmap):
        images.flush()
    np.save(folder / "good.npy", good)
    np.save(folder / "failed.npy", _packed(failed))
