"""The header of a derived image: the source's, with what a derivation changes (PS3.3 C.7.6.1)."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DermoscopicPhotographyImageStorage,
    DigitalIntraOralXRayImageStorageForPresentation,
    DigitalIntraOralXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    VLEndoscopicImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
    VLSlideCoordinatesMicroscopicImageStorage,
)

from client_app.dicom.values import items, numbers, text
from client_app.mending.frame_types import mark
from fedmend import __version__

_NAMESPACE = uuid.UUID("b0a0a9a6-3c38-5f0f-9d5b-6f3a4bbf3f55")
_CLASS = "fedmend impute"
_NO_LONGER_TRUE = (
    "IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence",
    "InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID",
    "SmallestPixelValueInSeries", "LargestPixelValueInSeries", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "EncapsulatedPixelDataValueTotalLength",
    "DataSetTrailingPadding", "ConcatenationUID", "SOPInstanceUIDOfConcatenationSource",
    "InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber",
)  # fmt: skip
"""About the source's own bytes, or about a series and a concatenation that this is no part of."""
_MENDED = " (mended)"
_LONGEST_LO, _LONGEST_ST = 64, 1024
_SERIES_BEHIND = 9000
"""Added to a series' number, so that a viewer lists the mended series behind the acquired ones."""
_SOURCE = ("121322", "DCM", "Source image for image processing operation")
_PROCESSING = ("109102", "DCM", "Processing Equipment")
_OF_ONE_FRAME = frozenset({
    ComputedRadiographyImageStorage, CTImageStorage, DermoscopicPhotographyImageStorage,
    DigitalIntraOralXRayImageStorageForPresentation, DigitalIntraOralXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing, DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing, MRImageStorage, PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage, UltrasoundImageStorage, VLEndoscopicImageStorage,
    VLMicroscopicImageStorage, VLPhotographicImageStorage,
    VLSlideCoordinatesMicroscopicImageStorage,
})  # fmt: skip
"""SOP classes whose images have one frame; files of several exist, but no word for one of them."""
_LOSSY = {JPEGBaseline8Bit: "ISO_10918_1", JPEGExtended12Bit: "ISO_10918_1"}
"""Transfer syntaxes that nothing is stored in without loss, and the method each stands for."""


_WORDS = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
"""Bytes of a word, by VR."""


class Made(NamedTuple):
    """By what an image is mended: all that a derived file depends on, but for the source."""

    imputer: str
    """SHA-256 (hex) of the imputer."""
    how: str
    """Detector, scale and window, as they are given."""


def uid(*parts: str) -> UID:
    """Return a UID that depends on the parts alone (PS3.5 B.2; RFC 9562, version 5).

    >>> uid("a", "b") == uid("a", "b") != uid("a", "c")
    True
    """
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}")


def derive(dataset: Dataset, made: Made, digest: str, frames: list[int]) -> None:
    """Turn a source's header into that of the image derived from it, in place.

    Study, patient, geometry, grey scale, BurnedInAnnotation and private elements are kept.

    Args:
        dataset: of the source; its pixel data may be gone already.
        made: by what it is mended.
        digest: SHA-256 (hex) of the source file.
        frames: those that were mended, counted from 0.
    """
    _note_loss(dataset)
    _add_source(dataset, frames)
    parts = (made.imputer, made.how, ",".join(map(str, frames)))
    series = text(dataset, "SeriesInstanceUID") or text(dataset, "StudyInstanceUID") or digest
    dataset.SeriesInstanceUID = uid("series", series, made.imputer, made.how)
    dataset.SOPInstanceUID = uid("instance", text(dataset, "SOPInstanceUID"), digest, *parts)
    _rename_series(dataset)
    mark(dataset, frames, _count(dataset))
    description = f"Noise removed by fedmend {__version__}, imputer {made.imputer[:16]}, {made.how}"
    dataset.DerivationDescription = description[:_LONGEST_ST]
    _add_equipment(dataset)
    for keyword in _NO_LONGER_TRUE:
        if keyword in dataset:
            del dataset[keyword]
    _set_meta(dataset)


def _add_source(dataset: Dataset, frames: list[int]) -> None:
    """Name the source, before what it was itself derived from."""
    instance, sop_class = text(dataset, "SOPInstanceUID"), text(dataset, "SOPClassUID")
    if not instance or not sop_class:
        return
    source = _reference(sop_class, instance)
    if len(frames) < _count(dataset) and UID(sop_class) not in _OF_ONE_FRAME:
        source.ReferencedFrameNumber = [frame + 1 for frame in frames]
    source.PurposeOfReferenceCodeSequence = _code(_SOURCE)
    dataset.SourceImageSequence = Sequence([source, *items(dataset, "SourceImageSequence")])
    if series := text(dataset, "SeriesInstanceUID"):
        _add_instance(dataset, series, _reference(sop_class, instance))


def _add_instance(dataset: Dataset, series: str, instance: Dataset) -> None:
    """List an instance of the same study among those referred to (PS3.3 C.12.2)."""
    listed = items(dataset, "ReferencedSeriesSequence")
    own = next((each for each in listed if text(each, "SeriesInstanceUID") == series), None)
    if own is None:
        own = Dataset()
        own.SeriesInstanceUID = series
        listed = [*listed, own]
    known = items(own, "ReferencedInstanceSequence")
    own.ReferencedInstanceSequence = Sequence([*known, instance])
    dataset.ReferencedSeriesSequence = Sequence(listed)


def _reference(sop_class: str, instance: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, instance
    return reference


def _count(dataset: Dataset) -> int:
    return int(max(1.0, *numbers(dataset, "NumberOfFrames"), 0.0))


def _add_equipment(dataset: Dataset) -> None:
    """Say which program did it, behind what contributed before (PS3.3 C.12.1.1.5)."""
    program = Dataset()
    program.Manufacturer, program.ManufacturerModelName = "fedmend", "fedmend impute"
    program.SoftwareVersions = __version__
    program.PurposeOfReferenceCodeSequence = _code(_PROCESSING)
    earlier = items(dataset, "ContributingEquipmentSequence")
    dataset.ContributingEquipmentSequence = Sequence([*earlier, program])


def _code(value: tuple[str, str, str]) -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value
    return Sequence([code])


def _rename_series(dataset: Dataset) -> None:
    name = text(dataset, "SeriesDescription")[: _LONGEST_LO - len(_MENDED)]
    dataset.SeriesDescription = f"{name}{_MENDED}".strip()
    number = numbers(dataset, "SeriesNumber")
    if len(number) == 1 and abs(number[0]) < 2**30:
        dataset.SeriesNumber = int(number[0]) + _SERIES_BEHIND


def _note_loss(dataset: Dataset) -> None:
    """Say that the source was compressed with loss, where only its transfer syntax said so.

    What was lost does not come back with the file being written uncompressed.
    """
    method = _LOSSY.get(UID(text(dataset.file_meta, "TransferSyntaxUID")))
    if method is None or text(dataset, "LossyImageCompression") == "01":
        return
    whole = [numbers(dataset, name) for name in ("Rows", "Columns", "SamplesPerPixel")]
    bits = numbers(dataset, "BitsStored")[0] * max(1.0, *numbers(dataset, "NumberOfFrames"), 0.0)
    for value in whole:
        bits *= value[0]
    ratio = bits / 8 / len(dataset.PixelData)
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = f"{ratio:.2f}"
    dataset.LossyImageCompressionMethod = method


def _set_meta(dataset: Dataset) -> None:
    """Give the file the meta information of its new writer and syntax (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID")
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid(_CLASS)
    meta.ImplementationVersionName = f"FEDMEND_{__version__}"[:16]
    dataset.file_meta = meta


def swapped(dataset: Dataset) -> None:
    """Turn the words of a big endian data set, in place: pydicom leaves them as they were.

    Numbers with a VR of their own are turned by pydicom.
    """
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                swapped(item)
        elif element.VR in _WORDS and isinstance(element.value, bytes):
            size = _WORDS[element.VR]
            element.value = b"".join(
                element.value[at : at + size][::-1] for at in range(0, len(element.value), size)
            )
