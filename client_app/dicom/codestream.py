"""What a compressed frame says of itself, before a codec is let near it.

The marker segments are those of ISO/IEC 10918-1 (JPEG, B.2.2), 14495-1 (JPEG-LS, C.2.2) and
15444-1 (JPEG 2000, A.5.1); RLE is PS3.5 Annex G.
"""

from __future__ import annotations

from typing import NamedTuple

from pydicom import Dataset
from pydicom.encaps import generate_fragments, get_frame, parse_basic_offsets
from pydicom.uid import RLELossless

from client_app.dicom.layout import Layout
from client_app.dicom.untrusted import INCONSISTENT, SHORT, TRUNCATED, UNDECODABLE, Untrusted


class Claim(NamedTuple):
    """What a compressed frame says it decodes to."""

    rows: int
    columns: int
    samples: int
    bits: int
    """Of one sample; the most of all components."""


_END = b"\xff\xd9"
_SOI = b"\xff\xd8"
_SOS = b"\xff\xda"
_SIZ = b"\xff\x4f\xff\x51"
_BEGINNINGS = (b"\xff\xd8\xff", _SIZ)
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""SOF0 to SOF15 and SOF55; without DHT, JPG and DAC, which share their range."""
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""


def checked_frame(dataset: Dataset, claimed: Layout, index: int) -> bytes:
    """Return a compressed frame, once its own header agrees with the file's.

    Raises:
        Untrusted: there is no such frame, it is cut off, or it claims another size.
    """
    try:
        frame = _frame(dataset, claimed, index)
    except ValueError as error:
        if isinstance(error, Untrusted):
            raise
        raise Untrusted(INCONSISTENT, local=f"{error}") from None
    if not frame:
        raise Untrusted(SHORT, local=f"frame {index} is empty")
    if claimed.syntax == RLELossless:
        _check_rle(frame, claimed)
        return frame
    said = claim(frame)
    if (said.rows, said.columns, said.samples) != (claimed.rows, claimed.columns, claimed.samples):
        raise Untrusted(INCONSISTENT, local=f"frame {index} is {said}, the header says otherwise")
    if said.bits > claimed.allocated:
        raise Untrusted(INCONSISTENT, local=f"{said.bits} bits do not fit {claimed.allocated}")
    if _END not in frame.rstrip(b"\0")[-_TAIL:]:
        raise Untrusted(TRUNCATED, local=f"frame {index} has no end marker")
    if frame[:2] == _SOI and (there := _scanned(frame)) < claimed.samples:
        raise Untrusted(TRUNCATED, local=f"frame {index} has scans of {there} components")
    return frame


_TAIL = 64
"""Bytes at the end of a frame, zeros apart, among which its end marker must be."""


def _scanned(frame: bytes) -> int:
    """Return how many components a JPEG's scans hold; a codec fills up those that have none.

    It may be too many, where another segment has the same bytes. Entropy-coded data never do.
    """
    there, at = 0, frame.find(_SOS)
    while 0 <= at < len(frame) - 4:
        there += frame[at + 4]
        at = frame.find(_SOS, at + 2)
    return there


def _frame(dataset: Dataset, claimed: Layout, index: int) -> bytes:
    """Join a frame's fragments.

    Raises:
        ValueError: the items, or the table that says where they begin, are broken.
    """
    data, extended = dataset.PixelData, _offsets(dataset)
    if extended is None:
        starts = parse_basic_offsets(data)
        if claimed.frames == 1:
            return _only_frame(data, len(starts))
        if starts and (len(starts) != claimed.frames or starts != sorted(set(starts))):
            raise ValueError(f"{len(starts)} offsets for {claimed.frames} frames, or out of order")
    return get_frame(data, index, number_of_frames=claimed.frames, extended_offsets=extended)


def _only_frame(data: bytes, starts: int) -> bytes:
    """Join all fragments: where the only frame begins needs no table, and some are wrong."""
    fragments = list(generate_fragments(data))[1:]
    begun = sum(fragment.startswith(_BEGINNINGS) for fragment in fragments)
    if starts > 1 or begun > 1:
        raise ValueError(f"{max(starts, begun)} frames, and the header says one")
    return b"".join(fragments)


def _offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    table, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return (table, lengths) if table and lengths else None


def claim(frame: bytes) -> Claim:
    """Return what a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream says it decodes to.

    Raises:
        Untrusted: it has no such header.
    """
    at = frame.find(_SIZ)
    if frame[:2] != _SOI and at >= 0:
        return _jpeg_2000(frame[at + 4 :])
    return _jpeg(frame)


def _jpeg_2000(siz: bytes) -> Claim:
    """Read the SIZ segment, from its length on."""
    number = [int.from_bytes(siz[at : at + 4], "big") for at in range(4, 36, 4)]
    samples = int.from_bytes(siz[36:38], "big")
    parts = siz[38 : 38 + 3 * samples]
    if not 1 <= samples <= 4 or len(parts) < 3 * samples:
        raise Untrusted(UNDECODABLE, local="SIZ segment")
    if any(step != 1 for at, step in enumerate(parts) if at % 3):
        raise Untrusted(INCONSISTENT, local="JPEG 2000 components of different sizes")
    bits = max((parts[at] & 0x7F) + 1 for at in range(0, len(parts), 3))
    return Claim(number[1] - number[3], number[0] - number[2], samples, bits)


def _jpeg(frame: bytes) -> Claim:
    """Walk the marker segments to the frame header."""
    at = 2 if frame[:2] == _SOI else len(frame)
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS and at + 10 <= len(frame):
            rows, columns = (int.from_bytes(frame[at + i : at + i + 2], "big") for i in (5, 7))
            return Claim(rows, columns, frame[at + 9], frame[at + 4])
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    raise Untrusted(UNDECODABLE, local="no frame header in the compressed data")


def _check_rle(frame: bytes, claimed: Layout) -> None:
    """Refuse an RLE header with other segments than one per byte of a pixel, or past the end."""
    count = int.from_bytes(frame[:4], "little")
    if len(frame) < 64 or count != claimed.samples * claimed.allocated // 8:
        raise Untrusted(INCONSISTENT, local=f"{count} RLE segments")
    starts = [int.from_bytes(frame[4 * i : 4 * i + 4], "little") for i in range(1, count + 1)]
    if starts[:1] != [64] or sorted(starts) != starts or starts[-1] >= len(frame):
        raise Untrusted(INCONSISTENT, local="RLE segments out of order or past the end")
