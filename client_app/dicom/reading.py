"""Reading one file's header, as work that can be divided between processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from client_app.readers.tree import Tree
from fedmend.errors import DataError

if TYPE_CHECKING:  # imported where a file is read: whoever only builds the reader does without
    from client_app.dicom.headers import Header


def read(tree: Tree, path: str) -> bytes:
    """Return a DICOM file's bytes; of another file no more than its beginning.

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
    """Reads one file's header, or says why it cannot be used."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def __call__(self, path: str) -> Header | DataError:
        """Return the header of the file at a path, or why it cannot be used."""
        from client_app.dicom import headers
        from client_app.dicom.parsed import parse
        from client_app.dicom.quiet import quiet

        try:
            with quiet():
                return headers.header(parse(read(self.tree, path)))
        except DataError as error:
            return error

    def lost(self, path: str) -> Header | DataError:
        """Return that a header cannot be read, because processes died over it."""
        del path
        from client_app.dicom.untrusted import UNDECODABLE, Untrusted

        return Untrusted(UNDECODABLE, local="the process died over its header")
