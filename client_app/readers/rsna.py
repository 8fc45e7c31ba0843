"""RSNA Screening Mammography Breast Cancer Detection: its folders and tables as published.

Source: Carr et al., "RSNA Screening Mammography Breast Cancer Detection", Kaggle, 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from client_app.dicom.images import Frames, Images
from client_app.dicom.labels import Claim, Labels
from client_app.dicom.proportions import Aspect
from client_app.readers import table
from client_app.readers.tree import Tree
from fedmend.errors import DataError
from fedmend.plugins import READERS
from fedmend.records import Reader

if TYPE_CHECKING:
    from client_app.dicom.headers import Header

CLASSES = {"0": "negative", "1": "cancer"}
"""Names of what the column ``cancer`` holds."""

_TRAIN, _TEST = "train", "test"
_IMAGE, _PATIENT, _CANCER = "image_id", "patient_id", "cancer"
_SUFFIXES = (".dcm", ".dicom")


class Rsna(NamedTuple):
    """Labels of ``train.csv``, and what ``test.csv`` says of images without labels."""

    test: bool
    """Whether the test images are read too."""

    def tables(self, tree: Tree) -> list[str]:
        """Return the tables that there are; ``train.csv`` must be there."""
        optional = [f"{_TEST}.csv"] if self.test else []
        return [f"{_TRAIN}.csv", *(name for name in optional if tree.status(name)[0] >= 0)]

    def admits(self, path: str) -> bool:
        """Say whether a file lies in a folder of images."""
        parts = (_TRAIN, _TEST) if self.test else (_TRAIN,)
        return path.startswith(tuple(f"{part}_images/" for part in parts))

    def read(self, tree: Tree) -> Labels:
        """Return what both tables say, found by the files' names.

        Raises:
            DataError: a table cannot be used, or lacks a column.
        """
        labels = Labels(_key)
        keys = {_key(path, None) for path in tree.names()}
        for name in self.tables(tree):
            _add(labels, table.parsed(tree.table(name)), name.removesuffix(".csv"), keys)
        return labels


def _key(path: str, header: Header | None) -> str:
    """Return the part, the patient where the layout has folders of patients, and the image.

    >>> _key("train_images/10006/462822612.dcm", None), _key("test_images/image_001.dcm", None)
    ('train/10006/462822612', 'test/image_001')
    """
    del header
    folder, _, rest = path.partition("/")
    return f"{folder.removesuffix('_images')}/{_plain(rest)}"


def _plain(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in _SUFFIXES else name


def _add(labels: Labels, read: table.Table, part: str, keys: Collection[str]) -> None:
    """Add one table's rows, each by where its own image lies.

    Args:
        labels: that they are added to.
        read: the table.
        part: of the data that it is about.
        keys: of all files that there are.

    Raises:
        DataError: it lacks a column.
    """
    nested = _is_nested(read, part, keys)
    _check_columns(read, part, nested=nested)
    for row in read.rows:
        source = f"{part}.csv row {row.number}"
        if row.cells is None:
            labels.refuse("", source, "the row has not as many cells as the header")
            continue
        image, patient = _plain(row.cells[_IMAGE]), row.cells.get(_PATIENT, "")
        flat = f"{part}/{image}"
        if not image or (nested and not patient):
            labels.refuse("", source, "the row names no image")
            continue
        own = f"{part}/{patient}/{image}"
        key = flat if flat in keys and own not in keys else own if patient else flat
        try:
            labels.add(key, source, _claim(row.cells, part))
        except DataError as error:
            labels.refuse(key, source, str(error))


def _is_nested(read: table.Table, part: str, keys: Collection[str]) -> bool:
    """Say whether patients have folders: no row's image lies beside them, nor do most files."""
    rows = (row.cells for row in read.rows if row.cells is not None)
    if any(f"{part}/{_plain(cells.get(_IMAGE, ''))}" in keys for cells in rows):
        return False
    depths = Counter(key.count("/") for key in keys if key.startswith(f"{part}/"))
    return depths[1] < depths.total() - depths[1]


def _check_columns(read: table.Table, part: str, *, nested: bool) -> None:
    wanted = [_IMAGE, *([_PATIENT] if nested else []), *([_CANCER] if part == _TRAIN else [])]
    missing = [name for name in wanted if name not in read.columns]
    if missing:
        raise DataError(
            f"{part}.csv lacks {', '.join(missing)}: as RSNA published it, it has the columns "
            f"{', '.join(wanted)}",
            local=f"there is {', '.join(read.columns)}",
        )


def _claim(cells: Mapping[str, str], part: str) -> Claim:
    taken = {_IMAGE, _PATIENT}
    return Claim(
        label=_class_of(cells[_CANCER]) if part == _TRAIN else None,
        patient=cells.get(_PATIENT, ""),
        split=_TEST if part == _TEST else "",
        noisy=None,
        facts={k: table.fact_of(cell) for k, cell in cells.items() if cell and k not in taken},
    )


def _class_of(cell: str) -> str | None:
    """Return the class; None for an empty cell.

    Raises:
        DataError: neither 0 nor 1.
    """
    if cell and cell not in CLASSES:
        raise DataError("the cancer column is neither 0, 1 nor empty")
    return CLASSES[cell] if cell else None


@READERS.register("rsna")
def rsna(
    *,
    path: Path,
    window: str = "file",
    frames: Frames = "each",
    aspect: Aspect = "keep",
    test: bool = True,
) -> Reader:
    """Read the mammograms of the RSNA challenge of 2022.

    ``train.csv`` labels ``train_images/<patient_id>/<image_id>.dcm``, or in the flat form
    ``train_images/<image_id>.dcm``; classes are ``negative`` and ``cancer``. All other columns
    are facts: ``column(name=site_id)`` makes sites of them.

    Args:
        path: the folder that holds the tables and the folders of images.
        window: file (the header's), file:2 (its second), range (of the stored values) or
            CENTRE/WIDTH.
        frames: of a file with several, take each, the middle one, or refuse the file.
        aspect: keep an image's proportions, with margins around it, or stretch it to the square.
        test: read ``test_images`` too, as unlabelled images of the test split.

    Raises:
        ValueError: no such window.
    """
    return Images(path, Rsna(test), frames=frames, window=window, aspect=aspect)
