"""The CSV files beside the images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str | int]]) -> None:
    """Write a UTF-8 CSV file with a header.

    Raises:
        ValueError: a row has a column of its own.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


BROKEN_COLUMNS = ("path", "kind", "what")
"""Of broken.csv: the file's path in the tree, a word for how it is broken, and a sentence."""
