"""Reading one file's header, and its picture with it, as work divided between processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from client_app.decoding import Decoding
from client_app.early import short
from client_app.readers.tree import Tree
from fedmend.errors import DataError
from fedmend.records import Record

if TYPE_CHECKING:  # imported where a file is read: whoever only builds the reader does without
    from client_app.dicom.headers import Header
    from client_app.dicom.images import Images
    from client_app.dicom.parsed import Parsed


class Read(NamedTuple):
    """What became of one file."""

    header: Header | DataError
    """Or why it cannot be used."""
    pixels: npt.NDArray[np.uint16] | None = None
    """(C, H, W), where it was decoded at once, and could be."""


def read(tree: Tree, path: str) -> bytes:
    """Return a DICOM file's bytes; of another file no more than its beginning is read.

    Raises:
        DataError: it is none, is empty, or cannot be read.
        RunError: the disk fails.
    """
    from client_app.dicom import files
    from client_app.dicom.untrusted import EMPTY, NOT_DICOM, Untrusted

    with tree.opened(path) as file:
        head = os.pread(file.fileno(), files.HEAD, 0)
        if not head:
            raise Untrusted(EMPTY, local="the file has no bytes")
        if not files.looks_like_dicom(head):
            raise Untrusted(NOT_DICOM)
        return file.read()


class Reading:
    """Reads one file's header, or says why it cannot be used.

    Args:
        images: that the file is one of.
        decoding: of the images; files of one frame are decoded by it at once. None: none are.
        known: uids, shortened, of what need not be decoded.
    """

    def __init__(
        self, images: Images, decoding: Decoding | None, known: frozenset[str] = frozenset()
    ) -> None:
        self.images = images
        self.decoding = decoding
        self.known = known

    def __call__(self, path: str) -> Read:
        """Return what becomes of the file at a path."""
        from client_app.dicom import headers
        from client_app.dicom.parsed import parse
        from client_app.dicom.quiet import quiet

        try:
            with quiet():
                parsed = parse(read(self.images.tree, path))
                header = headers.header(parsed)
        except DataError as error:
            return Read(error)
        if self.decoding is None or header.frames > 1 or short(header.digest) in self.known:
            return Read(header)
        return Read(header, self._decoded(path, parsed, self.decoding))

    def _decoded(
        self, path: str, parsed: Parsed, decoding: Decoding
    ) -> npt.NDArray[np.uint16] | None:
        facts: dict[str, str | float] = {"path": path, "frame": 0.0, "NumberOfFrames": 1.0}
        with self.images.at_hand(path, parsed):
            return decoding(Record(parsed.digest, None, "", "", None, facts)).pixels

    def lost(self, path: str) -> Read:
        """Return that a file cannot be read, because processes died over it."""
        del path
        from client_app.dicom.untrusted import UNDECODABLE, Untrusted

        return Read(Untrusted(UNDECODABLE, local="the process died over it"))
