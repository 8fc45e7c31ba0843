"""A site's label table: CSV, whatever the delimiter."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from fedmend.errors import DataError

_DELIMITERS = (",", ";", "\t")
# No leading zeros: "007" is a name, not the number 7.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d+)?([eE][+-]?\d+)?")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Row(NamedTuple):
    """One row of a table."""

    number: int
    """Of its line in the file, from 1; the header is the first."""
    cells: Mapping[str, str] | None
    """By column, without blanks around them; None where their number is not the header's."""


class Table(NamedTuple):
    """A table of text."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def parsed(data: bytes) -> Table:
    r"""Read a CSV file: UTF-8, with or without a byte-order mark; comma, semicolon or tab.

    Raises:
        DataError: not UTF-8, ill-formed, without a header, or with a column named twice.

    >>> parsed(b"image;label\na.png; normal\n").rows
    (Row(number=2, cells={'image': 'a.png', 'label': 'normal'}),)
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        words = "the labels are not UTF-8 text; save the table as CSV UTF-8"
        raise DataError(words, local=str(error)) from error
    try:
        lines = _split(text, max(_DELIMITERS, key=lambda each: _width(text, each)))
    except csv.Error as error:
        raise DataError("the labels are not a well-formed CSV file", local=str(error)) from error
    if not lines:
        raise DataError("the labels are empty: not even a header is there")
    columns = lines[0][1]
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        local = f"named twice: {', '.join(twice)}"
        raise DataError(f"the labels name {len(twice)} columns twice", local=local)
    return Table(tuple(filter(None, columns)), tuple(_row(columns, *line) for line in lines[1:]))


def _split(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the lines that are not blank, with their numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    return [(number, cells) for number, cells in lines if any(cells)]


def _width(text: str, delimiter: str) -> int:
    """Return how many cells the header would have.

    Leniently: where all cells are quoted, none is well-formed by any delimiter but the right one.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    with contextlib.suppress(csv.Error):
        for cells in reader:
            if any(cell.strip() for cell in cells):
                return len(cells)
    return 0


def _row(columns: list[str], number: int, cells: list[str]) -> Row:
    if len(cells) != len(columns):
        return Row(number, None)
    return Row(number, {name: cell for name, cell in zip(columns, cells, strict=True) if name})


def check_columns(table: Table, wanted: Mapping[str, str]) -> None:
    """Check that the columns a user named exist.

    Args:
        table: the labels.
        wanted: parameter -> the column it names; empty where it names none.

    Raises:
        DataError: one does not; the existing ones are listed, locally.
    """
    missing = {key: name for key, name in wanted.items() if name and name not in table.columns}
    if missing:
        named = ", ".join(missing)
        local = f"no column {', '.join(missing.values())}; there is {', '.join(table.columns)}"
        raise DataError(f"the labels lack the column that {named}=… names", local=local)


def split_of(cell: str) -> str:
    """Return the split that a cell names; empty for an empty cell.

    Raises:
        DataError: it names none.
    """
    if cell and cell.lower() not in _SPLITS:
        raise DataError("the split is none of train, val, valid, validation and test")
    return _SPLITS[cell.lower()] if cell else ""


def truth_of(cell: str) -> bool | None:
    """Return what a cell of the ``noisy`` column says; None for an empty cell.

    Raises:
        DataError: it is neither 1, true or yes nor 0, false or no.
    """
    if cell and cell.lower() not in _TRUTHS:
        raise DataError("the noisy column is none of 1, true, yes, 0, false, no and empty")
    return _TRUTHS[cell.lower()] if cell else None


def fact_of(cell: str) -> str | float:
    """Return a cell as a number where it is written as one, else as text.

    >>> fact_of("1.5e3"), fact_of("007"), fact_of("nan")
    (1500.0, '007', 'nan')
    """
    found = _NUMBER.fullmatch(cell)
    number = float(cell) if found and (found[1] or found[2]) else math.inf
    return number if math.isfinite(number) else cell
