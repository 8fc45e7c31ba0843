"""What became of each image: a table for people that the next run goes on from."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from client_app import listing
from client_app.mending.target import Target
from fedmend.errors import RunError

NAME = "mended.csv"

OUTCOMES = ("mended", "unchanged", "clean", "not mended", "unusable")
"""``unchanged``: flagged, but the imputer finds nothing to change. ``clean``: not flagged."""


class Row(NamedTuple):
    """One image."""

    source: str
    """Its path below the folder of originals."""
    frame: str
    """From 0; empty where the file is no DICOM."""
    score: str
    """The detector's; empty where the site itself vouches for the image being clean."""
    flagged: str
    """yes or no; empty where the image is unusable."""
    outcome: str
    """One of :data:`OUTCOMES`."""
    output: str
    """Path of the mended file below DIR; empty where there is none."""
    reason: str
    detail: str
    image: str
    """The record's uid: which bytes, and which frame of them."""
    made_by: str
    """Hash of imputer, options and what the site vouches for."""
    digest: str
    """SHA-256 (hex) of the output."""


_OUTSIDE = ("source", "output", "reason", "detail")
"""The texts that may hold what comes from outside; all else are words and numbers of our own."""
_SHORT = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = re.compile(r"\\([nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})")


class Ledger:
    """The rows so far; each is on the disk as soon as it is noted.

    Args:
        target: the folder that it lies in.

    Raises:
        RunError: it cannot be read.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.rows: dict[str, Row] = {row.image: row for row in _read(target.root / NAME)}
        self._file: TextIO | None = None

    def note(self, rows: Iterable[Row]) -> None:
        """Keep rows, in place of the same images' earlier ones.

        Raises:
            OSError: the disk is full, say.
        """
        if self._file is None:
            # Begun anew, for the last line may be half written.
            self.target.write(NAME, _text(self.rows.values()))
            self._file = (self.target.root / NAME).open("a", encoding="utf-8", newline="")
        for row in rows:
            self.rows[row.image] = row
            csv.writer(self._file, lineterminator="\n").writerow(_told(row))
        self._file.flush()

    def finish(self, images: Iterable[str]) -> None:
        """Write the table of these images alone, in order of their paths."""
        self.close()
        wanted = set(images)
        self.rows = {image: row for image, row in self.rows.items() if image in wanted}
        text = _text(sorted(self.rows.values(), key=lambda row: (row.source, len(row.frame), row)))
        if self.target.digest(NAME) != hashlib.sha256(text).hexdigest():
            self.target.write(NAME, text)

    def close(self) -> None:
        """Close the file; the rows stay in it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _text(rows: Iterable[Row]) -> bytes:
    made = io.StringIO(newline="")
    table = csv.writer(made, lineterminator="\n")
    table.writerow(Row._fields)
    table.writerows(map(_told, rows))
    return made.getvalue().encode()


def _told(row: Row) -> Row:
    """Return a row as it is written, fit for a spreadsheet; scores may well begin with a -."""
    return row._replace(**{name: _guarded(getattr(row, name)) for name in _OUTSIDE})


def _meant(row: Row) -> Row:
    """Return a row that was written as it was meant."""
    return row._replace(**{name: _plain(getattr(row, name)) for name in _OUTSIDE})


def _guarded(text: str) -> str:
    r"""Guard a text so that it can be had back: paths are needed again to the letter.

    >>> _guarded("-a\n.dcm"), _guarded("'a\\n"), _guarded("b.dcm")
    ("'-a\\n.dcm", '\\x27a\\x5cn', 'b.dcm')
    """
    text = text.replace("\\", r"\x5c")
    return listing.guarded(rf"\x27{text[1:]}" if text.startswith("'") else text)


def _plain(text: str) -> str:
    r"""Undo :func:`_guarded`.

    >>> _plain(_guarded("-a\n'\\x5c.dcm")) == "-a\n'\\x5c.dcm"
    True
    """
    return _ESCAPED.sub(_unescaped, text.removeprefix("'"))


def _unescaped(found: re.Match[str]) -> str:
    return _SHORT.get(found[1]) or chr(int(found[1][1:], 16))


def _read(path: Path) -> Iterator[Row]:
    """Yield the rows that are whole."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise RunError(f"{NAME} cannot be read: {reason}", local=str(path)) from error
    whole = text[: text.rfind("\n") + 1]
    try:
        for cells in csv.reader(io.StringIO(whole, newline="")):
            if len(cells) == len(Row._fields) and tuple(cells) != Row._fields:
                yield _meant(Row._make(cells))
    except csv.Error as error:
        raise RunError(
            f"{NAME} cannot be read: it is no table any more; delete it, and all is mended anew",
            local=f"{path}: {error}",
        ) from error
