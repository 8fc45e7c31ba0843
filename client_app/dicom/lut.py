"""Lookup tables of a header: modality and VOI LUTs, palettes (PS3.3 C.11.1, C.11.2, C.7.6.3)."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from client_app.dicom.layout import Layout
from client_app.dicom.untrusted import INCONSISTENT, Untrusted
from client_app.dicom.values import items, numbers, value

Values = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint16]
_COLOURS = ("Red", "Green", "Blue")
_MOST_WORDS = 2**20
"""Of a segmented table: 65,536 entries, each a segment of its own, take a fifth of it."""
_MOST_STEPS = 2**18
"""In expanding one: a segment that adds no entry could be repeated without end."""


class Lut(NamedTuple):
    """One table: inputs before its first entry take the first, those past its last the last."""

    first: int
    """The input that the first entry is for."""
    entries: Values
    top: float
    """The largest value that its entries may have."""

    def __call__(self, values: Values) -> Values:
        """Look values up; shape kept."""
        at = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        found: Values = self.entries[at.astype(np.intp)]
        return found


def tables_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a LUT sequence; an item without a table (they exist) is no table."""
    return [item for item in items(dataset, keyword) if value(item, "LUTData") is not None]


def lut(item: Dataset, claimed: Layout, *, signed: bool) -> Lut:
    """Read LUT Descriptor and LUT Data of one item.

    Args:
        item: of a Modality or VOI LUT Sequence.
        claimed: of the file, for its byte order.
        signed: whether the inputs may be negative, and with them the first one.

    Raises:
        Untrusted: the table is not what its descriptor says.
    """
    count, first, bits = _descriptor(item, "LUTDescriptor", signed=signed)
    entries = _words(item, "LUTData", count, claimed)
    return Lut(first, entries.astype(np.float64), _top(entries, bits))


def palette(dataset: Dataset, claimed: Layout) -> tuple[Lut, Lut, Lut]:
    """Read the red, green and blue table, plain or segmented.

    Raises:
        Untrusted: there is none, or it is not what its descriptor says.
    """
    tables = []
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        count, first, bits = _descriptor(dataset, f"{name}Descriptor", signed=claimed.signed)
        if value(dataset, f"{name}Data") is not None:
            entries = _words(dataset, f"{name}Data", count, claimed)
        else:
            entries = _segmented(dataset, f"Segmented{name}Data", count, bits, claimed)
        tables.append((first, entries, bits))
    # Files exist with 8-bit colours in what they call 16-bit tables: by the letter, all black.
    eight = all(int(entries.max()) < 256 for _, entries, _ in tables)
    made = [
        Lut(first, entries.astype(np.float64), 255.0 if eight else _top(entries, bits))
        for first, entries, bits in tables
    ]
    return made[0], made[1], made[2]


def _top(entries: Words, bits: int) -> float:
    return float(max(2**bits - 1, int(entries.max())))


def _descriptor(item: Dataset, keyword: str, *, signed: bool) -> tuple[int, int, int]:
    """Return number of entries, first input and bits of an entry."""
    read = numbers(item, keyword)
    if len(read) != 3 or not 8 <= read[2] <= 16 or any(abs(part) > 65536 for part in read):
        raise Untrusted(INCONSISTENT, local=f"{keyword} {read}")
    # All three are written as 16 bits; whether pydicom saw a sign is up to the header's VR.
    count, first = int(read[0]) & 0xFFFF or 2**16, int(read[1]) & 0xFFFF
    return count, first - 2**16 if signed and first >= 2**15 else first, int(read[2])


def _words(item: Dataset, keyword: str, count: int, claimed: Layout) -> Words:
    """Return a table's entries: 16-bit words, or bytes where the data are too short for words."""
    found = value(item, keyword)
    if isinstance(found, bytes):
        words = len(found) >= 2 * count
        kind = ("<u2" if claimed.syntax.is_little_endian else ">u2") if words else "u1"
        whole = len(found) // np.dtype(kind).itemsize * np.dtype(kind).itemsize
        entries = np.frombuffer(found[:whole], kind).astype(np.uint16)
        if not words and not claimed.syntax.is_little_endian:
            entries = entries[: len(entries) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    else:
        listed = found if isinstance(found, int) else numbers(item, keyword)
        entries = np.asarray(listed, np.float64).reshape(-1).astype(np.int64).astype(np.uint16)
    if len(entries) < count:
        raise Untrusted(INCONSISTENT, local=f"{keyword} has {len(entries)} of {count} entries")
    return entries[:count]


def _segmented(item: Dataset, keyword: str, count: int, bits: int, claimed: Layout) -> Words:
    """Expand a segmented table, PS3.3 C.7.9.2.

    Each segment is an opcode, a length and its values: 0 discrete values, 1 a straight line from
    the last value, 2 a number of earlier segments again, from a byte offset.
    """
    data = value(item, keyword)
    if not isinstance(data, bytes) or bits not in (8, 16):
        raise Untrusted(INCONSISTENT, local=f"{keyword} is missing")
    size = bits // 8
    if len(data) > size * _MOST_WORDS:
        raise Untrusted(INCONSISTENT, local=f"{keyword} has {len(data)} bytes")
    code = ("<" if claimed.syntax.is_little_endian else ">") + ("B" if size == 1 else "H")
    words = [part for (part,) in struct.iter_unpack(code, data[: len(data) // size * size])]
    made = _expanded(words, count, offset_words=(4 // size, size))
    if len(made) != count:
        raise Untrusted(INCONSISTENT, local=f"{keyword} expands to {len(made)} of {count}")
    return np.asarray(made, np.uint16)


def _expanded(words: list[int], count: int, offset_words: tuple[int, int]) -> list[int]:
    made: list[int] = []
    pending = [(0, len(words))]
    """Where to go on, and how many segments from there."""
    wide, size = offset_words
    steps = 0
    while pending and len(made) <= count:
        steps += 1
        if steps > _MOST_STEPS:
            raise Untrusted(INCONSISTENT, local=f"over {_MOST_STEPS} palette segments")
        at, left = pending.pop()
        if left == 0 or at + 2 > len(words):
            continue
        kind, length = words[at], words[at + 1]
        if kind == 0:
            made += words[at + 2 : at + 2 + length]
            pending.append((at + 2 + length, left - 1))
        elif kind == 1 and made and at + 2 < len(words):
            line = np.linspace(made[-1], words[at + 2], length + 1)[1:]
            made += [int(entry) for entry in np.rint(line)]
            pending.append((at + 3, left - 1))
        elif kind == 2 and at + 2 + wide <= len(words) and len(pending) < 1:
            parts = words[at + 2 : at + 2 + wide]
            base = 256 if size == 1 else 65536
            offset = sum(part * base**power for power, part in enumerate(parts))
            pending += [(at + 2 + wide, left - 1), (offset // size, length)]
        else:
            raise Untrusted(INCONSISTENT, local=f"palette segment {kind}")
    return made
