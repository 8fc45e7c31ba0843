"""All usable images of one reader, decoded once and kept in the cache.

Two entries stand behind a source. The index goes by the reader's fingerprint (names, sizes,
times), the pixels by the images' content: a folder that was moved or touched is indexed again,
and decodes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.cache import Cache
from client_app.entries import Writer
from client_app.fit import fit
from fedmend.errors import DataError, RunError, UserError
from fedmend.records import Index, Pixels, Reader, Record, Rejected, quantised

_DECODER = "2"  # of what pixels become; a change of it decodes everything anew
_AHEAD = 8  # images a thread may be ahead of what is written

Progress = Callable[[int, int], None]
"""Called with the number of images decoded and the number of all."""

Decoded = npt.NDArray[np.uint16] | Rejected


class Source(NamedTuple):
    """All usable images of one reader."""

    records: tuple[Record, ...]
    """Of the images that can be decoded, sorted by uid."""
    rejected: tuple[Rejected, ...]
    """The files that cannot be used, from index and decoding."""
    pixels: Pixels
    """(n, C, H, W), one image a record, in their order."""
    key: str
    """Of the pixels' cache entry, by which they are mapped again without the records."""


def open_source(
    cache: Cache,
    reader: Reader,
    *,
    size: int,
    channels: int,
    fingerprint: str = "",
    threads: int = 1,
    progress: Progress | None = None,
) -> Source:
    """Return a reader's images, each fitted into a square; decoded where the cache lacks them.

    Args:
        cache: of the site.
        reader: of its images. Where what its ``load`` returns depends on more than the images'
            bytes, it has an attribute ``decoding`` that says on what.
        size: the square's side in pixels.
        channels: 1 (grey) or 3 (RGB).
        fingerprint: what the reader's was when the run began; empty: what it is now.
        threads: that decode; the result does not depend on their number.
        progress: told after each image that is decoded.

    Raises:
        DataError: the source as a whole cannot be used, or no room is left for it.
        RunError: it failed or changed while it was read; nothing of it was kept.
    """
    index = _indexed(cache, reader, fingerprint)
    records = index.records

    def fill(writer: Writer) -> None:
        decode = _Decoding(reader, size, channels)
        decoded = enumerate(_in_order(decode, records, threads))
        failed: list[tuple[int, Rejected]] = []
        with writer.rows("image", np.uint16, (channels, size, size)) as write:
            for row, each in decoded:
                if isinstance(each, Rejected):
                    failed.append((row, each))
                else:
                    write(each)
                if progress is not None:
                    progress(row + 1, len(records))
        writer.array("bad", np.array([row for row, _ in failed], dtype=np.int64))
        writer.array("failed", _packed([each for _, each in failed]))

    content = hashlib.sha256("".join(record.uid for record in records).encode()).hexdigest()
    decoding = str(getattr(reader, "decoding", ""))
    key = f"pixels {_DECODER} {decoding} {content} {size} {channels}"
    kept = cache.entry(key, len(records) * channels * size * size * 2, fill)
    bad = set(kept["bad"].tolist())
    return Source(
        records=tuple(record for row, record in enumerate(records) if row not in bad),
        rejected=(*index.rejected, *(Rejected(*pair) for pair in _unpacked(kept["failed"]))),
        pixels=Pixels(kept["image"]),
        key=key,
    )


def _indexed(cache: Cache, reader: Reader, fingerprint: str) -> Index:
    def make() -> dict[str, npt.NDArray[Any]]:
        if fingerprint and reader.fingerprint() != fingerprint:
            raise RunError("the images changed while the run was going on; start again")
        index = reader.index()
        return {"records": _packed(index.records), "rejected": _packed(index.rejected)}

    kept = cache.arrays(f"index {_DECODER} {fingerprint or reader.fingerprint()}", make)
    return Index(
        [Record(*fields) for fields in _unpacked(kept["records"])],
        [Rejected(*pair) for pair in _unpacked(kept["rejected"])],
    )


def _packed(rows: Sequence[Sequence[Any]]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8)


def _unpacked(array: npt.NDArray[np.uint8]) -> list[list[Any]]:
    loaded: list[list[Any]] = json.loads(array.tobytes())
    return loaded


class _Decoding:
    """Decodes one record: its pixels, or why there are none."""

    def __init__(self, reader: Reader, size: int, channels: int) -> None:
        self.reader = reader
        self.size = size
        self.channels = channels

    def __call__(self, record: Record) -> Decoded:
        try:
            image = self.reader.load(record)
            _check(image)
            return quantised(fit(image, self.size, self.channels))
        except DataError as error:
            detail = str(getattr(error.__cause__, "local", ""))
            return Rejected(error.local or record.uid, str(error), detail)
        except UserError:
            raise
        except OSError as error:  # of the disk, not of the image: another try may succeed
            reason = os.strerror(error.errno or 0).lower()
            raise RunError(f"the images cannot be read: {reason}", local=str(error)) from error
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # Whatever a decoder trips over costs this image alone.
            return Rejected(record.uid, f"cannot be decoded ({type(error).__name__})")


def _check(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise DataError("the image is neither grey nor RGB")
    if not bool(((image >= 0) & (image <= 1)).all()):  # also what is not finite
        raise DataError("the image has values outside 0 to 1")


def _in_order(
    decode: Callable[[Record], Decoded], records: Sequence[Record], threads: int
) -> Iterator[Decoded]:
    """Decode on several threads, a bounded number of images ahead of whoever asks."""
    if threads == 1:
        yield from map(decode, records)
        return
    waiting = iter(records)
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(waiting, threads * _AHEAD)):
            yield from pool.map(decode, batch)
