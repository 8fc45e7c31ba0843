"""Training, validation and test images: whole patients, by hash, in each class alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from fedmend import randomness
from fedmend.errors import DataError
from fedmend.records import SPLITS, Record


def split_records(
    records: Sequence[Record], shares: tuple[float, float, float], seed: int
) -> list[Record]:
    """Return the records with their splits set, in the order given.

    Records whose source says their split keep it, and so does the rest of their group. The other
    groups are taken class by class, large ones first and else in hashed order, each going whole to
    the split that lacks most of its share.

    Args:
        records: of one source.
        shares: of train, val and test; they sum to 1.
        seed: of the run.

    Raises:
        DataError: the source's own splits divide a group.
    """
    given = _given(records)
    chosen = dict(given)
    groups = [group for group in grouped(records) if group.name not in given]
    owed = [0.0] * len(SPLITS)
    for _, members in by_label(groups):
        ordered = in_order(members, seed, "split")
        for group, place in zip(ordered, apportioned(ordered, shares, owed), strict=True):
            chosen[group.name] = SPLITS[place]
    return [record._replace(split=chosen[record.group]) for record in records]


class Group:
    """All records of one patient.

    Args:
        name: its hash.
        rows: of its records.
        label: the class of most of them; empty where none is labelled.
    """

    def __init__(self, name: str, rows: list[int], label: str) -> None:
        self.name = name
        self.rows = rows
        self.label = label


def grouped(records: Sequence[Record]) -> list[Group]:
    """Return the records' groups, sorted by name."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        rows[record.group].append(row)
    groups = []
    for name in sorted(rows):
        counted = Counter(records[row].label or "" for row in rows[name])
        label = min(counted, key=lambda label: (-counted[label], label))
        groups.append(Group(name, rows[name], label))
    return groups


def by_label(groups: Iterable[Group]) -> list[tuple[str, list[Group]]]:
    """Return the groups of each label, labels sorted."""
    found: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        found[group.label].append(group)
    return sorted(found.items())


def in_order(groups: Iterable[Group], seed: int, purpose: str) -> list[Group]:
    """Return groups as they are dealt out: by falling size, and by hash where they are alike.

    Groups of every size are then spread over all places, and the small ones, which come last,
    make up for what the large ones cannot.
    """

    def rank(group: Group) -> tuple[int, int]:
        return -len(group.rows), randomness.number(seed, purpose, group.name)

    return sorted(groups, key=rank)


def apportioned(groups: Sequence[Group], shares: Sequence[float], owed: list[float]) -> list[int]:
    """Deal groups out in order so that the counts of images follow the shares.

    Each group goes to the place that lacks most of what it should have by then.

    Args:
        groups: in order.
        shares: of the places; they sum to 1.
        owed: images that each place still lacks from what was dealt before; brought up to date,
            so that what is rounded off in one class is made good in the next.
    """
    places = []
    for group in groups:
        size = len(group.rows)
        for place, share in enumerate(shares):
            owed[place] += share * size
        chosen = max(
            (place for place, share in enumerate(shares) if share > 0),
            key=lambda place: (owed[place], -place),
        )
        owed[chosen] -= size
        places.append(chosen)
    return places


def _given(records: Sequence[Record]) -> dict[str, str]:
    """Return the split of each group that the source itself has split."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.split:
            found[record.group].add(record.split)
    divided = sum(len(splits) > 1 for splits in found.values())
    if divided:
        raise DataError(
            f"the source's own splits divide {divided} patients; every image of a patient must be "
            "in the same split"
        )
    return {group: splits.pop() for group, splits in found.items()}
