"""Images one after another, each as a run would see it; nothing is kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.fit import fit
from client_app.place import Place, place_of
from fedmend.errors import DataError, RunError, UserError
from fedmend.records import Pixels, Reader, Record, Rejected, quantised

THREADS = min(4, os.cpu_count() or 1)
"""That decode at once: each holds one image at its own size."""
_AHEAD = 4  # images a thread may be ahead of whoever asks
_SAMPLES_AT_ONCE = 2**23  # of fitted images that are handled together
_MOST_AT_ONCE = 64

Progress = Callable[[int], None]
"""Called with the number of images done since the last call."""


def silent(number: int) -> None:
    """Tell nobody."""
    del number


class Picture(NamedTuple):
    """One image as a run would see it."""

    record: Record
    place: Place
    shape: tuple[int, int, int]
    """(C, H, W) as it is stored."""
    pixels: npt.NDArray[np.uint16]
    """(channels, size, size), as a site keeps it."""


def pictures(
    reader: Reader,
    records: Sequence[Record],
    *,
    size: int,
    channels: int,
    threads: int = THREADS,
) -> Iterator[Picture | Rejected]:
    """Decode records in their order, a bounded number ahead of whoever asks.

    Args:
        reader: of the records.
        records: as its index has them.
        size: side in pixels of the square that each is fitted into.
        channels: 1 (grey) or 3 (RGB).
        threads: that decode; the result does not depend on their number.

    Yields:
        The picture, or why there is none.

    Raises:
        RunError: the disk fails, or the images changed since they were listed.
    """

    def seen(record: Record) -> Picture | Rejected:
        place = place_of(reader, record)
        try:
            return _picture(reader, record, place, size, channels)
        except DataError as error:
            detail = str(getattr(error.__cause__, "local", ""))
            return Rejected(place.path, str(error), detail)
        except UserError:
            raise
        except OSError as error:  # of the disk, not of the image: another try may succeed
            reason = os.strerror(error.errno or 0).lower()
            raise RunError(f"the images cannot be read: {reason}", local=str(error)) from error
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # Whatever a decoder trips over costs this image alone.
            return Rejected(place.path, f"cannot be decoded ({type(error).__name__})", str(error))

    return _in_order(seen, records, threads)


def _picture(reader: Reader, record: Record, place: Place, size: int, channels: int) -> Picture:
    image = reader.load(record)
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise DataError("the image is neither grey nor RGB")
    if not bool(((image >= 0) & (image <= 1)).all()):  # also what is not finite
        raise DataError("the image has values outside 0 to 1")
    stored = (int(image.shape[0]), int(image.shape[1]), int(image.shape[2]))
    return Picture(record, place, stored, quantised(fit(image, size, channels)))


def _in_order(
    seen: Callable[[Record], Picture | Rejected], records: Sequence[Record], threads: int
) -> Iterator[Picture | Rejected]:
    if threads == 1:
        yield from map(seen, records)
        return
    waiting = iter(records)
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(waiting, threads * _AHEAD)):
            yield from pool.map(seen, batch)


def at_once(size: int, channels: int) -> int:
    """Return how many fitted images to handle together, so that memory stays bounded.

    >>> at_once(64, 1), at_once(1024, 3), at_once(4096, 3)
    (64, 2, 1)
    """
    return max(1, min(_MOST_AT_ONCE, _SAMPLES_AT_ONCE // (size * size * channels)))


def stacked(chunk: Sequence[Picture]) -> Tensor:
    """Return the pictures of a chunk, (n, C, H, W) float32 in [0, 1], n at least 1."""
    return Pixels(np.stack([picture.pixels for picture in chunk])).take(range(len(chunk)))


def batches(
    decoded: Iterable[Picture | Rejected],
    most: int,
    rejected: list[Rejected],
    progress: Progress = silent,
) -> Iterator[list[Picture]]:
    """Yield pictures together, at most so many; add what there is no picture of to ``rejected``."""
    chunk: list[Picture] = []
    for each in decoded:
        if isinstance(each, Rejected):
            rejected.append(each)
        else:
            chunk.append(each)
        progress(1)
        if len(chunk) == most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
