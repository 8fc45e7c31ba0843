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
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.cache import Cache
from client_app.entries import Arrays, Writer
from client_app.fit import fit
from client_app.workers import Mapped, Work, Workers
from fedmend.errors import DataError, RunError, UserError
from fedmend.records import Index, Pixels, Reader, Record, Rejected, quantised

_DECODER = "3"  # of what pixels become; a change of it decodes everything anew

Step = Literal["reading", "decoding"]
"""Files that are looked at, and images that are decoded."""
Progress = Callable[[Step, int, int], None]
"""Called with the step, how many are done, and how many there are."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Divided(Protocol):
    """A reader whose index is work that can be divided between processes."""

    def index_by(self, mapped: Mapped) -> Index:
        """Return what ``index`` does, its files looked at by ``mapped``."""
        ...


@runtime_checkable
class Copied(Protocol):
    """A reader that knows of other copies of its images, should the one that is used fail."""

    def copies(self, record: Record) -> Sequence[Record]:
        """Return records of the same image that ``load`` takes too, in order of preference."""
        ...


class Decoded(NamedTuple):
    """What became of one record."""

    pixels: npt.NDArray[np.uint16] | None
    """(C, H, W); None: no copy of the image can be decoded."""
    failed: Sequence[Rejected]
    """The copies that were tried first."""
    instead: Record | None = None
    """The copy that is used, where it is not the record itself."""


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
    workers: int = 1,
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
        workers: processes that decode, this one included; the result does not depend on their
            number. With several, the reader is sent to them and must be fit for ``pickle``; one
            with a true attribute ``whole`` is not.
        progress: told after each file that is looked at and each image that is decoded.

    Raises:
        DataError: the source as a whole cannot be used, or no room is left for it.
        RunError: it failed or changed while it was read; nothing of it was kept.
    """
    with Workers(1 if getattr(reader, "whole", False) else workers) as crew:

        def mapped(step: Step) -> Mapped:
            return _told(crew, step, progress)

        index = _indexed(cache, reader, fingerprint, mapped("reading"))
        decode = _Decoding(reader, size, channels)
        content = _content(reader, index.records)
        key = f"pixels {_DECODER} {getattr(reader, 'decoding', '')} {content} {size} {channels}"

        def fill(writer: Writer) -> None:
            _fill(writer, mapped("decoding")(decode, index.records), (channels, size, size))

        kept = cache.entry(key, len(index.records) * channels * size * size * 2, fill)
    return _source(index, kept, key)


def _told(crew: Workers, step: Step, progress: Progress | None) -> Mapped:
    """Return what does work and tells how far it is."""

    def mapped(work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
        for done, result in enumerate(crew.map(work, items), 1):
            yield result
            if progress is not None:
                progress(step, done, len(items))

    return mapped


def _indexed(cache: Cache, reader: Reader, fingerprint: str, mapped: Mapped) -> Index:
    def make() -> dict[str, npt.NDArray[Any]]:
        if fingerprint and reader.fingerprint() != fingerprint:
            raise RunError("the images changed while the run was going on; start again")
        index = reader.index_by(mapped) if isinstance(reader, Divided) else reader.index()
        return {"records": _packed(index.records), "rejected": _packed(index.rejected)}

    kept = cache.arrays(f"index {_DECODER} {fingerprint or reader.fingerprint()}", make)
    return Index(
        [Record(*fields) for fields in _unpacked(kept["records"])],
        [Rejected(*pair) for pair in _unpacked(kept["rejected"])],
    )


def _content(reader: Reader, records: Sequence[Record]) -> str:
    """Return a hash of all bytes that pixels may come from."""
    uids = [record.uid for record in records]
    if isinstance(reader, Copied):
        uids += [copy.uid for record in records for copy in reader.copies(record)]
    return hashlib.sha256("".join(uids).encode()).hexdigest()


def _fill(writer: Writer, images: Iterator[Decoded], shape: tuple[int, int, int]) -> None:
    """Write the images that can be decoded, and what became of the others, as they come."""
    bad: list[int] = []
    failed: dict[str, Rejected] = {}
    instead: list[tuple[int, Record]] = []
    with writer.rows("image", np.uint16, shape) as write:
        for row, each in enumerate(images):
            # A file with many frames that fail is one bad file, by its first frame's reason.
            for one in each.failed:
                failed.setdefault(one.source, one)
            if each.pixels is None:
                bad.append(row)
            else:
                write(each.pixels)
            if each.instead is not None:
                instead.append((row, each.instead))
    writer.array("bad", np.array(bad, dtype=np.int64))
    writer.array("failed", _packed(list(failed.values())))
    writer.array("instead", _packed(instead))


def _source(index: Index, kept: Arrays, key: str) -> Source:
    bad = set(kept["bad"].tolist())
    instead = {row: Record(*fields) for row, fields in _unpacked(kept["instead"])}
    records = tuple(
        # The uid stays: it seeds what is drawn for the image, and orders the records.
        record if row not in instead else record._replace(facts=instead[row].facts)
        for row, record in enumerate(index.records)
        if row not in bad
    )
    failed = [Rejected(*fields) for fields in _unpacked(kept["failed"])]
    listed = {each.source for each in failed}
    used = {str(record.facts.get("path")) for record in instead.values()} - listed
    spared = [each for each in index.rejected if each.source not in used | listed]
    return Source(records, (*spared, *failed), Pixels(kept["image"]), key)


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
        tried = self._decoded(record)
        if not isinstance(tried, Rejected):
            return Decoded(tried, ())
        failed = [tried]
        for copy in self.reader.copies(record) if isinstance(self.reader, Copied) else ():
            tried = self._decoded(copy)
            if not isinstance(tried, Rejected):
                return Decoded(tried, failed, copy)
            failed.append(tried)
        return Decoded(None, failed)

    def lost(self, record: Record) -> Decoded:
        """Return that a record cannot be decoded, because processes died over it."""
        source = str(record.facts.get("path", record.uid))
        return Decoded(None, [Rejected(source, "cannot be decoded", "the process died over it")])

    def _decoded(self, record: Record) -> npt.NDArray[np.uint16] | Rejected:
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
    low, high = (float(end) for end in image.aminmax())
    if not (low >= 0 and high <= 1):  # also what is not finite
        raise DataError("the image has values outside 0 to 1")
