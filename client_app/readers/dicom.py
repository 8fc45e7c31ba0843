"""A folder of DICOM files, found by content and labelled by a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from client_app.dicom import labels as labelling
from client_app.dicom.images import Frames, Images
from client_app.dicom.labels import KEYS, Columns, Labels
from client_app.dicom.proportions import Aspect
from client_app.readers import pattern
from client_app.readers.tree import Tree
from fedmend.plugins import READERS
from fedmend.records import Reader

_ALIASES = {"file": "path", "filename": "path", "image": "path"}


class FromTable(NamedTuple):
    """Labels of one CSV file, or none at all."""

    table: str
    """Its path relative to the folder; empty: nothing is labelled."""
    columns: Columns
    key: str
    glob: str

    def tables(self, tree: Tree) -> list[str]:
        """Return the table's path."""
        del tree
        return [self.table] if self.table else []

    def admits(self, path: str) -> bool:
        """Say whether the pattern means a file."""
        return bool(pattern.compiled(self.glob).fullmatch(path))

    def read(self, tree: Tree) -> Labels | None:
        """Return the labels; None without a table.

        Raises:
            DataError: the table cannot be used.
        """
        if not self.table:
            return None
        return labelling.of_table(tree.table(self.table), self.columns, self.key)


@READERS.register("dicom")
def dicom(
    *,
    path: Path,
    labels: str = "",
    image: str = "path",
    key: str = "",
    label: str = "label",
    patient: str = "",
    split: str = "",
    noisy: str = "",
    glob: str = "**",
    window: str = "file",
    frames: Frames = "each",
    aspect: Aspect = "keep",
) -> Reader:
    """Read a folder of DICOM files, whatever they are called.

    Every file that is no image, or whose pixels cannot be trusted, is listed with a reason. The
    same image (the same file, SOPInstanceUID or stored pixels) is used once. Patients are told
    apart by PatientID where no column does it; without either, studies are.

    Args:
        path: the folder.
        labels: path of a CSV file, relative to the folder; empty: nothing is labelled.
        image: column by which rows and files find each other. A column that is called path,
            SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID or PatientID holds just that.
        key: which of these the column holds, where it is called something else.
        label: column of the classes; empty cells are unlabelled; empty: nothing is labelled.
        patient: column that tells patients apart; empty, or an empty cell: the PatientID.
        split: column with train, val (valid, validation) or test; empty: the run's ``split``.
        noisy: column that vouches for an image being noisy (1, true, yes) or clean (0, false, no).
        glob: which files to look at: ``**`` crosses folders, ``*`` and ``?`` stay in a name.
        window: file (the header's), file:2 (its second), range (of the stored values) or
            CENTRE/WIDTH (40/400).
        frames: of a file with several, take each, the middle one, or refuse the file.
        aspect: keep an image's proportions, with margins around it, or stretch it to the square.

    Raises:
        ValueError: columns are named, but no table; or a value that makes no sense.
    """
    named = {"patient": patient, "split": split, "noisy": noisy, "key": key}
    alone = [name for name, column in named.items() if column and not labels]
    if alone:
        raise ValueError(f"{', '.join(alone)} is about the table of labels=…, which is not given")
    if not glob:
        raise ValueError("glob must be a pattern such as ** or **/*.dcm; got ''")
    columns = Columns(image, label, patient, split, noisy)
    table = FromTable(labels.removeprefix("./"), columns, _key(image, key), glob)
    return Images(path, table, frames=frames, window=window, aspect=aspect)


def _key(image: str, key: str) -> str:
    """Return what a column holds: what it is said to, or what its name says."""
    if key and key not in KEYS:
        raise ValueError(f"key must be one of {', '.join(KEYS)}; got {key!r}")
    known = {name.lower(): name for name in KEYS} | _ALIASES
    plain = image.lower().replace("_", "").replace(" ", "").replace("-", "")
    found = key or known.get(plain)
    if found is None:
        raise ValueError(
            f"image={image!r} does not say what the column holds: add key=… ({', '.join(KEYS)})"
        )
    return found
