"""JPEG Extended (process 4): grey samples of 12 bits, which neither GDCM nor Pillow reads here.

Written from ISO/IEC 10918-1 (ITU-T T.81): markers B.2, Huffman tables C, decoding F.2.2. The
inverse cosine transform is that of Loeffler, Ligtenberg and Moschytz (1989) in fixed point, with as
many bits as give the pixels of the standard's reference software. :mod:`client_app.dicom.codec`
loads this file by its path; like that one, it imports nothing of fedmend.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Blocks = npt.NDArray[np.int64]
Coefficients = npt.NDArray[np.int32]
Codes = list[tuple[int, int]]
"""By the next 16 bits: how many of them are the code, and its value; 0 bits where there is none."""

_WINDOW = 16
_ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)  # fmt: skip
_SOF1, _DHT, _SOS, _DQT, _DRI = 0xC1, 0xC4, 0xDA, 0xDB, 0xDD
_ALL = bytes((0, 63, 0))
"""A sequential scan has all coefficients, each with all its bits."""
_MOST_DC = 2**16
_OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - {_SOF1, _DHT, 0xC8}


class _Frame(NamedTuple):
    """What comes before the entropy-coded data."""

    rows: int
    columns: int
    bits: int
    steps: Blocks
    """(64,) quantisation steps, in zigzag order."""
    dc: Codes
    ac: Codes
    restart: int
    """Blocks between two restart markers; 0: none."""
    scan: bytes


def decode(codestream: bytes) -> npt.NDArray[np.uint16]:
    """Decode one grey frame.

    Returns:
        (H, W), of as many bits as the frame header says.

    Raises:
        ValueError: it is no such frame, or broken.
    """
    frame = _parsed(codestream)
    down, across = -(-frame.rows // 8), -(-frame.columns // 8)
    coefficients = _coefficients(frame, down * across)
    grid = np.empty((down, 8, across, 8), np.uint16)
    for row, blocks in enumerate(coefficients.reshape(down, across, 64)):
        samples = _inverse_transform(blocks * frame.steps, 2 ** (frame.bits - 1))
        grid[row] = np.clip(samples, 0, 2**frame.bits - 1).swapaxes(0, 1)
    made: npt.NDArray[np.uint16] = grid.reshape(down * 8, across * 8)
    return made[: frame.rows, : frame.columns]


def _parsed(data: bytes) -> _Frame:
    """Walk the marker segments to the first scan."""
    size: tuple[int, int, int, int] | None = None
    tables, at = _Tables(), 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        segment = data[at + 4 : at + 2 + length]
        if len(segment) != length - 2:
            raise ValueError("a marker segment is cut off")
        at += 2 + length
        if marker == _SOF1:
            size = _frame_header(segment)
        elif marker == _SOS and size is not None:
            return tables.frame(size, segment, data[at:])
        else:
            tables.take(marker, segment)
    raise ValueError("no scan")


class _Tables:
    """What the segments before the scan define."""

    def __init__(self) -> None:
        self.steps: dict[int, Blocks] = {}
        self.codes: dict[int, Codes] = {}
        self.restart = 0

    def take(self, marker: int, segment: bytes) -> None:
        """Keep what a segment defines; those that define nothing are passed over."""
        if marker == _DQT:
            self.steps.update(_quantisation(segment))
        elif marker == _DHT:
            self.codes.update(_huffman(segment))
        elif marker == _DRI:
            self.restart = int.from_bytes(segment[:2], "big")
        elif marker in _OTHER_FRAMES:
            raise ValueError("not extended sequential, Huffman coded")

    def frame(self, size: tuple[int, int, int, int], header: bytes, scan: bytes) -> _Frame:
        """Return the frame of a scan header, B.2.3."""
        if len(header) != 6 or header[0] != 1 or header[3:] != _ALL:
            raise ValueError("no scan of one component")
        rows, columns, bits, quantiser = size
        dc, ac = self.codes.get(header[2] >> 4), self.codes.get(0x10 | header[2] & 0xF)
        if dc is None or ac is None or quantiser not in self.steps:
            raise ValueError("a table is missing")
        return _Frame(rows, columns, bits, self.steps[quantiser], dc, ac, self.restart, scan)


def _frame_header(segment: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, bits and the number of the quantisation table."""
    rows, columns = (int.from_bytes(segment[k : k + 2], "big") for k in (1, 3))
    if len(segment) != 9 or segment[5] != 1 or segment[0] not in (8, 12) or not rows or not columns:
        raise ValueError("not one component of 8 or 12 bits")
    return rows, columns, segment[0], segment[8]


def _quantisation(segment: bytes) -> dict[int, Blocks]:
    tables, at = {}, 0
    while at < len(segment):
        wide, number = segment[at] >> 4, segment[at] & 0xF
        kind = ">u2" if wide else "u1"
        end = at + 1 + (128 if wide else 64)
        tables[number] = np.frombuffer(segment[at + 1 : end], kind, 64).astype(np.int64)
        at = end
    return tables


def _huffman(segment: bytes) -> dict[int, Codes]:
    """Return the tables by class (0x10: AC) and number."""
    tables, at = {}, 0
    while at + 17 <= len(segment):
        counts, values = segment[at + 1 : at + 17], segment[at + 17 :]
        tables[segment[at]] = _codes(counts, values)
        at += 17 + sum(counts)
    return tables


def _codes(counts: bytes, values: bytes) -> Codes:
    """Give codes in order of their lengths, Annex C."""
    table: Codes = []
    used = 0
    for bits, count in enumerate(counts, start=1):
        for value in values[used : used + count]:
            table += [(bits, value)] * (1 << (_WINDOW - bits))
        used += count
    if used > len(values) or len(table) > 1 << _WINDOW:
        raise ValueError("a Huffman table is broken")
    return table + [(0, 0)] * ((1 << _WINDOW) - len(table))


class _Bits:
    """Entropy-coded bits of one restart interval, stuffed zeros removed; zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data.replace(b"\xff\0", b"\xff")
        self.at = 0
        self.held = 0
        self.count = 0

    def _fill(self) -> None:
        more = self.data[self.at : self.at + 8]
        self.at += 8
        self.held = (self.held << 64) | int.from_bytes(more.ljust(8, b"\0"), "big")
        self.count += 64
        if self.at > len(self.data) + 16:
            raise ValueError("the entropy-coded data end too early")

    def symbol(self, codes: Codes) -> int:
        if self.count < _WINDOW:
            self._fill()
        bits, value = codes[(self.held >> (self.count - _WINDOW)) & 0xFFFF]
        if bits == 0:
            raise ValueError("no such Huffman code")
        self.count -= bits
        self.held &= (1 << self.count) - 1
        return value

    def number(self, bits: int) -> int:
        """Read a signed number of so many bits, F.2.2.1 (RECEIVE and EXTEND)."""
        if bits == 0:
            return 0
        if self.count < bits:
            self._fill()
        self.count -= bits
        value = self.held >> self.count
        self.held &= (1 << self.count) - 1
        return value if value >> (bits - 1) else value - (1 << bits) + 1

    def check_end(self) -> None:
        """Refuse an interval that was shorter than what was read of it."""
        if self.at * 8 - self.count > len(self.data) * 8:
            raise ValueError("the entropy-coded data end too early")


def _coefficients(frame: _Frame, count: int) -> Coefficients:
    """Decode the blocks, (count, 64) in zigzag order, F.2.2."""
    made = np.zeros((count, 64), np.int32)
    done = 0
    for interval in _intervals(frame.scan):
        bits, last = _Bits(interval), 0
        for block in range(done, min(done + (frame.restart or count), count)):
            last += bits.number(bits.symbol(frame.dc) & 0xF)
            if abs(last) > _MOST_DC:
                raise ValueError("a mean is out of range")
            made[block, 0] = last
            _read_ac(bits, frame.ac, made[block])
            done = block + 1
        bits.check_end()
        if done == count:
            return made
    raise ValueError("restart intervals are missing")


def _read_ac(bits: _Bits, codes: Codes, block: Coefficients) -> None:
    at = 1
    while at < 64:
        symbol = bits.symbol(codes)
        run, size = symbol >> 4, symbol & 0xF
        if size == 0 and run != 15:
            return
        at += run
        if size:
            if at > 63:
                raise ValueError("a run goes past its block")
            block[at] = bits.number(size)
        at += 1


def _intervals(scan: bytes) -> list[bytes]:
    """Cut entropy-coded data at restart markers, up to the next other marker."""
    found, start, at = [], 0, scan.find(b"\xff")
    while at >= 0:
        marker = scan[at + 1] if at + 1 < len(scan) else 0xD9
        if 0xD0 <= marker <= 0xD7:
            found.append(scan[start:at])
            start = at + 2
        elif marker not in (0, 0xFF):
            return [*found, scan[start:at]]
        at = scan.find(b"\xff", at + (1 if marker == 0xFF else 2))
    return [*found, scan[start:]]


_FRACTION, _BETWEEN, _AFTER = 9, 4, 4
"""Bits of the factors' fractions, and of the values' after the first and the second pass."""


def _inverse_transform(zigzag: Blocks, middle: int) -> Blocks:
    """Take (n, 64) coefficients to (n, 8, 8) samples about a middle."""
    blocks = np.zeros_like(zigzag)
    blocks[:, list(_ZIGZAG)] = zigzag
    rows = _rounded(blocks.reshape(-1, 8, 8) @ _PASS.T, _FRACTION - _BETWEEN)
    both = _rounded(_PASS @ rows, _FRACTION + _BETWEEN + 3 - _AFTER)
    return _rounded(both + (middle << _AFTER), _AFTER)


def _rounded(values: Blocks, bits: int) -> Blocks:
    """Remove bits of the fraction, halves upwards."""
    shifted: Blocks = (values + (1 << (bits - 1))) >> bits
    return shifted


def _one_pass() -> Blocks:
    """Return the transform of 8 values as a matrix, sqrt(8) times too large.

    Every path of the paper's figure 1 from an input to an output passes one multiplication, so
    rounding the factors is all that tells the matrix from one of cosines.
    """
    factor = [round(value * (1 << _FRACTION)) for value in _FACTORS]
    sixth, two_minus, two_plus, fifth, *own, first, second, third, fourth = factor
    made = np.zeros((8, 8), np.int64)
    for column in range(8):
        unit = [int(at == column) for at in range(8)]
        shared = (unit[2] + unit[6]) * sixth
        low, high = shared - unit[6] * two_minus, shared + unit[2] * two_plus
        plus, minus = ((unit[0] + sign * unit[4]) << _FRACTION for sign in (1, -1))
        even = (plus + high, minus + low, minus - low, plus - high)
        seven, five, three, one = (unit[at] for at in (7, 5, 3, 1))
        turned = (seven + three + five + one) * fifth
        left, right = turned - (seven + three) * third, turned - (five + one) * fourth
        outer, inner = (seven + one) * first, (five + three) * second
        odd = (
            one * own[3] - outer + right,
            three * own[2] - inner + left,
            five * own[1] - inner + right,
            seven * own[0] - outer + left,
        )
        made[:4, column] = [a + b for a, b in zip(even, odd, strict=True)]
        made[4:, column] = [a - b for a, b in zip(even[::-1], odd[::-1], strict=True)]
    return made


_FACTORS = (
    0.541196100, 1.847759065, 0.765366865, 1.175875602, 0.298631336, 2.053119869, 3.072711026,
    1.501321110, 0.899976223, 2.562915447, 1.961570560, 0.390180644,
)  # fmt: skip
"""Sums and differences of sqrt(2) times cosines of multiples of pi / 16."""
_PASS = _one_pass()
