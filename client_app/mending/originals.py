"""The files that a reader reads, as files: mended images must become files again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from client_app.dicom.images import Images
from client_app.dicom.window import Window
from client_app.readers.folder import Folder
from client_app.readers.tree import Tree
from fedmend.errors import DataError
from fedmend.records import Reader, Record, Rejected


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


def originals(reader: Reader) -> Originals:
    """List what there is to mend.

    Raises:
        DataError: as :func:`tree_of`; the folder cannot be used, or has no image that can be.
        RunError: the disk fails.
    """
    tree = tree_of(reader)
    index = reader.index()
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
