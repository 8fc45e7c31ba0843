"""The modules of PS3.3 Annex C, filled: each function returns one module's elements by keyword."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from client_app.synth.acquisition import Exposure, Scanner
from client_app.synth.grey import GreyScale, Stored
from client_app.synth.markers import BIRTH_DATE, MARKER, PATIENT_AGE, STUDY_DATE, STUDY_TIME
from client_app.synth.patients import Patient

Elements = dict[str, Any]
Code = tuple[str, str, str]
"""Code value, coding scheme designator, code meaning."""

CHEST: Code = ("51185008", "SCT", "Chest")
BREAST: Code = ("76752008", "SCT", "Breast")
MAMMOGRAPHIC_VIEWS: Mapping[str, Code] = {
    "CC": ("399162004", "SCT", "cranio-caudal"),
    "MLO": ("399368009", "SCT", "medio-lateral oblique"),
}


def item(elements: Mapping[str, Any]) -> Dataset:
    """Return a data set of these elements."""
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def code(value: Code, **further: Sequence[Dataset]) -> Items:
    """Return a code sequence of one item (Table 8.8-1), with further sequences in that item."""
    names = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    return Items([item(dict(zip(names, value, strict=True)) | further)])


def marked(what: str) -> str:
    """Return a text that says what it stands in for.

    >>> marked("comment")
    'MARKER comment'
    """
    return f"{MARKER} {what}"


def patient(who: Patient) -> Elements:
    """Patient (C.7.1.1) and Patient Study (C.7.2.2), with markers."""
    return {
        "PatientName": who.name,
        "PatientID": who.identifier,
        "PatientBirthDate": BIRTH_DATE,
        "PatientSex": who.sex,
        "OtherPatientNames": f"{MARKER}^Maiden",
        "PatientComments": f"{MARKER} comments on {who.identifier}",
        "PatientAge": PATIENT_AGE,
        "Occupation": f"{MARKER} trade",
        "AdditionalPatientHistory": f"{MARKER} history",
        "AdmissionID": f"{MARKER} admission",
    }


def study(uid: str, number: int) -> Elements:
    """General Study (C.7.2.1), with markers."""
    return {
        "StudyInstanceUID": uid,
        "StudyDate": STUDY_DATE,
        "StudyTime": STUDY_TIME,
        "AccessionNumber": f"{MARKER}-A{number}",
        "StudyID": f"{MARKER}-S{number}",
        "ReferringPhysicianName": f"{MARKER}^Referring",
        "PhysiciansOfRecord": f"{MARKER}^Record",
        "NameOfPhysiciansReadingStudy": f"{MARKER}^Reading",
        "RequestingService": f"{MARKER} ward",
        "StudyDescription": f"{MARKER} chest",
    }


def deidentified(identifier: int, age: int) -> Elements:
    """Patient and Patient Study of a published, de-identified image (PS3.15 Annex E)."""
    return {
        "PatientName": "",
        "PatientID": str(identifier),
        "PatientBirthDate": "",
        "PatientSex": "F",
        "PatientAge": f"{age:03d}Y",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "synthetic from the start",
    }


def undated_study(uid: str) -> Elements:
    """General Study of a de-identified image: nothing but its UID."""
    emptied = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")
    return {"StudyInstanceUID": uid, **dict.fromkeys(emptied, "")}


def series(uid: str, modality: str) -> Elements:
    """General Series (C.7.3.1), with markers."""
    request = {
        "RequestedProcedureDescription": f"{MARKER} procedure",
        "RequestedProcedureID": f"{MARKER}-R",
        "ScheduledProcedureStepID": f"{MARKER}-P",
    }
    return {
        "Modality": modality,
        "SeriesInstanceUID": uid,
        "SeriesNumber": 1,
        "SeriesDate": STUDY_DATE,
        "SeriesTime": STUDY_TIME,
        "SeriesDescription": f"{MARKER} series",
        "PerformingPhysicianName": f"{MARKER}^Performing",
        "OperatorsName": f"{MARKER}^Operator",
        "ProtocolName": f"{MARKER} protocol",
        "PerformedProcedureStepDescription": f"{MARKER} step",
        "CommentsOnThePerformedProcedureStep": f"{MARKER} comments",
        "RequestAttributesSequence": Items([item(request)]),
    }


def equipment(device: Scanner) -> Elements:
    """General Equipment (C.7.5.1), as far as it identifies nobody."""
    return {"Manufacturer": device.manufacturer, "ManufacturerModelName": device.model}


def institution(site: int) -> Elements:
    """General Equipment (C.7.5.1): the part that identifies the hospital, with markers."""
    return {
        "InstitutionName": f"{MARKER} Hospital {site}",
        "InstitutionAddress": f"{MARKER} Street {site}",
        "InstitutionalDepartmentName": f"{MARKER} Radiology",
        "StationName": f"{MARKER}-{site}",
        "DeviceSerialNumber": f"{MARKER}-SN-{site}",
    }


def general_image(number: int) -> Elements:
    """General Image (C.7.6.1)."""
    return {"InstanceNumber": number, "PatientOrientation": ["L", "F"]}


def image_pixel(pixels: Stored, grey: GreyScale) -> Elements:
    """Image Pixel (C.7.6.3), without the pixel data."""
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": grey.photometric,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": grey.allocated,
        "BitsStored": grey.bits,
        "HighBit": grey.bits - 1,
        "PixelRepresentation": int(grey.signed),
    }


def luts(grey: GreyScale) -> Elements:
    """Modality LUT (C.11.1) and VOI LUT (C.11.2)."""
    rescale = {
        "RescaleIntercept": grey.intercept, "RescaleSlope": grey.slope, "RescaleType": "US",
    }  # fmt: skip
    return {**rescale, **voi(grey)}


def voi(grey: GreyScale) -> Elements:
    """VOI LUT (C.11.2): nothing where there is no window."""
    windows = grey.windows()
    if not windows:
        return {}
    found: Elements = {
        "WindowCenter": [centre for centre, _ in windows],
        "WindowWidth": [width for _, width in windows],
    }
    if grey.second:
        found["WindowCenterWidthExplanation"] = ["NORMAL", "HARDER"]
    return {**found, "VOILUTFunction": grey.voi}


def cr(device: Scanner, taken: Exposure, spacing: float) -> Elements:
    """CR Series (C.8.1.1) and CR Image (C.8.1.2)."""
    return {
        "BodyPartExamined": "CHEST",
        "ViewPosition": taken.view,
        "ImagerPixelSpacing": [spacing, spacing],
        "PlateID": f"{MARKER}-PLATE",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "BurnedInAnnotation": "NO",
        **luts(device.grey),
        **_dose(taken),
    }


def secondary_capture(device: Scanner, spacing: float) -> Elements:
    """SC Equipment (C.8.6.1) and SC Image (C.8.6.2): a digitised film."""
    return {
        "BodyPartExamined": "CHEST",  # or else a laterality would be asked for
        "ConversionType": "DF",
        "SecondaryCaptureDeviceManufacturer": device.manufacturer,
        "SecondaryCaptureDeviceManufacturerModelName": device.model,
        "DateOfSecondaryCapture": STUDY_DATE,
        "ImageType": ["DERIVED", "SECONDARY"],
        "BurnedInAnnotation": "YES",
        "NominalScannedPixelSpacing": [spacing, spacing],
        **voi(device.grey),
    }


def dx(device: Scanner, taken: Exposure, spacing: float, laterality: str = "U") -> Elements:
    """DX Series, Anatomy Imaged, Image, Detector, Positioning, and Dose (C.8.11.1 to 5, C.8.7.8).

    A chest; the modality LUT of these images is the identity by definition.
    """
    grey = device.grey
    return {
        "PresentationIntentType": "FOR PRESENTATION",
        "BodyPartExamined": "CHEST",
        "AnatomicRegionSequence": code(CHEST),
        "ImageLaterality": laterality,
        "ImageType": ["ORIGINAL", "PRIMARY", ""],
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if grey.inverted else -1,
        "PresentationLUTShape": "INVERSE" if grey.inverted else "IDENTITY",
        **luts(grey),
        "DetectorType": "SCINTILLATOR",
        "ImagerPixelSpacing": [spacing, spacing],
        "PositionerType": "NONE",
        "ViewPosition": taken.view,
        "AcquisitionContextSequence": Items([]),
        **_dose(taken),
    }


def mammography(
    device: Scanner, taken: Exposure, spacing: float, laterality: str, *, implant: bool
) -> Elements:
    """The DX modules for a breast, with Mammography Series and Image (C.8.11.6, C.8.11.7)."""
    modifier: Sequence[Dataset] = Items([])
    view = code(MAMMOGRAPHIC_VIEWS[taken.view], ViewModifierCodeSequence=modifier)
    return dx(device, taken, spacing, laterality) | {
        "BodyPartExamined": "BREAST",
        "AnatomicRegionSequence": code(BREAST),
        "PositionerType": "MAMMOGRAPHIC",
        "PatientOrientation": ["A", "L" if taken.view == "CC" else "F"],
        "OrganExposed": "BREAST",
        "ViewCodeSequence": view,
        "BreastImplantPresent": "YES" if implant else "NO",
    }


def _dose(taken: Exposure) -> Elements:
    return {
        "KVP": taken.kvp,
        "Exposure": taken.exposure,
        "ExposureTime": taken.milliseconds,
        "XRayTubeCurrent": taken.current,
    }
