"""Lists that a site keeps for itself: CSV files of mode 0600, fit for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedmend.files import write_atomically

Cell = str | int | float | bool | None

_FORMULA = ("=", "+", "-", "@")


def legible(text: str) -> str:
    r"""Return a text on one line: what no text file or terminal should be given is escaped.

    >>> legible("a\n\udcff.dcm")
    'a\\n\\udcff.dcm'
    """
    escaped = (char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return "".join(escaped)


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a CSV file, mode 0600, in place of the one that may be there.

    A text that a spreadsheet would take for a formula gets a ' in front: names and header values
    come from outside. Floats have six decimals, truth is 1 or 0, and None is an empty cell.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([_written(column) for column in columns])
    lines.writerows([_written(cell) for cell in row] for row in rows)
    write_atomically(path, text.getvalue())


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
    return f"'{legible(cell)}" if cell.startswith(_FORMULA) else legible(cell)
