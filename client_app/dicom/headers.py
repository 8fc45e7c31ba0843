"""What is known of a DICOM file without decoding it: who, what, how acquired, and two hashes."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from typing import BinaryIO, Literal, NamedTuple

import pydicom
from pydicom import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client_app.dicom import files
from client_app.dicom.layout import Layout, layout
from client_app.dicom.quiet import quiet
from client_app.dicom.untrusted import EMPTY, INCONSISTENT, NOT_DICOM, SHORT, TRUNCATED, Untrusted
from client_app.dicom.upright import turn
from client_app.dicom.values import items, number, numbers, text

_PREFIX = 256 * 1024
"""Bytes that nearly every header fits into: they are parsed while the rest is only hashed."""
_AT_ONCE = 1024 * 1024
_UNDEFINED = 0xFFFFFFFF
_DEFLATED = str(DeflatedExplicitVRLittleEndian).encode()
_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData",
             0x7FE00010: "PixelData"}  # fmt: skip

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
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
"""Facts in mm that come as a pair: ``PixelSpacingRow`` is the distance between two rows."""

_IMAGE = (
    "SamplesPerPixel", "BitsAllocated", "HighBit", "PixelRepresentation", "PlanarConfiguration",
    "NumberOfFrames", "SharedFunctionalGroupsSequence", "PatientID",
    "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
)  # fmt: skip
_TAGS = {keyword: Tag(keyword) for keyword in (*TEXTS, *NUMBERS, *SPACINGS, *_IMAGE)}
_READ: list[BaseTag | int] = list(_TAGS.values())


class Header(NamedTuple):
    """What is known of a file without decoding it."""

    digest: str
    """SHA-256 (hex) of the whole file."""
    pixels: str
    """SHA-256 (hex) of the stored pixel data and of what says how to read it."""
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


class _Place(NamedTuple):
    """Where a file's pixel data are."""

    keyword: str
    start: int
    length: int
    """In bytes; ``_UNDEFINED`` where they are encapsulated: to the end of the file."""


def read(file: BinaryIO) -> Header:
    """Read one file's header, and hash the file, in one pass over its bytes.

    Args:
        file: at its beginning; buffered, and seekable.

    Raises:
        Untrusted: it is not a DICOM image, or its header and length contradict one another.
        OSError: the disk fails.
    """
    head = file.read(_PREFIX)
    if not head:
        raise Untrusted(EMPTY, local="the file has no bytes")
    if not files.looks_like_dicom(head[:256]):
        raise Untrusted(NOT_DICOM)
    try:
        return _quickly(file, head)
    except Untrusted:
        # Headers that lie about their encoding or are out of order mislead the quick way: what
        # is refused is refused by the same reader that the pixels would be read by.
        file.seek(0)
        return _slowly(file.read())


def _quickly(file: BinaryIO, head: bytes) -> Header:
    """Read a file by what comes before its pixel data; as a whole where that is not enough."""
    parsed = _parsed(head)
    if parsed is None:
        return _slowly(head + file.read())
    dataset, place = parsed
    with quiet():
        claimed = layout(dataset)
    size = file.seek(0, io.SEEK_END)
    _check_length(claimed, place, size - place.start)
    return _header(dataset, claimed, *_hashed(file, claimed, place))


def _parsed(head: bytes) -> tuple[Dataset, _Place] | None:
    """Parse what comes before the pixel data; None where it takes more than ``head`` to tell.

    pydicom inflates a deflated data set whole, whatever it was asked for: such a file, and all
    that is odd, is left to :func:`client_app.dicom.files.read` and its limits.
    """
    if _DEFLATED in head:
        return None
    stream = io.BytesIO(head)
    with quiet():
        try:
            dataset = pydicom.dcmread(
                stream, stop_before_pixels=True, force=True, specific_tags=_READ
            )
            place = _place(head, stream.tell(), *dataset.original_encoding)
            if place is None:
                return None
            # The pixels themselves are not needed to check what is said about them.
            dataset.add_new(place.keyword, "OW", b"")
            dataset[place.keyword].is_undefined_length = place.length == _UNDEFINED
            files.check_syntax(dataset)
        except Exception:  # noqa: BLE001 (pydicom raises nearly anything over garbage)
            return None
    return dataset, place


def _place(head: bytes, at: int, implicit: bool | None, little: bool | None) -> _Place | None:
    """Read the tag and length of the element at ``at``; None where it holds no pixels."""
    order: Literal["little", "big"] = "little" if little else "big"
    group, element = (int.from_bytes(head[at + k : at + k + 2], order) for k in (0, 2))
    keyword = _KEYWORDS.get(group << 16 | element)
    start = at + (8 if implicit else 12)
    if keyword is None or start > len(head):
        return None
    return _Place(keyword, start, int.from_bytes(head[start - 4 : start], order))


def _check_length(claimed: Layout, place: _Place, there: int) -> None:
    """Refuse pixel data that end too early, so that a whole copy of them can be used instead."""
    if place.length == _UNDEFINED:
        if there < 8 * claimed.frames:  # each frame is at least an item of its own
            raise Untrusted(SHORT, local=f"{claimed.frames} frames in {there} bytes")
        return
    if place.length > there:
        raise Untrusted(TRUNCATED, local=f"{there} of {place.length} bytes of pixel data")
    if place.length < claimed.native_bytes:
        missing = claimed.native_bytes - place.length
        raise Untrusted(SHORT, local=f"{missing} of {claimed.native_bytes} bytes are missing")


def _hashed(file: BinaryIO, claimed: Layout, place: _Place) -> tuple[str, str]:
    """Return the hash of the file and that of its pixels, in bounded memory."""
    whole, pixels = hashlib.sha256(), hashlib.sha256(_described(claimed))
    end = sys.maxsize if place.length == _UNDEFINED else place.start + place.length
    at = file.seek(0)
    while chunk := file.read(_AT_ONCE):
        whole.update(chunk)
        first, last = max(place.start - at, 0), min(end - at, len(chunk))
        if first < last:
            pixels.update(memoryview(chunk)[first:last])
        at += len(chunk)
    return whole.hexdigest(), pixels.hexdigest()


def _described(claimed: Layout) -> bytes:
    """Say how stored pixels are to be read; the same where only their container differs."""
    native = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    syntax = "native" if claimed.syntax in native else str(claimed.syntax)
    return repr(claimed._asdict() | {"syntax": syntax}).encode()


def _slowly(data: bytes) -> Header:
    """Read a file as a whole: deflated, with a very long header, or broken in some way.

    Raises:
        Untrusted: the reason why it cannot be used.
    """
    dataset = files.read(data)
    with quiet():
        claimed = layout(dataset)
    pixels = dataset[claimed.keyword].value
    if not isinstance(pixels, bytes):
        raise Untrusted(INCONSISTENT, local=f"{claimed.keyword} is no sequence of bytes")
    encapsulated = bool(dataset[claimed.keyword].is_undefined_length)
    length = _UNDEFINED if encapsulated else len(pixels)
    _check_length(claimed, _Place(claimed.keyword, 0, length), len(pixels))
    digest = hashlib.sha256(_described(claimed) + pixels).hexdigest()
    return _header(dataset, claimed, hashlib.sha256(data).hexdigest(), digest)


def _header(dataset: Dataset, claimed: Layout, digest: str, pixels: str) -> Header:
    with quiet():
        return Header(
            digest=digest,
            pixels=pixels,
            patient=text(dataset, "PatientID"),
            study=text(dataset, "StudyInstanceUID"),
            series=text(dataset, "SeriesInstanceUID"),
            instance=text(dataset, "SOPInstanceUID"),
            frames=claimed.frames,
            facts=_facts(dataset, claimed),
        )


def _facts(dataset: Dataset, claimed: Layout) -> dict[str, str | float]:
    """Return acquisition facts; texts are shared between files, which mostly say the same."""
    facts: dict[str, str | float] = {}
    there = dataset.keys()
    for keyword in TEXTS:
        if _TAGS[keyword] in there and (found := text(dataset, keyword)):
            facts[keyword] = sys.intern(found)
    for keyword in NUMBERS:
        if _TAGS[keyword] in there and (value := number(dataset, keyword)) is not None:
            facts[keyword] = value
    measures = _measures(dataset)
    if "SliceThickness" not in facts and (thick := number(measures, "SliceThickness")) is not None:
        facts["SliceThickness"] = thick
    for keyword in SPACINGS:
        pair = numbers(dataset, keyword) or numbers(measures, keyword)
        if len(pair) == 2:
            facts[f"{keyword}Row"], facts[f"{keyword}Column"] = pair
    if name := turn(dataset).name:
        facts["turned"] = name
    facts["NumberOfFrames"] = float(claimed.frames)
    facts["TransferSyntaxUID"] = sys.intern(str(claimed.syntax))
    return facts


def _measures(dataset: Dataset) -> Dataset:
    """Return where enhanced multi-frame files keep their spacing (PS3.3 C.7.6.16.2.1)."""
    for group in items(dataset, "SharedFunctionalGroupsSequence"):
        for measures in items(group, "PixelMeasuresSequence"):
            return measures
    return Dataset()
