"""All usable images of one reader, decoded once and kept in the cache.

Two entries stand behind a source. The index goes by the reader's fingerprint (names, sizes,
times), the pixels by the images' content: a folder that was moved or touched is indexed again,
and decodes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from client_app.cache import Cache
from client_app.decoding import Copied, Decoded, Decoding
from client_app.early import Early
from client_app.entries import Arrays, Writer
from client_app.twins import Twins
from client_app.workers import Mapped, Work, Workers
from fedmend.errors import RunError
from fedmend.records import Index, Pixels, Reader, Record, Rejected

_DECODER = "6"  # of what pixels become; a change of it decodes everything anew

Step = Literal["reading", "decoding"]
"""Files that are looked at, and images that are decoded."""
Progress = Callable[[Step, int, int], None]
"""Called with the step, how many are done, and how many there are."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Divided(Protocol):
    """A reader whose index is work that can be divided between processes."""

    def index_by(self, mapped: Mapped, early: Early | None = None) -> Index:
        """Return what ``index`` does, its files looked at by ``mapped``, pictures left to early."""
        ...


class Source(NamedTuple):
    """All usable images of one reader."""

    records: tuple[Record, ...]
    """Of the images that can be decoded, sorted by uid."""
    rejected: tuple[Rejected, ...]
    """The files that cannot be used, from index and decoding."""
    pixels: Pixels
    """(n, C, H, W), one image a record, in their order."""
    rows: npt.NDArray[np.int64]
    """(n,): where in the pixels' array each is."""
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
    made = f"{_DECODER} {getattr(reader, 'decoding', '')} {size} {channels}"
    decode = Decoding(reader, size, channels)
    crew = Workers(1 if getattr(reader, "whole", False) else workers)
    with crew, Early(cache, decode, made) as early:
        index = _indexed(cache, reader, fingerprint, told(crew, "reading", progress), early)
        key = f"pixels {made} {_content(reader, index.records)}"

        def fill(writer: Writer) -> None:
            results = early.results(index.records, crew.map)
            decoded = counted(results, "decoding", len(index.records), progress)
            pairs = zip(index.records, decoded, strict=True)
            _fill(writer, pairs, Twins(reader), (channels, size, size))
            if isinstance(reader, Divided):
                early.note(index.records)

        kept = cache.entry(key, len(index.records) * channels * size * size * 2, fill)
    return _source(index, kept, key)


def told(crew: Workers, step: Step, progress: Progress | None) -> Mapped:
    """Return what does work, by a crew, and tells how far it is."""

    def mapped(work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
        return counted(crew.map(work, items), step, len(items), progress)

    return mapped


def counted(
    results: Iterator[Result], step: Step, total: int, progress: Progress | None
) -> Iterator[Result]:
    """Yield results, and tell how many of them there are."""
    for done, result in enumerate(results, 1):
        yield result
        if progress is not None:
            progress(step, done, total)


def listed(reader: Reader, mapped: Mapped, early: Early | None = None) -> Index:
    """Return a reader's index; ``mapped`` looks at its files where they can be divided.

    Pictures that are decoded on the way are left to ``early``.

    Raises:
        DataError: the source as a whole cannot be used.
        RunError: the disk fails.
    """
    return reader.index_by(mapped, early) if isinstance(reader, Divided) else reader.index()


def _indexed(cache: Cache, reader: Reader, fingerprint: str, mapped: Mapped, early: Early) -> Index:
    def make() -> dict[str, npt.NDArray[Any]]:
        if fingerprint and reader.fingerprint() != fingerprint:
            raise RunError("the images changed while the run was going on; start again")
        index = listed(reader, mapped, early)
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


def _fill(
    writer: Writer,
    images: Iterator[tuple[Record, Decoded]],
    twins: Twins,
    shape: tuple[int, int, int],
) -> None:
    """Write the images that can be decoded, and what became of the others, as they come."""
    bad: list[int] = []
    withdrawn: set[int] = set()
    failed: dict[str, Rejected] = {}
    instead: list[tuple[int, Record]] = []
    with writer.rows("image", np.uint16, shape) as write:
        for row, (record, each) in enumerate(images):
            # A file with many frames that fail is one bad file, by its first frame's reason.
            for one in each.failed:
                failed.setdefault(one.source, one)
            if each.instead is not None:
                instead.append((row, each.instead))
            if each.pixels is None:
                bad.append(row)
                continue
            judged = twins.judge(row, each.instead or record, each.pixels)
            for one in judged.rejected:
                failed.setdefault(one.source, one)
            if judged.withdrawn is not None:
                withdrawn.add(judged.withdrawn)
            if judged.kept:
                write(each.pixels)
            else:
                bad.append(row)
    writer.array("bad", np.array(bad, dtype=np.int64))
    writer.array("withdrawn", np.array(sorted(withdrawn), dtype=np.int64))
    writer.array("failed", _packed(list(failed.values())))
    writer.array("instead", _packed(instead))


def _source(index: Index, kept: Arrays, key: str) -> Source:
    bad, withdrawn = (set(kept[name].tolist()) for name in ("bad", "withdrawn"))
    written = [row for row in range(len(index.records)) if row not in bad]
    used = [(place, row) for place, row in enumerate(written) if row not in withdrawn]
    instead = {row: Record(*fields) for row, fields in _unpacked(kept["instead"])}
    records = tuple(
        # The uid stays: it seeds what is drawn for the image, and orders the records.
        index.records[row]
        if row not in instead
        else index.records[row]._replace(facts=instead[row].facts)
        for _, row in used
    )
    rows = np.array([place for place, _ in used], dtype=np.int64)
    failed = [Rejected(*fields) for fields in _unpacked(kept["failed"])]
    rejected = refused(index, failed, instead.values())
    return Source(records, rejected, Pixels(kept["image"], rows), rows, key)


def refused(
    index: Index, failed: Sequence[Rejected], instead: Iterable[Record]
) -> tuple[Rejected, ...]:
    """Return all that cannot be used.

    Args:
        index: of the reader.
        failed: what cannot be decoded.
        instead: the copies that are used in place of others.
    """
    broken = {each.source for each in failed}
    used = {str(record.facts.get("path")) for record in instead} - broken
    spared = [each for each in index.rejected if each.source not in used | broken]
    return (*spared, *failed)


def _packed(rows: Sequence[Sequence[Any]]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8)


def _unpacked(array: npt.NDArray[np.uint8]) -> list[list[Any]]:
    loaded: list[list[Any]] = json.loads(array.tobytes())
    return loaded
