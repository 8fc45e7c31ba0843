"""The sites' equipment: what differs from hospital to hospital.

Makers and models are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from client_app.synth.grey import GreyScale


@dataclass(frozen=True)
class Scanner:
    """A device and how it writes its files."""

    sop_class: UID
    modality: str
    manufacturer: str
    model: str
    kvp: float
    """Typical peak voltage in kV."""
    exposure: float
    """Typical exposure in mAs."""
    field_of_view: float
    """Width of the image in mm."""
    grey: GreyScale
    syntaxes: tuple[UID, ...]
    """Transfer syntaxes, taken in turn."""
    suffix: str = ""
    """Of the files' names."""
    charset: str = "ISO_IR 192"


_SITES = (
    Scanner(
        DigitalXRayImageStorageForPresentation, "DX", "Aster Imaging", "Aster DR 40",
        kvp=125, exposure=2.0, field_of_view=430,
        grey=GreyScale(12, 250, 3700),
        syntaxes=(ExplicitVRLittleEndian, RLELossless),
    ),
    Scanner(
        ComputedRadiographyImageStorage, "CR", "Borealis Medical", "Plate Reader 7",
        kvp=85, exposure=5.0, field_of_view=350,
        grey=GreyScale(
            12, 400, 3900, inverted=True, slope=0.5, intercept=-100.0, voi="LINEAR_EXACT"
        ),
        syntaxes=(ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
        suffix=".dcm", charset="ISO_IR 100",
    ),
    Scanner(
        DigitalXRayImageStorageForPresentation, "DX", "Cirrus Radiology", "Stratus 9000",
        kvp=110, exposure=1.2, field_of_view=410,
        grey=GreyScale(16, 3000, 61000, second=True),
        syntaxes=(JPEG2000Lossless, ExplicitVRLittleEndian),
    ),
    Scanner(
        SecondaryCaptureImageStorage, "OT", "Dorado Systems", "Film Digitiser",
        kvp=90, exposure=4.0, field_of_view=400,
        grey=GreyScale(8, 0, 255, voi=""),
        syntaxes=(RLELossless, ImplicitVRLittleEndian),
        suffix=".dcm",
    ),
    Scanner(
        DigitalXRayImageStorageForPresentation, "DX", "Aster Imaging", "Aster Mobile",
        kvp=90, exposure=3.0, field_of_view=350,
        grey=GreyScale(14, 900, 15500, inverted=True),
        syntaxes=(DeflatedExplicitVRLittleEndian, JPEG2000Lossless),
        charset="ISO_IR 100",
    ),
    Scanner(
        ComputedRadiographyImageStorage, "CR", "Borealis Medical", "Plate Reader 3",
        kvp=77, exposure=6.3, field_of_view=430,
        grey=GreyScale(16, -30000, 24000, signed=True, slope=0.25, intercept=8192.0),
        syntaxes=(ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless),
    ),
)  # fmt: skip

_MAMMOGRAPHY = tuple(
    Scanner(
        DigitalMammographyXRayImageStorageForPresentation, "MG", maker, model,
        kvp=29, exposure=exposure, field_of_view=240, grey=grey, syntaxes=syntaxes, suffix=".dcm",
    )
    for maker, model, exposure, grey, syntaxes in (
        ("Cirrus Radiology", "Nimbus M1", 80.0, GreyScale(12, 300, 3800),
         (JPEG2000Lossless, ExplicitVRLittleEndian)),
        ("Aster Imaging", "Aster Mammo", 65.0, GreyScale(14, 700, 16000, inverted=True),
         (RLELossless, JPEG2000Lossless)),
        ("Dorado Systems", "Dorado 3D", 95.0, GreyScale(16, 1000, 64000, inverted=True),
         (ImplicitVRLittleEndian, JPEG2000Lossless)),
    )
)  # fmt: skip


def scanner(site: int) -> Scanner:
    """Return the equipment of a site; six differ, then they come round again."""
    return _SITES[site % len(_SITES)]


def mammography_unit(number: int) -> Scanner:
    """Return a mammography unit; three differ, then they come round again."""
    return _MAMMOGRAPHY[number % len(_MAMMOGRAPHY)]


class Exposure(NamedTuple):
    """How one image was taken."""

    kvp: float
    """Peak voltage in kV."""
    exposure: int
    """In mAs."""
    milliseconds: int
    current: int
    """In mA."""
    view: str
    """View Position."""


def exposed(device: Scanner, view: str, rng: np.random.Generator) -> Exposure:
    """Draw how one image was taken: kVp N(typical, 3 %), mAs log-normal around typical (20 %)."""
    kvp = round(float(device.kvp * (1 + 0.03 * rng.standard_normal())), 1)
    exposure = max(1, round(float(device.exposure * np.exp(0.2 * rng.standard_normal()))))
    milliseconds = int(rng.integers(4, 40))
    return Exposure(kvp, exposure, milliseconds, round(exposure * 1000 / milliseconds), view)
