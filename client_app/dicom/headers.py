"""What is known of a DICOM file without decoding it: who, what, how acquired, and two hashes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydicom import Dataset

from client_app.dicom.acquisition import SPACINGS, of_all, of_each, spacings
from client_app.dicom.layout import Layout
from client_app.dicom.parsed import Parsed
from client_app.dicom.quiet import quiet
from client_app.dicom.upright import turn
from client_app.dicom.values import number, text

__all__ = ["NUMBERS", "SPACINGS", "TEXTS", "Header", "header"]

TEXTS = (
    "Modality", "Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "ViewPosition",
    "Laterality", "ImageLaterality", "BodyPartExamined", "PhotometricInterpretation",
    "StudyInstanceUID", "PatientOrientation",
)  # fmt: skip
"""Facts that are text, by their keywords in the standard."""
NUMBERS = (
    "KVP", "Exposure", "ExposureTime", "XRayTubeCurrent", "SliceThickness", "Rows", "Columns",
    "BitsStored",
)  # fmt: skip
"""Facts that are numbers, in the standard's units (kV, mAs, ms, mA, mm, pixels, bits)."""


class Header(NamedTuple):
    """What is known of a file without decoding it."""

    digest: str
    """Hash (hex) of the whole file; see :func:`client_app.dicom.parsed.parse`."""
    pixels: str
    """Hash (hex) of the stored pixel data and of what says how to read it."""
    patient: str
    """PatientID; empty where absent. Never leaves the site."""
    study: str
    """StudyInstanceUID, empty where absent."""
    series: str
    """SeriesInstanceUID, empty where absent."""
    instance: str
    """SOPInstanceUID, empty where absent."""
    frames: int
    """At least 1."""
    facts: Mapping[str, str | float]
    """Acquisition, by the standard's keywords; what is absent or broken is left out."""
    own: Sequence[Mapping[str, str | float]] = ()
    """By frame, facts that go on top of these; empty where no frame has any."""


def header(parsed: Parsed) -> Header:
    """Return what a parsed file says of itself."""
    dataset = parsed.dataset
    with quiet():
        return Header(
            digest=parsed.digest,
            pixels=parsed.pixels,
            patient=text(dataset, "PatientID"),
            study=text(dataset, "StudyInstanceUID"),
            series=text(dataset, "SeriesInstanceUID"),
            instance=text(dataset, "SOPInstanceUID"),
            frames=parsed.claimed.frames,
            facts=_facts(dataset, parsed.claimed),
            own=of_each(dataset, parsed.claimed.frames),
        )


def _facts(dataset: Dataset, claimed: Layout) -> dict[str, str | float]:
    """Return acquisition facts; texts are shared between files, which mostly say the same."""
    facts: dict[str, str | float] = {}
    for keyword in TEXTS:
        if found := text(dataset, keyword):
            facts[keyword] = sys.intern(found)
    for keyword in NUMBERS:
        if (value := number(dataset, keyword)) is not None:
            facts[keyword] = value
    facts |= spacings(dataset) | of_all(dataset)
    if name := turn(dataset).name:
        facts["turned"] = name
    facts["NumberOfFrames"] = float(claimed.frames)
    facts["TransferSyntaxUID"] = sys.intern(str(claimed.syntax))
    return facts
