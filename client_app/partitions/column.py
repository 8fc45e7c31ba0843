"""Column: the labels themselves say which site an image comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from client_app.partitions.base import Owners
from client_app.split import grouped
from fedmend.errors import DataError
from fedmend.plugins import PARTITIONS
from fedmend.records import Record


@PARTITIONS.register("column")
class Column:
    """Sites by the values of a column, sorted; more values than sites are dealt round robin.

    Args:
        name: of the column, among those that the reader keeps as facts.
    """

    own_source = False

    def __init__(self, *, name: str) -> None:
        self.name = name

    def assign(self, records: Sequence[Record], sites: int, seed: int) -> Owners:
        """Return the site of each record; a patient seen at several goes to the first of them.

        Raises:
            DataError: a value is missing, there are fewer values than sites, or a site is left
                without training images: none are moved there from another hospital.
        """
        del seed
        missing = sum(self.name not in record.facts for record in records)
        if missing:
            raise DataError(f"{missing} of {len(records)} images have no value in the site column")
        values = [_rank(record.facts[self.name]) for record in records]
        known = sorted(set(values))
        if len(known) < sites:
            raise DataError(
                f"the site column has {len(known)} values, fewer than the {sites} sites asked for"
            )
        number = {value: place % sites for place, value in enumerate(known)}
        owners = np.zeros(len(records), dtype=np.int64)
        for group in grouped(records):
            owners[group.rows] = number[min(values[row] for row in group.rows)]
        training = {
            owner for record, owner in zip(records, owners, strict=True) if record.split == "train"
        }
        if len(training) < sites:
            raise DataError(
                f"by the site column, {sites - len(training)} of {sites} sites have no training "
                "images; ask for fewer sites"
            )
        return owners


def _rank(value: str | float) -> tuple[bool, float, str]:
    """Return what sorts numbers by size, and before text."""
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")
