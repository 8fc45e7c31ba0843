"""What every partition does, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from client_app.split import Group, apportioned, by_label, grouped, in_order
from fedmend.errors import DataError
from fedmend.records import Record

Owners = npt.NDArray[np.int64]


class Partition(Protocol):
    """Divides a simulation's images among its sites."""

    own_source: bool
    """Whether every site has a source of its own, so that nothing is to be divided."""

    def assign(self, records: Sequence[Record], sites: int, seed: int) -> Owners:
        """Return the site, from 0 to ``sites`` - 1, of each record.

        Whole groups go to a site, every site has training images, and neither the order of the
        records nor anything but the seed is of influence.

        Raises:
            DataError: it cannot be done with these records.
        """
        ...


def dealt_out(
    records: Sequence[Record], seed: int, shares: Callable[[str], Sequence[float]], sites: int
) -> Owners:
    """Deal groups out, each class of each split by its own shares.

    Args:
        records: with their splits.
        seed: of the run.
        shares: of the sites in a class; they sum to 1.
        sites: their number.
    """
    owners = np.zeros(len(records), dtype=np.int64)
    splits: dict[str, list[Group]] = {}
    for group in grouped(records):
        splits.setdefault(records[group.rows[0]].split, []).append(group)
    for split in sorted(splits):
        owed = [0.0] * sites
        for label, members in by_label(splits[split]):
            ordered = in_order(members, seed, "partition")
            for group, site in zip(ordered, apportioned(ordered, shares(label), owed), strict=True):
                owners[group.rows] = site
    return without_empty_sites(records, owners, sites)


def without_empty_sites(records: Sequence[Record], owners: Owners, sites: int) -> Owners:
    """Give a site without training images a group of the site that has most of them.

    Raises:
        DataError: there are fewer groups of training images than sites.
    """
    groups = [group for group in grouped(records) if records[group.rows[0]].split == "train"]
    if len(groups) < sites:
        raise DataError(
            f"{len(groups)} patients with training images cannot be divided among {sites} sites"
        )
    owners = owners.copy()
    held: list[list[Group]] = [[] for _ in range(sites)]
    for group in groups:
        held[owners[group.rows[0]]].append(group)
    for site in range(sites):
        if not held[site]:
            richest = max(range(sites), key=lambda other: (len(held[other]), -other))
            group = held[richest].pop()
            held[site].append(group)
            owners[group.rows] = site
    return owners


def described(
    records: Sequence[Record], owners: Owners, sites: int
) -> list[Mapping[str, Mapping[str, int]]]:
    """Return each site's counts of images, by split and then by class ("" is unlabelled)."""
    counted: list[dict[str, Counter[str]]] = [{} for _ in range(sites)]
    for record, owner in zip(records, owners, strict=True):
        counted[owner].setdefault(record.split, Counter())[record.label or ""] += 1
    return [
        {split: dict(sorted(labels.items())) for split, labels in sorted(site.items())}
        for site in counted
    ]
