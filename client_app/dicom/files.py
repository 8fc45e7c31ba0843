"""One file's bytes to a data set, by content and not by name."""

from __future__ import annotations

import io
import zlib
from typing import Literal

import pydicom
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import data_element_generator
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from client_app.dicom.limits import MAX_INFLATED
from client_app.dicom.quiet import quiet
from client_app.dicom.untrusted import (
    EMPTY,
    INCONSISTENT,
    NO_PIXELS,
    NOT_DICOM,
    NOT_IMAGE,
    TOO_LARGE,
    TRAILING,
    TRUNCATED,
    UNKNOWN_SYNTAX,
    Untrusted,
)

__all__ = ["Untrusted", "check_syntax", "looks_like_dicom", "read"]

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_TAGS = frozenset(Tag(keyword) for keyword in PIXELS)
HEAD = 256
"""Bytes that tell a DICOM file from another."""
_PREAMBLE = 128
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_FIRST_GROUPS = (2, 8)
"""File meta information, or (without it) the group that an image's first element is in."""
_LONGEST_FIRST = 1024
"""Bytes: the first element of a data set is a group length, a character set or a UID."""
_UNDEFINED = 0xFFFFFFFF
_SYNTAX = b"\x02\x00\x10\x00"


def looks_like_dicom(head: bytes) -> bool:
    """Say whether bytes begin like a DICOM file; cheap.

    A file with preamble shows ``DICM`` at byte 128; a data set without one begins with an
    element of group 0002 or 0008 with a known VR (explicit) or a small length (implicit).

    Args:
        head: at least the first 132 bytes.
    """
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return True
    return _begins_with_element(head, "little") or _begins_with_element(head, "big")


def _begins_with_element(head: bytes, order: Literal["little", "big"]) -> bool:
    if len(head) < 8 or int.from_bytes(head[:2], order) not in _FIRST_GROUPS:
        return False
    if head[4:6] in _SHORT_VRS | _LONG_VRS:
        return True
    implicit = order == "little" and int.from_bytes(head[2:4], order) <= 0x18
    return implicit and int.from_bytes(head[4:8], order) <= _LONGEST_FIRST


def read(data: bytes) -> Dataset:
    """Parse one file; its pixels are looked at by :mod:`client_app.dicom.stored`.

    A file without preamble is read if its beginning is plausible; one without file meta
    information is not, since it does not say how its pixels are stored. The data set returned has
    a pixel data element and a transfer syntax that can be decoded; its other elements are unchecked
    (:mod:`client_app.dicom.values` reads them safely).

    Args:
        data: the whole file.

    Raises:
        Untrusted: it is not DICOM, cut off, empty, without pixels, or of an unknown syntax.
    """
    if not looks_like_dicom(data[:HEAD]):
        raise Untrusted(NOT_DICOM)
    with quiet():
        try:
            _check_inflated(data)
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            _check_whole(dataset, data)
            _check_pixels(dataset)
            check_syntax(dataset)
        except Untrusted:
            raise
        except (EOFError, OSError, zlib.error) as error:
            raise Untrusted(TRUNCATED, local=str(error)) from None
        except MemoryError:
            raise Untrusted(TOO_LARGE, local="no memory to parse it") from None
        except Exception as error:  # noqa: BLE001 (pydicom raises nearly anything over garbage)
            raise Untrusted(INCONSISTENT, local=f"{type(error).__name__}: {error}") from None
    return dataset


def _check_inflated(data: bytes) -> None:
    """Refuse a deflated data set that would inflate beyond the limit.

    pydicom inflates all of it at once, so it is inflated here first, and thrown away, by pieces.
    """
    syntax, end = _meta(data)
    if syntax != DeflatedExplicitVRLittleEndian:
        return
    inflater, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[end:]
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, 2**20))
        rest = inflater.unconsumed_tail
        if size > MAX_INFLATED:
            raise Untrusted(TOO_LARGE, local=f"inflates to over {MAX_INFLATED} bytes")


def _meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax ("" if none) and where the file meta information ends."""
    at = _PREAMBLE + 4 if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM" else 0
    syntax = ""
    while data[at : at + 2] == b"\x02\x00":
        wide = data[at + 4 : at + 6] in _LONG_VRS
        start = at + (12 if wide else 8)
        size = int.from_bytes(data[at + 8 if wide else at + 6 : start], "little")
        if data[at : at + 4] == _SYNTAX:
            syntax = data[start : start + size].rstrip(b"\0 ").decode("ascii", "replace")
        at = start + size
    return syntax, at


def _check_whole(dataset: FileDataset, data: bytes) -> None:
    """Refuse a data set with an element that is longer than what is there of it."""
    if len(dataset) == 0:
        raise Untrusted(_why_empty(dataset, data))
    reason = TRUNCATED
    for raw in dataset.values():  # in the file's order, and unconverted
        if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes):
            continue
        if raw.length != _UNDEFINED and len(raw.value) < raw.length:
            raise Untrusted(reason, local=f"{raw.tag}: {len(raw.value)} of {raw.length} bytes")
        if raw.tag in _PIXEL_TAGS:
            # The picture is whole. Yet what follows may also be its own end, moved by added bytes.
            reason = TRAILING


def _why_empty(dataset: FileDataset, data: bytes) -> str:
    """Return the reason for a data set without elements.

    pydicom drops all that it has read when a file ends within a sequence or among fragments.
    """
    syntax, start = _meta(data)
    if start >= len(data):
        return EMPTY
    if syntax == DeflatedExplicitVRLittleEndian:
        return TRUNCATED
    implicit, little = dataset.original_encoding
    elements = data_element_generator(io.BytesIO(data[start:]), bool(implicit), bool(little))
    try:
        return TRAILING if any(each.tag in _PIXEL_TAGS for each in elements) else TRUNCATED
    except Exception:  # noqa: BLE001 (pydicom raises nearly anything over garbage)
        return TRUNCATED


def _check_pixels(dataset: FileDataset) -> None:
    """Refuse a data set that is no image, or one whose pixels are missing or come twice."""
    there = dataset.keys()
    present = [tag for tag in _PIXEL_TAGS if tag in there]
    if not present:
        raise Untrusted(NO_PIXELS if "Rows" in dataset else NOT_IMAGE)
    if len(present) > 1:
        raise Untrusted(INCONSISTENT, local="pixel data of two kinds")
    if not dataset[present[0]].value:
        raise Untrusted(NO_PIXELS, local=f"{dataset[present[0]].keyword} is empty")


def check_syntax(dataset: FileDataset) -> None:
    """Refuse pixels that nothing here decodes, or that are not stored as the syntax says.

    Args:
        dataset: with its pixel data element.

    Raises:
        Untrusted: the reason.
    """
    pixels = next(dataset[keyword] for keyword in PIXELS if keyword in dataset)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise Untrusted(UNKNOWN_SYNTAX, local="no transfer syntax is given")
    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        raise Untrusted(UNKNOWN_SYNTAX, local=str(syntax)) from None
    if not decoder.is_available:
        raise Untrusted(UNKNOWN_SYNTAX, local=f"{syntax}: its codec is not installed")
    if decoder.is_encapsulated != pixels.is_undefined_length:
        raise Untrusted(INCONSISTENT, local=f"{syntax}: pixels are not stored as it says")
