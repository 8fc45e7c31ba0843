"""What PS3.3 (2025) asks of the IODs that are written: by module, its attributes of type 1 and
type 2, and of its others those that may be there.

The public validator dicom-validator 0.9.0 reads the standard from the network, which tests do
without; these are its rules for type and presence, as tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)


class Module(NamedTuple):
    valued: str
    """Type 1: there, with a value."""
    there: str
    """Type 2: there, with a value or empty."""
    others: str = ""
    """Of types 1C, 2C and 3."""


MODULES = {
    "Patient": Module(
        "",
        "PatientBirthDate PatientID PatientName PatientSex",
        "DeidentificationMethod OtherPatientNames PatientComments PatientIdentityRemoved",
    ),
    "General Study": Module(
        "StudyInstanceUID",
        "AccessionNumber ReferringPhysicianName StudyDate StudyID StudyTime",
        "NameOfPhysiciansReadingStudy PhysiciansOfRecord RequestingService StudyDescription",
    ),
    "Patient Study": Module("", "", "AdditionalPatientHistory AdmissionID Occupation PatientAge"),
    "General Series": Module(
        "Modality SeriesInstanceUID",
        "SeriesNumber",
        "BodyPartExamined CommentsOnThePerformedProcedureStep OperatorsName "
        "PerformedProcedureStepDescription PerformingPhysicianName ProtocolName "
        "RequestAttributesSequence SeriesDate SeriesDescription SeriesTime",
    ),
    "CR Series": Module("", "BodyPartExamined ViewPosition"),
    "General Equipment": Module(
        "",
        "Manufacturer",
        "DeviceSerialNumber InstitutionAddress InstitutionName InstitutionalDepartmentName "
        "ManufacturerModelName StationName",
    ),
    "General Image": Module(
        "",
        "InstanceNumber",
        "BurnedInAnnotation ImageComments ImageType PatientOrientation",
    ),
    "Image Pixel": Module(
        "BitsAllocated BitsStored Columns HighBit PhotometricInterpretation PixelRepresentation "
        "Rows SamplesPerPixel PixelData",
        "",
    ),
    "CR Image": Module(
        "PhotometricInterpretation",
        "",
        "Exposure ExposureTime ImagerPixelSpacing KVP PlateID XRayTubeCurrent",
    ),
    "Modality LUT": Module("", "", "RescaleIntercept RescaleSlope RescaleType"),
    "VOI LUT": Module(
        "", "", "VOILUTFunction WindowCenter WindowCenterWidthExplanation WindowWidth"
    ),
    "SOP Common": Module("SOPClassUID SOPInstanceUID", "", "SpecificCharacterSet SyntheticData"),
    "SC Equipment": Module(
        "ConversionType",
        "",
        "SecondaryCaptureDeviceManufacturer SecondaryCaptureDeviceManufacturerModelName",
    ),
    "SC Image": Module("", "", "DateOfSecondaryCapture NominalScannedPixelSpacing"),
    "DX Series": Module("Modality PresentationIntentType", ""),
    "DX Anatomy Imaged": Module("ImageLaterality", "AnatomicRegionSequence"),
    "DX Image": Module(
        "BitsAllocated BitsStored BurnedInAnnotation HighBit ImageType LossyImageCompression "
        "PhotometricInterpretation PixelIntensityRelationship PixelIntensityRelationshipSign "
        "PixelRepresentation PresentationLUTShape RescaleIntercept RescaleSlope RescaleType "
        "SamplesPerPixel PatientOrientation WindowCenter WindowWidth",  # 1C that always hold here
        "",
    ),
    "DX Detector": Module("ImagerPixelSpacing", "DetectorType", "DetectorID"),
    "DX Positioning": Module("", "PositionerType", "ViewCodeSequence ViewPosition"),
    "X-Ray Acquisition Dose": Module("", "", "Exposure ExposureTime KVP XRayTubeCurrent"),
    "Acquisition Context": Module("", "AcquisitionContextSequence"),
    "Mammography Series": Module("Modality", ""),
    "Mammography Image": Module(
        "AnatomicRegionSequence ImageLaterality ImageType OrganExposed PositionerType "
        "ViewCodeSequence",
        "",
        "BreastImplantPresent",
    ),
}

_ALL = (
    "Patient", "Patient Study", "General Study", "General Series", "General Equipment",
    "General Image", "Image Pixel", "VOI LUT", "SOP Common",
)  # fmt: skip
_DX = (
    *_ALL, "DX Series", "DX Anatomy Imaged", "DX Image", "DX Detector", "DX Positioning",
    "X-Ray Acquisition Dose", "Acquisition Context",
)  # fmt: skip
IODS = {
    ComputedRadiographyImageStorage: (*_ALL, "CR Series", "CR Image", "Modality LUT"),
    SecondaryCaptureImageStorage: (*_ALL, "SC Equipment", "SC Image"),
    DigitalXRayImageStorageForPresentation: _DX,
    DigitalMammographyXRayImageStorageForPresentation: (
        *_DX, "Mammography Series", "Mammography Image",
    ),
}  # fmt: skip

CODE = Module("CodeValue CodingSchemeDesignator CodeMeaning", "")
ITEMS = {
    "AnatomicRegionSequence": CODE,
    "ViewCodeSequence": Module(CODE.valued, "ViewModifierCodeSequence"),
    "RequestAttributesSequence": Module(
        "RequestedProcedureID ScheduledProcedureStepID", "", "RequestedProcedureDescription"
    ),
}

VALUES: Mapping[str, Collection[object]] = {
    "BurnedInAnnotation": {"YES", "NO"},
    "SyntheticData": {"YES", "NO"},
    "PatientSex": {"M", "F", "O", ""},
    "PatientIdentityRemoved": {"YES", "NO"},
    "BreastImplantPresent": {"YES", "NO"},
    "PhotometricInterpretation": {"MONOCHROME1", "MONOCHROME2"},
    "PresentationIntentType": {"FOR PRESENTATION", "FOR PROCESSING"},
    "LossyImageCompression": {"00", "01"},
    "PixelIntensityRelationship": {"LIN", "LOG"},
    "PixelIntensityRelationshipSign": {1, -1},
    "PresentationLUTShape": {"IDENTITY", "INVERSE"},
    "ImageLaterality": {"R", "L", "U", "B"},
    "ConversionType": {"DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"},
    "VOILUTFunction": {"LINEAR", "LINEAR_EXACT", "SIGMOID"},
    "SamplesPerPixel": {1},
    "PixelRepresentation": {0, 1},
}
"""Enumerated values and defined terms, wherever the attribute is there."""

DX_VALUES: Mapping[str, Collection[object]] = {
    "RescaleIntercept": {0},
    "RescaleSlope": {1},
    "RescaleType": {"US"},
    "PixelRepresentation": {0},
    "Modality": {"DX", "MG"},
}
"""What the DX modules narrow further."""


def faults(image: Dataset) -> list[str]:
    """Return what is wrong with an image object, in words."""
    modules = [MODULES[name] for name in IODS[image.SOPClassUID]]
    found = _missing(image, modules) + _strays(image, modules)
    for keyword, rule in ITEMS.items():
        for item in image.get(keyword) or ():
            found += _missing(item, [rule]) + _strays(item, [rule])
    narrow = DX_VALUES if "PresentationIntentType" in image else {}
    for keyword, allowed in [*VALUES.items(), *narrow.items()]:
        if keyword in image and image[keyword].value not in allowed:
            found.append(f"{keyword} is {image[keyword].value!r}")
    return found + _inconsistent(image)


def _missing(data: Dataset, modules: list[Module]) -> list[str]:
    valued = {name for module in modules for name in module.valued.split()}
    there = {name for module in modules for name in module.there.split()}
    return [f"{name} lacks" for name in valued | there if name not in data] + [
        f"{name} is empty" for name in valued if name in data and data[name].is_empty
    ]


def _strays(data: Dataset, modules: list[Module]) -> list[str]:
    known = {name for module in modules for names in module for name in names.split()}
    return [f"{each.keyword} is in no module" for each in data
            if not each.tag.is_private and each.keyword not in known]  # fmt: skip


def _inconsistent(image: Dataset) -> list[str]:
    """Return breaches of the conditions that tie attributes together."""
    meta, inverted = image.file_meta, image.PhotometricInterpretation == "MONOCHROME1"
    rules = {
        "high bit": image.HighBit == image.BitsStored - 1,
        "bits": 6 <= image.BitsStored <= image.BitsAllocated in (8, 16),
        "shape of the presentation LUT": image.get("PresentationLUTShape")
        in (None, "INVERSE" if inverted else "IDENTITY"),
        "window": ("WindowCenter" in image) == ("WindowWidth" in image),
        "rescale": len({name in image for name in MODULES["Modality LUT"].others.split()}) == 1,
        "class in the meta information": meta.MediaStorageSOPClassUID == image.SOPClassUID,
        "instance in the meta information": meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID,
    }
    return [f"{name} is wrong" for name, holds in rules.items() if not holds]
