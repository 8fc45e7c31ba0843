"""What is known of one image besides its pixels, in a reader's words."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from client_app.pictures import Picture
from client_app.readers.folder import Folder
from client_app.survey import raster_file
from fedmend.errors import DataError
from fedmend.records import Reader

_COLOURS = {1: "grey", 3: "RGB"}


class Traits(NamedTuple):
    """An image's traits as text; empty where unknown."""

    modality: str = ""
    manufacturer: str = ""
    model: str = ""
    format: str = ""
    """Transfer syntax, or the kind of file."""
    photometric: str = ""
    bits: str = ""
    """That are stored a sample."""
    view: str = ""
    laterality: str = ""
    body_part: str = ""


def traits(reader: Reader, picture: Picture) -> Traits:
    """Return what the DICOM header says, or the head of another file."""
    facts = picture.record.facts
    if "TransferSyntaxUID" in facts:
        return _of_header(facts)
    colour = _COLOURS[picture.shape[0]]
    if not isinstance(reader, Folder):
        return Traits(photometric=colour)
    try:
        with reader.tree.opened(picture.place.path) as file:
            found = raster_file.read(file)
    except (DataError, ValueError):  # gone or replaced since it was decoded
        return Traits(photometric=colour)
    return Traits(photometric=colour, format=found.kind, bits=found.bits)


def _of_header(facts: Mapping[str, str | float]) -> Traits:
    def text(*keywords: str) -> str:
        found = next((facts[keyword] for keyword in keywords if keyword in facts), "")
        return found if isinstance(found, str) else f"{found:g}"

    return Traits(
        modality=text("Modality"),
        manufacturer=text("Manufacturer"),
        model=text("ManufacturerModelName"),
        format=_syntax(text("TransferSyntaxUID")),
        photometric=text("PhotometricInterpretation"),
        bits=text("BitsStored"),
        view=text("ViewPosition"),
        laterality=text("ImageLaterality", "Laterality"),
        body_part=text("BodyPartExamined"),
    )


def _syntax(uid: str) -> str:
    """Return a transfer syntax's name in the standard; the UID where it has none."""
    from pydicom.uid import UID

    return sys.intern(UID(uid).name)
