"""Pictures that turn out to be the same once they are decoded.

Copies are mostly found by their bytes and identifiers (:mod:`client_app.dicom.copies`). One that
was compressed anew and given other identifiers shows only when both are pictures.

Pictures that look alike need not be the same: whatever lies below a window is black. What both
files store decides, and is decoded again for that, of those few that look alike alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from client_app.dicom.copies import CONTRADICTING, TWICE
from client_app.readers.tree import Tree
from fedmend.errors import DataError, RunError
from fedmend.records import Reader, Record, Rejected

if TYPE_CHECKING:  # imported where a file is read: whoever only builds the reader does without
    from pydicom import Dataset


@runtime_checkable
class Distinct(Protocol):
    """A reader of DICOM files, none of which should hold the image of another."""

    distinct: bool
    tree: Tree


class Judged(NamedTuple):
    """What becomes of a picture, and of the one it equals."""

    kept: bool
    withdrawn: int | None = None
    """The place of the earlier one, where the two contradict each other and neither is used."""
    rejected: Sequence[Rejected] = ()


class Twins:
    """Judges pictures one after the other.

    Only of :class:`Distinct` readers are twins looked for; frames of one file may well be alike.

    Args:
        reader: of the pictures.
    """

    def __init__(self, reader: Reader) -> None:
        self._files = (
            _Files(reader.tree) if isinstance(reader, Distinct) and reader.distinct else None
        )
        self._alike: dict[bytes, tuple[int, Record]] = {}
        """The first of all that look alike."""
        self._seen: dict[bytes, tuple[int, Record]] = {}
        """The first of all that are the same, where others look like it."""

    def judge(self, place: int, record: Record, pixels: npt.NDArray[np.uint16]) -> Judged:
        """Say what becomes of a picture.

        Args:
            place: whatever the caller knows it by.
            record: of the picture.
            pixels: (C, H, W), fitted.

        Raises:
            RunError: its file, or that of one that looks like it, is not what it was.
        """
        if self._files is None:
            return Judged(kept=True)
        look = hashlib.sha256(pixels.tobytes()).digest()
        like_place, like = self._alike.setdefault(look, (place, record))
        if like_place == place:
            return Judged(kept=True)
        self._seen.setdefault(look + self._files.digest(like), (like_place, like))
        key = look + self._files.digest(record)
        first_place, first = self._seen.setdefault(key, (place, record))
        if first_place == place or _source(first) == _source(record):
            return Judged(kept=True)
        if _claims(first) == _claims(record):
            twice = Rejected(_source(record), TWICE, _source(first))
            return Judged(kept=False, rejected=[twice])
        both = [Rejected(_source(each), CONTRADICTING) for each in (first, record)]
        return Judged(kept=False, withdrawn=first_place, rejected=both)


class _Files:
    """What DICOM files store, whatever window it is shown by and however it is compressed.

    Args:
        tree: the files.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._digests: dict[str, bytes] = {}
        self._last: tuple[str, Dataset] | None = None
        """Frames that follow one another lie in one file."""

    def digest(self, record: Record) -> bytes:
        """Return a hash of the size and the values of an image, before any LUT.

        Raises:
            RunError: the file is not what it was.
        """
        if record.uid not in self._digests:
            try:
                self._digests[record.uid] = self._hashed(record)
            except DataError as error:
                raise RunError(
                    "an image changed while it was in use; start again", local=_source(record)
                ) from error
        return self._digests[record.uid]

    def _hashed(self, record: Record) -> bytes:
        from client_app.dicom import files
        from client_app.dicom.stored import stored

        path = str(record.facts["path"])
        if self._last is None or self._last[0] != path:
            self._last = path, files.read(self._tree.read(path))
        values = stored(self._last[1], int(record.facts["frame"]))
        values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        said = f"{values.dtype.kind} {values.dtype.itemsize} {values.shape} "
        return hashlib.sha256(said.encode() + values.tobytes()).digest()


def _source(record: Record) -> str:
    return str(record.facts.get("path", record.uid))


def _claims(record: Record) -> tuple[object, ...]:
    """Return what copies must agree on; who the patient is, a new pseudonym may hide."""
    return record.label, record.split, record.noisy
