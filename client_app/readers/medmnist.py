"""MedMNIST: one ``.npz`` file that holds images, labels and their split."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.readers import archive, medmnist_sets
from client_app.readers.samples import check_size, scaled
from fedmend.errors import DataError, RunError
from fedmend.plugins import READERS
from fedmend.records import SPLITS, Index, Reader, Record, Rejected

_VERSION = 1

Bytes = npt.NDArray[np.uint8]


class _Place(NamedTuple):
    """Where an image stands in the file, and its class."""

    split: str
    row: int
    label: str

    def __str__(self) -> str:
        return f"{self.split} image {self.row}"


class MedMNIST:
    """Images of one file in MedMNIST's layout; see :func:`medmnist`.

    ``facts`` hold an image's ``part`` of the file (train, val or test) and its ``row`` there.

    Args:
        path: the file, or with ``name`` its folder.
        name: of the data set; empty where ``path`` is the file.
        size: side of its images in pixels.
        download: whether to get the file where it is missing.
        classes: their names, in the order of the labels' numbers; empty: the data set's own.
    """

    whole = True
    """It holds its images in memory: processes beside this one would each hold them again."""

    def __init__(
        self, path: Path, name: str, size: int, download: bool, classes: tuple[str, ...]
    ) -> None:
        self.path = path / medmnist_sets.file_name(name, size) if name else path
        self.name = name
        self.size = size
        self.download = download
        own = medmnist_sets.CLASSES.get(self.path.stem.partition("_")[0], ())
        self.classes = classes or own
        self.decoding = f"medmnist {_VERSION}"
        self._parts: dict[str, Bytes] = {}
        self._lock = threading.Lock()

    def fingerprint(self) -> str:
        """Return a hash of the parameters, and of the file's size and time of change.

        Raises:
            DataError: there is no such file, and it cannot be downloaded.
        """
        if self.name and self.download:
            medmnist_sets.download(self.name, self.size, self.path.parent)
        if not self.path.is_file():
            way_out = ", or set download=true" if self.name else ""
            raise DataError(
                f"there is no such .npz file; give the path of one{way_out}", local=str(self.path)
            )
        status = self.path.stat()
        parts = (_VERSION, self.path, self.classes, status.st_size, status.st_mtime_ns)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def index(self) -> Index:
        """Return the records, sorted by uid, and the images that were refused.

        An image that occurs more than once is kept once; one that occurs with different labels,
        or in different splits, is not used at all.

        Raises:
            DataError: the file cannot be used.
            RunError: the disk fails, or is too full to unpack it.
        """
        found: dict[str, list[_Place]] = defaultdict(list)
        for split in SPLITS:
            labels = self._labels(split)
            for row, image in enumerate(self._images(split)):
                found[_uid(image)].append(_Place(split, row, self._class(int(labels[row]))))
        rejected: list[Rejected] = []
        records = [_record(uid, found[uid], rejected) for uid in sorted(found)]
        return Index([record for record in records if record], sorted(rejected))

    def load(self, record: Record) -> Tensor:
        """Return one image, (C, H, W) float32 in [0, 1], at its own size.

        Raises:
            RunError: it is not what it was when it was indexed.
        """
        images, row = self._images(str(record.facts["part"])), int(record.facts["row"])
        if row >= len(images) or _uid(images[row]) != record.uid:
            raise RunError("an image changed while it was in use; start again")
        return scaled(images[row])

    def _images(self, split: str) -> Bytes:
        """Return a split's images, (N, H, W) or (N, H, W, 3); unpacked when first asked for."""
        with self._lock:
            if split not in self._parts:
                with archive.opened(self.path) as file:
                    _check_layout(file)
                    images = file.unpacked(f"{split}_images")
                self._parts[split] = images.astype(np.uint8, copy=False)
            return self._parts[split]

    def _labels(self, split: str) -> npt.NDArray[np.int64]:
        """Return a split's labels, (N,)."""
        with archive.opened(self.path) as file:
            _check_layout(file)
            return file.unpacked(f"{split}_labels").reshape(-1).astype(np.int64)

    def _class(self, number: int) -> str:
        if not self.classes and number >= 0:
            return str(number)
        if not 0 <= number < len(self.classes):
            known = f"classes are named 0 to {len(self.classes) - 1}" if self.classes else "from 0"
            raise DataError(f"an image has the label {number}, but the {known}")
        return self.classes[number]


def _check_layout(file: archive.Archive) -> None:
    """Refuse a file that is not in MedMNIST's layout, before anything is unpacked."""
    names = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    lacking = file.lacks(names)
    if lacking:
        raise DataError(f"the .npz file lacks {', '.join(lacking)}: it is not MedMNIST's layout")
    for split in SPLITS:
        images, labels = file.header(f"{split}_images"), file.header(f"{split}_labels")
        _check_images(images)
        _check_labels(labels)
        if images.shape[0] != labels.shape[0]:
            raise DataError(
                f"there are {images.shape[0]} {images.name} and {labels.shape[0]} {labels.name}"
            )


def _check_images(header: archive.Header) -> None:
    colour = len(header.shape) == 4 and header.shape[3] == 3
    if len(header.shape) >= 4 and not colour:
        raise DataError(
            f"{header.name} are volumes, of shape {header.shape}; images (N, H, W) or "
            "(N, H, W, 3) are needed"
        )
    if len(header.shape) < 3:
        raise DataError(f"{header.name} are of shape {header.shape}, not (N, H, W) or (N, H, W, 3)")
    if header.dtype != np.uint8:
        raise DataError(f"{header.name} are of type {header.dtype}; uint8 is needed")
    check_size(header.shape[2], header.shape[1])


def _check_labels(header: archive.Header) -> None:
    if len(header.shape) == 2 and header.shape[1] > 1:
        raise DataError(
            f"{header.name} are {header.shape[1]} for each image (multi-label, as in chestmnist); "
            "one is needed"
        )
    if len(header.shape) not in (1, 2) or header.shape[1:] not in ((), (1,)):
        raise DataError(f"{header.name} are of shape {header.shape}, not (N, 1)")
    if header.dtype.kind not in "iu":
        raise DataError(f"{header.name} are of type {header.dtype}; whole numbers are needed")


def _uid(image: Bytes) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def _record(uid: str, same: list[_Place], rejected: list[Rejected]) -> Record | None:
    """Return one record for all places of the same image, unless they contradict."""
    first, *others = same
    if any((other.label, other.split) != (first.label, first.split) for other in others):
        reason = "the same image occurs with different labels or in different splits"
        rejected.extend(Rejected(str(place), reason) for place in same)
        return None
    rejected.extend(
        Rejected(str(other), "the same image occurs more than once") for other in others
    )
    return Record(
        uid=uid,
        label=first.label,
        group=uid,
        split=first.split,
        noisy=None,
        facts={"part": first.split, "row": float(first.row)},
    )


def _named(classes: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in classes.split(";")) if classes else ()
    if len(set(names)) < len(names) or any(not name or "," in name for name in names):
        raise ValueError(
            f"classes must be different names without commas, such as normal;ill; got {classes!r}"
        )
    return names


@READERS.register("medmnist")
def medmnist(
    *,
    path: Path,
    name: str = "",
    size: Literal[28, 64, 128, 224] = 28,
    download: bool = False,
    classes: str = "",
) -> Reader:
    """Read a ``.npz`` file in MedMNIST's layout, with the split that it brings.

    The file holds ``train_images``, ``train_labels``, and the same for ``val`` and ``test``:
    images are (N, H, W) or (N, H, W, 3) uint8 of any size, labels (N, 1) whole numbers from 0.
    Files do not tell patients apart: every image is its own. Source: Yang et al., "MedMNIST v2",
    Scientific Data 10, 41 (2023).

    Args:
        path: the file; with ``name``, the folder that holds it under MedMNIST's own name.
        name: of a data set of MedMNIST (``pathmnist``); with ``size`` it names the file.
        size: side of the images in pixels.
        download: get the file, where it is missing, through the package of the extra
            ``medmnist``. Nothing is ever downloaded without it.
        classes: names in the order of the labels' numbers, by semicolons: ``normal;pneumonia``.
            Empty: those of the data set that the file is named after, else the numbers.

    Raises:
        ValueError: an unknown or unusable ``name``, ``download`` without one, bad ``classes``.
    """
    if name:
        medmnist_sets.check_name(name)
    elif download or size != 28:
        raise ValueError("download and size are of a data set: give its name=… too")
    return MedMNIST(path, name, size, download, _named(classes))
