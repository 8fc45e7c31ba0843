"""The layout ``dicom``: a folder per site, as an archive exports it, with a label table.

::

    site-0/labels.csv                                    path, SOPInstanceUID, label, patient, …
    site-0/images/MARKER-0-3/ST00001/SE00001/IM00001     patient, study, series, image
    broken.csv                                           where unusable files were ordered

``path`` counts from the site's folder. ``split`` is empty, so that the run draws it. ``noisy``
is 1 where the ordered noise changed the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import UID

from client_app.synth import broken, modules, table, writer
from client_app.synth.acquisition import Scanner, exposed, scanner
from client_app.synth.grey import Picture
from client_app.synth.order import Order
from client_app.synth.patients import Patient, marked, uid
from client_app.synth.pictures import Pictures
from client_app.synth.staging import staged
from fedmend import randomness
from fedmend.records import Record

CLASSES = 3
COLUMNS = ("path", "SOPInstanceUID", "label", "patient", "split", "noisy")

_VIEWS = ("PA", "PA", "PA", "AP")
_BROKEN_FROM = 90_001

Row = Mapping[str, str | int]


class Place(NamedTuple):
    """Where an image stands in the archive."""

    patient: Patient
    study: int
    image: int

    def folder(self) -> str:
        """Return the series' folder below ``images``."""
        return f"{self.patient.identifier}/ST{self.study:05d}/SE00001"


def write(order: Order, target: Path, advance: Callable[[], None]) -> None:
    """Write the whole tree, or nothing.

    Args:
        order: what is asked for.
        target: an empty folder or none; absolute.
        advance: called after each image.

    Raises:
        DataError: ``target`` is neither.
        OSError: the system refuses.
    """
    with staged(target) as root:
        spoiled: list[Row] = []
        for number in range(order.sites):
            spoiled += _Site(order, number, root).write(advance)
        if order.broken:
            table.write(root / "broken.csv", table.BROKEN_COLUMNS, spoiled)


class _Site:
    """One hospital."""

    def __init__(self, order: Order, number: int, root: Path) -> None:
        self.order = order
        self.number = number
        self.root = root
        self.folder = root / f"site-{number}"
        self.scanner: Scanner = scanner(number)
        self.pictures = Pictures(order, number, count=order.images, classes=CLASSES)
        self.places = self._places()

    def write(self, advance: Callable[[], None]) -> list[Row]:
        """Write the site's folder; return what was spoiled."""
        rows = []
        for number, record in enumerate(self.pictures.records):
            rows.append(self._write(number, record))
            advance()
        table.write(self.folder / "labels.csv", COLUMNS, rows)
        return [self._spoil(number) for number in range(self.order.broken)]

    def _places(self) -> list[Place]:
        """Place every image: a patient's later ones in the same series, or in later studies."""
        seen: dict[str, int] = {}
        times: dict[str, int] = {}
        places = []
        for record in self.pictures.records:
            who = seen.setdefault(record.group, len(seen) + 1)
            before = times.get(record.group, 0)
            times[record.group] = before + 1
            comes_again = bool(who % 2)
            study, image = (before + 1, 1) if comes_again else (1, before + 1)
            places.append(Place(marked(self.number, who), study, image))
        return places

    def _write(self, number: int, record: Record) -> Row:
        picture, noisy = self.pictures.draw(record, number)
        place = self.places[number]
        name = f"IM{place.image:05d}{self.scanner.suffix}"
        path = self.folder / "images" / place.folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = self._image(number, "image", picture)
        syntaxes = self.scanner.syntaxes
        path.write_bytes(writer.encoded(image, syntaxes[number % len(syntaxes)]))
        return {
            "path": path.relative_to(self.folder).as_posix(),
            "SOPInstanceUID": image.SOPInstanceUID,
            "label": record.label or "",
            "patient": place.patient.identifier,
            "split": "",
            "noisy": int(noisy),
        }

    def _image(self, number: int, kind: str, picture: Picture) -> Dataset:
        """Return the object of the ``number``-th image, not yet encoded."""
        place, device = self.places[number], self.scanner
        elements = self._patient_and_study(place) | self._modules(number, picture.shape[1])
        pixels = device.grey.stored(picture)
        made = writer.instance(self._uid(kind, number), device, elements, pixels)
        writer.mark_privately(made)
        return made

    def _uid(self, kind: str, *parts: str | int) -> UID:
        return uid(self.order.seed, self.number, kind, *parts)

    def _patient_and_study(self, place: Place) -> modules.Elements:
        within = (place.patient.identifier, place.study)
        return (
            modules.patient(place.patient)
            | modules.study(self._uid("study", *within), place.study)
            | modules.series(self._uid("series", *within), self.scanner.modality)
            | modules.equipment(self.scanner)
            | modules.institution(self.number)
            | modules.general_image(place.image)
            | {"ImageComments": modules.marked("image")}
        )

    def _modules(self, number: int, columns: int) -> modules.Elements:
        """Return what the site's SOP class has of its own."""
        device = self.scanner
        rng = randomness.numpy_generator(self.order.seed, "exposure", self.number, number)
        taken = exposed(device, _VIEWS[number % len(_VIEWS)], rng)
        spacing = round(device.field_of_view / columns, 4)
        if device.modality == "CR":
            return modules.cr(device, taken, spacing)
        if device.modality == "OT":
            return modules.secondary_capture(device, spacing)
        return modules.dx(device, taken, spacing) | {"DetectorID": modules.marked("detector")}

    def _spoil(self, number: int) -> Row:
        """Write a broken file beside a good one."""
        victim = number % len(self.places)
        picture, _ = self.pictures.draw(self.pictures.records[victim], victim)
        image = self._image(victim, f"broken {number}", picture)
        place, kind = self.places[victim], broken.kind(number)
        folder = self.folder / "images" / place.folder()
        good = folder / f"IM{place.image:05d}{self.scanner.suffix}"
        suffix = ".dcm" if kind.name == "text" else self.scanner.suffix
        path = folder / f"IM{_BROKEN_FROM + number:05d}{suffix}"
        path.write_bytes(kind.spoil(broken.Victim(image, good.read_bytes())))
        where = path.relative_to(self.root).as_posix()
        return {"path": where, "kind": kind.name, "what": kind.words}
