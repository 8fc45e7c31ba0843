"""One file's bytes to a data set, by content and not by name."""

from __future__ import annotations

import contextlib
import io
import zlib
from typing import Literal

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import data_element_generator, read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from client_app.dicom.bounded import Bounded, Ending, check_sequences
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
from client_app.dicom.values import text

__all__ = ["Untrusted", "check_syntax", "looks_like_dicom", "read", "why_no_pixels"]

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
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_PARSED_LATE = frozenset(
    Tag(keyword)
    for keyword in (
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "ModalityLUTSequence",
        "VOILUTSequence",
    )
)
"""Sequences that are looked into to show a picture."""
_LIKE_CUT = (EMPTY, NOT_IMAGE, NO_PIXELS)
"""What is left of a file whose end is missing looks like that."""
_PICTURES = frozenset({"EnhancedUSVolumeStorage", "ParametricMapStorage", "SegmentationStorage"})
"""Storage classes of images that are not called so."""


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
        Untrusted: it is not DICOM, cut off, empty, without pixels, of an unknown syntax, or its
            header is over the limits.
    """
    if not looks_like_dicom(data[:HEAD]):
        raise Untrusted(NOT_DICOM)
    source = Bounded(data, _PIXEL_TAGS)
    with quiet():
        try:
            return _parsed(source, data)
        except Exception as error:  # noqa: BLE001 (pydicom raises nearly anything over garbage)
            raise _refusal(error, source, data) from None


def _parsed(source: Bounded, data: bytes) -> Dataset:
    """Return the data set of a source.

    Raises:
        Exception: of any kind, over garbage.
    """
    inflated = _inflated(data)
    if inflated is None:
        dataset = read_partial(source, source.goes_on, force=True)
    else:
        _check_elements(inflated)
        dataset = read_partial(io.BytesIO(data), force=True)
    _check_whole(dataset, data)
    _check_pixels(dataset)
    check_syntax(dataset)
    check_sequences(dataset, _PARSED_LATE)
    return dataset


def _refusal(error: Exception, source: Bounded, data: bytes) -> Untrusted:
    """Return why a source that could not be parsed is refused."""
    if source.over:
        return Untrusted(TOO_LARGE, local=source.over)
    known = error if isinstance(error, Untrusted) else None
    if (known is None or known.reason in _LIKE_CUT) and _is_cut(data):
        return Untrusted(TRUNCATED, local="the bytes end within an element")
    if known is not None:
        return known
    if isinstance(error, EOFError | OSError | zlib.error):
        return Untrusted(TRUNCATED, local=str(error))
    if isinstance(error, MemoryError):
        return Untrusted(TOO_LARGE, local="no memory to parse it")
    return Untrusted(INCONSISTENT, local=f"{type(error).__name__}: {error}")


def _is_cut(data: bytes) -> bool:
    """Say whether a file ends within the beginning of an element; pydicom overlooks it."""
    ending = Ending(data)
    with contextlib.suppress(Exception):  # it was refused anyhow
        read_partial(ending, force=True)
    return ending.cut


def _inflated(data: bytes) -> bytes | None:
    """Return what a deflated data set inflates to; None: it is not deflated.

    pydicom inflates all of it at once, so it is inflated here first, by pieces.

    Raises:
        Untrusted: it would inflate beyond the limit.
        zlib.error: it is broken.
    """
    syntax, end = _meta(data)
    if syntax != DeflatedExplicitVRLittleEndian:
        return None
    inflater, made, rest = zlib.decompressobj(-zlib.MAX_WBITS), bytearray(), data[end:]
    while rest and not inflater.eof:
        made += inflater.decompress(rest, 2**20)
        rest = inflater.unconsumed_tail
        if len(made) > MAX_INFLATED:
            raise Untrusted(TOO_LARGE, local=f"inflates to over {MAX_INFLATED} bytes")
    return bytes(made)


def _check_elements(inflated: bytes) -> None:
    """Refuse an inflated data set with too many elements: pydicom reads it out of sight.

    Raises:
        Untrusted: the reason.
    """
    source = Bounded(inflated, _PIXEL_TAGS)
    elements = data_element_generator(source, False, True, source.goes_on)
    with contextlib.suppress(Exception):  # the same will come of it when it is parsed
        for _ in elements:
            pass
    if source.over:
        raise Untrusted(TOO_LARGE, local=source.over)


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
        return TRUNCATED if start > len(data) or _meta_claimed(data) > len(data) else EMPTY
    if syntax == DeflatedExplicitVRLittleEndian:
        return TRUNCATED
    implicit, little = dataset.original_encoding
    elements = data_element_generator(io.BytesIO(data[start:]), bool(implicit), bool(little))
    try:
        return TRAILING if any(each.tag in _PIXEL_TAGS for each in elements) else TRUNCATED
    except Exception:  # noqa: BLE001 (pydicom raises nearly anything over garbage)
        return TRUNCATED


def _meta_claimed(data: bytes) -> int:
    """Return where the file meta information says that it ends; 0: it does not say."""
    at = _PREAMBLE + 4 if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM" else 0
    end = at + len(_GROUP_LENGTH) + 4
    if not data.startswith(_GROUP_LENGTH, at) or end > len(data):
        return 0
    return end + int.from_bytes(data[end - 4 : end], "little")


def why_no_pixels(dataset: Dataset) -> str:
    """Return the reason for a data set without pixel data: an image has lost them, or it is none.

    Args:
        dataset: with its file meta information.
    """
    kind = text(dataset, "SOPClassUID") or text(dataset.file_meta, "MediaStorageSOPClassUID")
    name = UID(kind).keyword
    meant = "Rows" in dataset or "ImageStorage" in name or name in _PICTURES
    return NO_PIXELS if meant else NOT_IMAGE


def _check_pixels(dataset: FileDataset) -> None:
    """Refuse a data set that is no image, or one whose pixels are missing or come twice."""
    there = dataset.keys()
    present = [tag for tag in _PIXEL_TAGS if tag in there]
    if not present:
        raise Untrusted(why_no_pixels(dataset))
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
