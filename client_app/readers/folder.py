"""A folder of PNG, JPEG, TIFF and NPY images, labelled by subfolder or by a CSV file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from client_app.readers import pattern, raster, table
from client_app.readers.tree import Tree
from fedmend.errors import DataError, RunError
from fedmend.plugins import READERS
from fedmend.records import Index, Reader, Record, Rejected

_VERSION = 1


class Columns(NamedTuple):
    """The columns of the label table; empty where there is none."""

    image: str
    label: str
    patient: str
    split: str
    noisy: str


class _Entry(NamedTuple):
    """One image as listed: by the folder tree, or by a row of the table."""

    source: str
    """Path relative to the folder."""
    label: str | None
    patient: str
    split: str
    noisy: bool | None
    facts: dict[str, str | float]

    def claims(self) -> tuple[object, ...]:
        """Return what a second listing of the same image must agree on."""
        return self.label, self.patient, self.split, self.noisy


class Folder:
    """Images below one folder; see :func:`folder`.

    ``facts`` hold the other columns of the table, and the image's path relative to the folder
    under the name of the image column.

    Args:
        path: the folder.
        labels: the table's path relative to it; empty: subfolders are classes.
        columns: of the table.
        glob: which files of a folder without a table are looked at.
    """

    def __init__(self, path: Path, labels: str, columns: Columns, glob: str) -> None:
        self.tree = Tree(path)
        self.labels = labels
        self.columns = columns
        self.glob = pattern.compiled(glob)
        self.decoding = f"raster {_VERSION}"

    def fingerprint(self) -> str:
        """Return a hash of parameters, table, and all files' names, sizes, times and modes.

        Raises:
            DataError: the folder or its table cannot be read.
        """
        digest = hashlib.sha256()
        parts: list[object] = [
            _VERSION,
            self.tree.root,
            self.labels,
            self.glob.pattern,
            *self.columns,
        ]
        if self.labels:
            data = self.tree.table(self.labels)
            digest.update(data)
            names = sorted({name for name, _ in self._named(table.parsed(data)) if name})
            parts += [(name, *self.tree.status(name)) for name in names]
        else:
            parts += [(name, *self.tree.status(name)) for name in self._names()]
        digest.update(repr(parts).encode())
        return digest.hexdigest()

    def index(self) -> Index:
        """Return the records, sorted by uid, and the files that were refused.

        Raises:
            DataError: the folder or its table cannot be used.
            RunError: the disk fails.
        """
        rejected: list[Rejected] = []
        listed = self._from_table(rejected) if self.labels else self._from_tree(rejected)
        found: dict[str, list[_Entry]] = defaultdict(list)
        for entry in listed:
            try:
                data = self.tree.read(entry.source)
                raster.kind_of(data)
                found[hashlib.sha256(data).hexdigest()].append(entry)
            except DataError as error:
                rejected.append(Rejected(entry.source, str(error)))
        records = [self._record(uid, found[uid], rejected) for uid in sorted(found)]
        return Index([record for record in records if record], sorted(rejected))

    def load(self, record: Record) -> Tensor:
        """Return one image, (C, H, W) float32 in [0, 1], at its own size.

        Raises:
            DataError: it cannot be decoded.
            RunError: it is not what it was when it was indexed.
        """
        source = str(record.facts[self.columns.image])
        try:
            data = self.tree.read(source)
        except DataError as error:
            raise RunError("an image can no longer be read; start again", local=source) from error
        if hashlib.sha256(data).hexdigest() != record.uid:
            raise RunError("an image changed while it was in use; start again", local=source)
        try:
            return raster.decode(data)
        except DataError as error:
            raise DataError(str(error), local=source) from error

    def _from_tree(self, rejected: list[Rejected]) -> Iterator[_Entry]:
        """List files below class folders; anywhere, where there are no classes."""
        labelled = bool(self.columns.label)
        for name in self._names():
            top, slash, _ = name.partition("/")
            if labelled and not slash:
                rejected.append(Rejected(name, "the file lies in no class folder"))
            elif labelled and not top.isprintable():
                rejected.append(Rejected(name, "the class folder's name is not printable text"))
            elif Path(name).suffix.lower() not in raster.SUFFIXES:
                rejected.append(Rejected(name, "the file is not a PNG, JPEG, TIFF or NPY image"))
            else:
                yield _Entry(name, top if labelled else None, "", "", None, {})

    def _names(self) -> list[str]:
        return sorted(name for name in self.tree.names() if self.glob.fullmatch(name))

    def _from_table(self, rejected: list[Rejected]) -> Iterator[_Entry]:
        """List what the table names."""
        read = table.parsed(self.tree.table(self.labels))
        for name, row in self._named(read):
            source = name or f"row {row.number}"
            if row.cells is None:
                rejected.append(Rejected(source, "the row has not as many cells as the header"))
            elif not name:
                rejected.append(Rejected(source, "the row names no image"))
            else:
                try:
                    yield self._entry(name, row.cells)
                except DataError as error:
                    rejected.append(Rejected(source, str(error)))

    def _named(self, read: table.Table) -> list[tuple[str, table.Row]]:
        """Return the table's rows, each with the path it names."""
        table.check_columns(read, self.columns._asdict())
        return [((row.cells or {}).get(self.columns.image, ""), row) for row in read.rows]

    def _entry(self, name: str, cells: Mapping[str, str]) -> _Entry:
        columns = self.columns
        taken = {columns.image, columns.patient, columns.split, columns.noisy}
        return _Entry(
            source=name,
            label=cells.get(columns.label) or None,
            patient=cells.get(columns.patient, ""),
            split=table.split_of(cells.get(columns.split, "")),
            noisy=table.truth_of(cells.get(columns.noisy, "")),
            facts={k: table.fact_of(cell) for k, cell in cells.items() if cell and k not in taken},
        )

    def _record(self, uid: str, same: list[_Entry], rejected: list[Rejected]) -> Record | None:
        """Return one record for all listings of the same bytes, unless they contradict."""
        first, *others = same
        if any(other.claims() != first.claims() for other in others):
            reason = "the same image is listed with contradicting labels"
            rejected.extend(Rejected(entry.source, reason) for entry in same)
            return None
        reason = "the same image is listed more than once"
        rejected.extend(Rejected(other.source, reason) for other in others)
        return Record(
            uid=uid,
            label=first.label,
            group=hashlib.sha256(first.patient.encode()).hexdigest() if first.patient else uid,
            split=first.split,
            noisy=first.noisy,
            facts=first.facts | {self.columns.image: first.source},
        )


@READERS.register("folder")
def folder(
    *,
    path: Path,
    labels: str = "",
    image: str = "image",
    label: str = "label",
    patient: str = "",
    split: str = "",
    noisy: str = "",
    glob: str = "**",
) -> Reader:
    """Read a folder of images.

    Without ``labels`` each top-level subfolder is a class, and every image its own patient. With
    it, the table says which files there are; its cells are text, and every column that has no
    meaning here is kept as a fact.

    Args:
        path: the folder.
        labels: path of a CSV file, relative to the folder.
        image: column of the images' paths, relative to the folder.
        label: column of the classes; empty cells are unlabelled; empty: nothing is labelled, and
            images may lie anywhere below the folder.
        patient: column that tells patients apart; empty: every image is its own.
        split: column with train, val (valid, validation) or test; empty: the run's ``split``.
        noisy: column that vouches for an image being noisy (1, true, yes) or clean (0, false, no).
        glob: without ``labels``, which files to look at: ``**`` crosses folders, ``*`` and ``?``
            stay in a name.

    Raises:
        ValueError: columns are named, but no table; or a pattern, and a table that names files.
    """
    named = {"patient": patient, "split": split, "noisy": noisy}
    alone = [key for key, column in named.items() if column and not labels]
    if alone:
        raise ValueError(f"{', '.join(alone)} names a column of labels=…, which is not given")
    if not image:
        raise ValueError("image must name a column; got ''")
    if not glob or (labels and glob != "**"):
        raise ValueError(f"glob is a pattern such as **/*.png, without a table; got {glob!r}")
    return Folder(path, labels, Columns(image, label, patient, split, noisy), glob)
