"""The files that a reader reads, as files: mended images must become files again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from client_app.decoding import Decoding
from client_app.dicom.images import Images
from client_app.dicom.window import Window
from client_app.readers.folder import Folder
from client_app.readers.tree import Tree
from client_app.source import Progress, listed, refused, told
from client_app.twins import Twins
from client_app.workers import Mapped, Workers
from fedmend.errors import DataError
from fedmend.records import Index, Reader, Record, Rejected

_SIDE = 32
"""Of the pictures that are compared: those that look alike in it are compared by their files."""


class Originals(NamedTuple):
    """A site's own files, and what the reader says of them."""

    tree: Tree
    window: Window | None
    """By which DICOM files are shown; None where they are pictures."""
    decoding: str
    """What the shown pixels depend on beyond the files' bytes."""
    files: Mapping[str, Sequence[Record]]
    """By path below the folder, sorted: the records of a file, one a frame."""
    rejected: Sequence[Rejected]


def tree_of(reader: Reader) -> Tree:
    """Return where a reader's files are.

    Raises:
        DataError: it reads no files that a mended image could stand beside.
    """
    if isinstance(reader, Images | Folder):
        return reader.tree
    raise DataError(
        "only DICOM files and PNG, JPEG, TIFF and NPY images can be mended: give their folder, or "
        "a reader dicom(…), rsna(…) or folder(…)"
    )


def originals(reader: Reader, *, workers: int = 1, progress: Progress | None = None) -> Originals:
    """List what there is to mend, each image once.

    DICOM files are decoded for it: what cannot be is replaced by a copy that can, and copies that
    only their pixels give away are left out.

    Args:
        reader: of the files.
        workers: processes that look at files, this one included.
        progress: told after each file that is looked at, and each that is decoded.

    Raises:
        DataError: as :func:`tree_of`; the folder cannot be used, or has no image that can be.
        RunError: the disk fails, or a file changes meanwhile.
    """
    tree = tree_of(reader)
    with Workers(workers) as crew:
        index = listed(reader, told(crew, "reading", progress))
        if isinstance(reader, Images):
            index = _once(reader, index, told(crew, "decoding", progress))
    if not index.records:
        many = len(index.rejected)
        raise DataError(f"there is no image to mend; {many} files cannot be used")
    pictures = isinstance(reader, Folder)
    column = reader.columns.image if isinstance(reader, Folder) else "path"
    files: dict[str, list[Record]] = defaultdict(list)
    for record in index.records:
        files[str(record.facts[column])].append(record)
    return Originals(
        tree,
        None if pictures else getattr(reader, "window", Window()),
        str(getattr(reader, "decoding", "")),
        {name: sorted(files[name], key=frame_of) for name in sorted(files)},
        index.rejected,
    )


class _Found(NamedTuple):
    """A file's images, or those of a copy of it that does where the file fails."""

    records: Sequence[Record]
    pictures: Sequence[npt.NDArray[np.uint16]]
    """One a record; none where no copy can be decoded, which whoever mends the file will see."""
    failed: Sequence[Rejected]
    """Files that are not used."""


class _Finding:
    """Finds the copy of a file all of whose images can be decoded: the work of a process.

    Args:
        reader: of the files.
    """

    def __init__(self, reader: Images) -> None:
        self.reader = reader
        self.decoding = Decoding(reader, _SIDE, 1)

    def __call__(self, records: Sequence[Record]) -> _Found:
        """Return what is found for the records of a file."""
        failed: list[Rejected] = []
        for version in self._versions(records):
            pictures: list[npt.NDArray[np.uint16]] = []
            for record in version:
                decoded = self.decoding(record)
                if decoded.pixels is None:
                    failed.append(decoded.failed[0]._replace(source=_path(record)))
                    break
                pictures.append(decoded.pixels)
            else:
                return _Found(version, pictures, failed)
        return _Found(records, (), failed[1:])

    def lost(self, records: Sequence[Record]) -> _Found:
        """Return that a file cannot be decoded, because processes died over it."""
        failed = self.decoding.lost(records[0]).failed
        return _Found((), (), failed)

    def _versions(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """Yield the images of the file and of each copy, none of which knows of the others."""
        yield [
            each._replace(facts={name: f for name, f in each.facts.items() if name != "copies"})
            for each in records
        ]
        yield from zip(*(self.reader.copies(each) for each in records), strict=True)


def _once(reader: Images, index: Index, mapped: Mapped) -> Index:
    """Return the images that are used, in files that can be, and what cannot be used."""
    files: dict[str, list[Record]] = defaultdict(list)
    for record in index.records:
        files[_path(record)].append(record)
    twins, places = Twins(reader), count()
    kept: dict[int, Record] = {}
    failed: list[Rejected] = []
    instead: list[Record] = []
    for name, found in zip(files, mapped(_Finding(reader), list(files.values())), strict=True):
        failed += found.failed
        instead += [record for record in found.records[:1] if _path(record) != name]
        for record, picture in zip_longest(found.records, found.pictures):
            place = next(places)
            kept[place] = record
            if picture is None:
                continue
            judged = twins.judge(place, record, picture)
            failed += judged.rejected
            if judged.withdrawn is not None:
                kept.pop(judged.withdrawn, None)
            if not judged.kept:
                del kept[place]
    first = {each.source: each for each in reversed(failed)}
    return Index(list(kept.values()), refused(index, list(first.values()), instead))


def _path(record: Record) -> str:
    return str(record.facts["path"])


def frame_of(record: Record) -> int:
    """Return the number of a record's frame, from 0."""
    return int(record.facts.get("frame", 0) or 0)


def below(tree: Tree, name: str) -> str:
    """Return a file's path relative to the folder, whatever way a table names it.

    Raises:
        DataError: it is outside.
    """
    root = os.path.normpath(tree.root)
    path = os.path.relpath(os.path.normpath(os.path.join(root, name)), root)  # noqa: PTH118
    if path.startswith(".."):
        real = os.path.realpath(os.path.join(root, name))  # noqa: PTH118
        path = os.path.relpath(real, os.path.realpath(root))
    if path.startswith(".."):
        raise DataError("the file lies outside the images' folder")
    return path
