"""Lists that a site keeps for itself: CSV files of mode 0600, fit for a spreadsheet."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedmend.files import write_atomically

Cell = str | int | float | bool | None

FORMULA = ("=", "+", "-", "@")
"""With what a text begins that a spreadsheet takes for a formula."""


def legible(text: str) -> str:
    r"""Return a text on one line: what no text file or terminal should be given is escaped.

    >>> legible("a\n\udcff.dcm")
    'a\\n\\udcff.dcm'
    """
    escaped = (char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return "".join(escaped)


def guarded(text: str) -> str:
    """Return a text on one line that no spreadsheet takes for a formula: a ' is put before one.

    >>> guarded("-rf.dcm"), guarded("rf.dcm")
    ("'-rf.dcm", 'rf.dcm')
    """
    return f"'{legible(text)}" if text.startswith(FORMULA) else legible(text)


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a CSV file, mode 0600, in place of the one that may be there.

    Texts are guarded: names and header values come from outside. Floats have six decimals, truth
    is 1 or 0, and None is an empty cell. A file that holds just this already is left alone.

    Raises:
        OSError: it cannot be written.
    """
    made = io.StringIO(newline="")
    lines = csv.writer(made, lineterminator="\n")
    lines.writerow([_written(column) for column in columns])
    lines.writerows([_written(cell) for cell in row] for row in rows)
    if not _holds(path, made.getvalue()):
        write_atomically(path, made.getvalue())


def _holds(path: Path, text: str) -> bool:
    """Say whether a file, private and no link, is what would be written."""
    if not path.is_file() or path.is_symlink() or stat.S_IMODE(path.stat().st_mode) != 0o600:
        return False
    return path.read_bytes() == text.encode()


def _written(cell: Cell) -> str:
    """Return a cell's text.

    >>> _written("=1+1"), _written(-1e-9), _written(True), _written(None)
    ("'=1+1", '0.000000', '1', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{round(cell, 6) + 0.0:.6f}"  # adding 0 makes -0 plain
    if isinstance(cell, int):
        return str(int(cell))
    return guarded(cell)
