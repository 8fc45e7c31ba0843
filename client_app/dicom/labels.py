"""What a site's tables say of its DICOM files, and which rows and files have found each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from client_app.readers import table
from client_app.readers.tree import Tree
from fedmend.errors import DataError
from fedmend.records import Rejected

if TYPE_CHECKING:  # what reads headers imports pydicom
    from client_app.dicom.headers import Header

FAULTY = "its row of the labels cannot be used"
NO_ROW = "no row of the labels matches"
NO_IMAGE = "a row of the labels matches no image"
CONTRADICTION = "rows of the labels contradict each other"
REPEATED = "a row of the labels repeats another"


class Columns(NamedTuple):
    """The columns of a label table; empty where there is none."""

    image: str
    """By which rows and files find each other."""
    label: str
    patient: str
    split: str
    noisy: str


class Claim(NamedTuple):
    """What one row says."""

    label: str | None
    patient: str
    """Empty: the header's."""
    split: str
    noisy: bool | None
    facts: Mapping[str, str | float]

    def core(self) -> tuple[object, ...]:
        """Return what a second claim about the same image must agree on."""
        return self.label, self.patient, self.split, self.noisy


NOTHING = Claim(None, "", "", None, {})
"""What is said of an image without labels."""

Key: TypeAlias = "Callable[[str, Header | None], str]"
"""Returns what a file is found by, given its path in the folder and, where it can be read, its
header; empty where it has no such thing."""

KEYS: Mapping[str, Key] = {
    "path": lambda path, _: path,
    "SOPInstanceUID": lambda _, header: header.instance if header else "",
    "SeriesInstanceUID": lambda _, header: header.series if header else "",
    "StudyInstanceUID": lambda _, header: header.study if header else "",
    "PatientID": lambda _, header: header.patient if header else "",
}


class _Row(NamedTuple):
    source: str
    claim: Claim | None
    """None: it cannot be used."""


class Labels:
    """Claims by key; it keeps account of those that were asked for.

    Args:
        key: what a file is found by.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self.rejected: list[Rejected] = []
        self._rows: dict[str, _Row] = {}
        self._found: set[str] = set()

    def count(self) -> int:
        """Return how many keys there are rows for."""
        return len(self._rows)

    def add(self, key: str, source: str, claim: Claim) -> None:
        """Add a row.

        Args:
            key: what its images are found by.
            source: the row's name, for the list of what cannot be used.
            claim: what it says.
        """
        key = composed(key)
        known = self._rows.get(key)
        if known is None:
            self._rows[key] = _Row(source, claim)
        elif known.claim is not None and known.claim.core() == claim.core():
            self.rejected.append(Rejected(source, REPEATED))
        else:
            self.refuse(key, source, CONTRADICTION)

    def refuse(self, key: str, source: str, reason: str) -> None:
        """Add a row that cannot be used; neither can another one with its key."""
        key = composed(key)
        known = self._rows.get(key)
        if known is not None and known.claim is not None:
            self.rejected.append(Rejected(known.source, reason))
        self.rejected.append(Rejected(source, reason))
        if key:
            self._rows[key] = _Row(source, None)

    def of(self, path: str, header: Header) -> Claim:
        """Return what is said of a file.

        Raises:
            DataError: nothing, or nothing that can be used.
        """
        row = self._rows.get(self.seen(path, header))
        if row is None:
            raise DataError(NO_ROW)
        if row.claim is None:
            raise DataError(FAULTY)
        return row.claim

    def seen(self, path: str, header: Header | None) -> str:
        """Note that a file is there, be it usable or not, and return its key."""
        key = composed(self.key(path, header))
        self._found.add(key)
        return key

    def unmatched(self) -> Iterator[Rejected]:
        """Return the rows that no file was found by."""
        for key, row in self._rows.items():
            if row.claim is not None and key not in self._found:
                # By its number alone: the key is a patient's or an image's identifier.
                yield Rejected(row.source, NO_IMAGE)


class Labelling(Protocol):
    """Where labels come from, and which files they are about."""

    def tables(self, tree: Tree) -> list[str]:
        """Return the paths of the tables in the folder; they are no images."""
        ...

    def admits(self, path: str) -> bool:
        """Say whether a file is looked at."""
        ...

    def read(self, tree: Tree) -> Labels | None:
        """Return the labels; None where there are none to be had.

        Raises:
            DataError: the tables cannot be used.
        """
        ...


def of_table(data: bytes, columns: Columns, key: str) -> Labels:
    """Read a label table.

    Args:
        data: of the CSV file.
        columns: of the table.
        key: what ``columns.image`` holds, one of :data:`KEYS`.

    Raises:
        DataError: it is no table, or lacks a column.
    """
    read = table.parsed(data)
    table.check_columns(read, columns._asdict())
    labels = Labels(KEYS[key])
    for row in read.rows:
        source = f"row {row.number}"
        if row.cells is None:
            labels.refuse("", source, "the row has not as many cells as the header")
            continue
        found_by = normal(row.cells.get(columns.image, ""), key)
        try:
            claim = _claim(row.cells, columns)
        except DataError as error:
            labels.refuse(found_by, source, str(error))
            continue
        if found_by:
            labels.add(found_by, source, claim)
        else:
            labels.refuse("", source, "the row names no image")
    return labels


def composed(key: str) -> str:
    """Return a key with each accent and its letter as one character.

    Names that a Mac has listed or unpacked have them as two.
    """
    return unicodedata.normalize("NFC", key)


def normal(cell: str, key: str) -> str:
    r"""Return a cell as files' keys are written.

    >>> normal(r".\ct\0001.dcm", "path"), normal(" P  1 ", "PatientID")
    ('ct/0001.dcm', 'P 1')
    """
    if key == "path":
        return cell.replace("\\", "/").removeprefix("./")
    return " ".join(cell.split())


def _claim(cells: Mapping[str, str], columns: Columns) -> Claim:
    taken = {columns.image, columns.patient, columns.split, columns.noisy}
    return Claim(
        label=cells.get(columns.label) or None,
        patient=" ".join(cells.get(columns.patient, "").split()),
        split=table.split_of(cells.get(columns.split, "")),
        noisy=table.truth_of(cells.get(columns.noisy, "")),
        facts={k: table.fact_of(cell) for k, cell in cells.items() if cell and k not in taken},
    )
