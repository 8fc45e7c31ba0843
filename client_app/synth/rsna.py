"""The layout ``rsna``: that of the RSNA Screening Mammography Breast Cancer Detection data.

One tree whose ``train.csv`` names each image's site, as published (Carr et al., 2022)::

    train.csv   train_images/<patient_id>/<image_id>.dcm
    test.csv    test_images/<patient_id>/<image_id>.dcm

Layout, columns and headers are those of mammograms; the pixels show the phantoms' chests all the
same, with a nodule where the table says cancer. Far more women have one than in a screening, so
that a trial has something to learn from. The files are de-identified, as the published ones are:
they hold no markers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from client_app.synth import broken, modules, table, writer
from client_app.synth.acquisition import Scanner, exposed, mammography_unit
from client_app.synth.grey import Picture
from client_app.synth.order import Order
from client_app.synth.patients import uid
from client_app.synth.pictures import Pictures
from client_app.synth.staging import staged
from fedmend import randomness
from fedmend.records import Record

TRAIN_COLUMNS = (
    "site_id", "patient_id", "image_id", "laterality", "view", "age", "cancer", "biopsy",
    "invasive", "BIRADS", "implant", "density", "machine_id", "difficult_negative_case",
)  # fmt: skip
TEST_COLUMNS = (
    "site_id", "patient_id", "image_id", "laterality", "view", "age", "implant", "machine_id",
    "prediction_id",
)  # fmt: skip

_VIEWS = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))
_ILL = 0.5
"""Share of women with a cancer, in one breast."""
_IMPLANTS = 0.05
_UNITS = 2
"""Mammography units per site."""
_NUMBERS, _STRIDE = 10_000_000, 6_180_339
"""Patients and images are numbered within blocks, one per site; the stride is prime to them."""

Row = Mapping[str, str | int]


class Image(NamedTuple):
    """One view of one breast."""

    number: int
    """At its site, from 0, training images first."""
    phantom: Record
    row: Row
    """All columns of both tables."""
    train: bool
    unit: int
    """Number of the mammography unit."""


def write(order: Order, target: Path, advance: Callable[[], None]) -> None:
    """Write the whole tree, or nothing; see :func:`client_app.synth.tree.write`.

    Each site has ``order.images`` images in ``train_images``, four to a woman, and one woman more
    in ``test_images``. Broken files are rows of ``train.csv`` like any other.

    Raises:
        DataError: ``target`` is no empty folder.
        OSError: the system refuses.
    """
    rows: dict[bool, list[Row]] = {True: [], False: []}
    spoiled: list[Row] = []
    with staged(target) as root:
        for number in range(order.sites):
            site = _Site(order, number, root)
            images = list(site.images())
            for image in images:
                site.write(image)
                rows[image.train].append(image.row)
                if image.train:
                    advance()
            found = [
                site.spoil(spare, images[spare % order.images]) for spare in range(order.broken)
            ]
            rows[True] += [image for image, _ in found]
            spoiled += [what for _, what in found]
        table.write(root / "train.csv", TRAIN_COLUMNS, _only(TRAIN_COLUMNS, rows[True]))
        table.write(root / "test.csv", TEST_COLUMNS, _only(TEST_COLUMNS, rows[False]))
        if order.broken:
            table.write(root / "broken.csv", table.BROKEN_COLUMNS, spoiled)


def _only(columns: tuple[str, ...], rows: list[Row]) -> Iterator[Row]:
    return ({name: row[name] for name in columns} for row in rows)


class _Site:
    """One hospital's part of the tree."""

    def __init__(self, order: Order, number: int, root: Path) -> None:
        self.order = order
        self.number = number
        self.root = root
        self.women = -(-order.images // len(_VIEWS)) + 1
        breasts = 4 * self.women  # phantoms are ill by turns, so there are enough of each
        self.pictures = Pictures(order, number, count=2 * breasts, classes=2, patients=breasts)
        self.pool = self._pool()

    def _pool(self) -> dict[bool, list[list[Record]]]:
        """Return the phantoms, two images each, by whether they are ill."""
        groups: dict[str, list[Record]] = {}
        for record in self.pictures.records:
            groups.setdefault(record.group, []).append(record)
        pool: dict[bool, list[list[Record]]] = {True: [], False: []}
        for group in groups.values():
            pool[group[0].label != "normal"].append(group)
        return pool

    def images(self) -> Iterator[Image]:
        """Yield the site's images, woman by woman; the last woman is for the test."""
        left = self.order.images
        for woman in range(self.women):
            train = woman < self.women - 1
            number = (self.order.images - left) if train else self.order.images
            views = min(left, len(_VIEWS)) if train else len(_VIEWS)
            yield from self._woman(woman, number, views, train=train)
            left -= views if train else 0

    def _woman(self, woman: int, first: int, views: int, *, train: bool) -> Iterator[Image]:
        rng = randomness.numpy_generator(self.order.seed, "woman", self.number, woman)
        shared = self._facts(woman, rng)
        ill = str(rng.choice(["L", "R"])) if rng.uniform() < _ILL else ""
        unit = self.number * _UNITS + int(rng.integers(_UNITS))
        breasts = {side: self.pool[side == ill].pop() for side in "LR"}
        for place, (side, view) in enumerate(_VIEWS[:views]):
            row = shared | {
                "image_id": self._image_id(first + place),
                "laterality": side,
                "view": view,
                "machine_id": 20 + unit,
                "prediction_id": f"{shared['patient_id']}_{side}",
                **_finding(ill=side == ill, hard=woman % 3 == 0),
            }
            phantom = breasts[side][place % 2]
            yield Image(first + place, phantom, row, train, unit)

    def _facts(self, woman: int, rng: np.random.Generator) -> dict[str, str | int]:
        return {
            "site_id": self.number + 1,
            "patient_id": (self.number + 1) * _NUMBERS + woman,
            "age": int(rng.integers(40, 85)),
            "implant": int(rng.uniform() < _IMPLANTS),
            "density": str(rng.choice(["A", "B", "C", "D"])),
        }

    def _image_id(self, number: int) -> int:
        """Return a number that says nothing of the order within the site, without repeats."""
        scattered = (number * _STRIDE + randomness.number(self.order.seed, "ids")) % _NUMBERS
        return (self.number + 1) * _NUMBERS + scattered

    def _path(self, row: Row, *, train: bool) -> Path:
        folder = self.root / ("train_images" if train else "test_images")
        return folder / str(row["patient_id"]) / f"{row['image_id']}.dcm"

    def write(self, image: Image) -> None:
        """Write one image's file."""
        picture, _ = self.pictures.draw(image.phantom, image.number)
        device = mammography_unit(image.unit)
        made = self._object("image", image, device, picture)
        path = self._path(image.row, train=image.train)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(writer.encoded(made, device.syntaxes[image.number % len(device.syntaxes)]))

    def _object(self, kind: str, image: Image, device: Scanner, picture: Picture) -> Dataset:
        row, seed = image.row, self.order.seed
        rng = randomness.numpy_generator(seed, "exposure", self.number, image.number)
        taken = exposed(device, str(row["view"]), rng)
        spacing = round(device.field_of_view / picture.shape[1], 4)
        patient = int(row["patient_id"])
        elements = (
            modules.deidentified(patient, int(row["age"]))
            | modules.undated_study(uid(seed, "study", patient))
            | {"Modality": device.modality, "SeriesNumber": image.number + 1}
            | {"SeriesInstanceUID": uid(seed, "series", self.number, image.number)}
            | modules.equipment(device)
            | modules.general_image(1)
            | modules.mammography(
                device, taken, spacing, str(row["laterality"]), implant=bool(row["implant"])
            )
        )
        sop_uid = uid(seed, kind, int(row["image_id"]))
        return writer.instance(sop_uid, device, elements, device.grey.stored(picture))

    def spoil(self, number: int, good: Image) -> tuple[Row, Row]:
        """Write a broken file for an image of its own; return its row, and how it is broken."""
        victim_id = self._image_id(self.order.images + len(_VIEWS) + number)
        victim = good._replace(row={**good.row, "image_id": victim_id})
        picture, _ = self.pictures.draw(good.phantom, good.number)
        device, kind = mammography_unit(good.unit), broken.kind(number)
        made = self._object("broken", victim, device, picture)
        path = self._path(victim.row, train=True)
        original = self._path(good.row, train=True).read_bytes()
        path.write_bytes(kind.spoil(broken.Victim(made, original)))
        where = path.relative_to(self.root).as_posix()
        return victim.row, {"path": where, "kind": kind.name, "what": kind.words}


def _finding(*, ill: bool, hard: bool) -> dict[str, str | int]:
    """Return what the table says of a breast; a BI-RADS category is not always given."""
    birads = 0 if ill else ("" if hard else 1)
    return {
        "cancer": int(ill),
        "biopsy": int(ill or hard),
        "invasive": int(ill and hard),
        "BIRADS": birads,
        "difficult_negative_case": str(hard and not ill),
    }
