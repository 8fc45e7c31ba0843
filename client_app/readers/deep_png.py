"""PNG with 16 bits a sample and more than one sample a pixel, which Pillow cuts down to 8 bits.

W3C, Portable Network Graphics (PNG) Specification, third edition, 2025: chunks (section 5),
filtering (section 9).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.readers.samples import check_size, opaque, scaled
from fedmend.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {2: 3, 4: 2, 6: 4}  # colour type: samples a pixel


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlace: int


def _header(data: bytes) -> _Header:
    return _Header(*struct.unpack(">IIBBBBB", data[16:29]))


def is_deep(data: bytes) -> bool:
    """Say whether a PNG is one of those that this module is for."""
    header = _header(data)
    return header.depth == 16 and header.colour in _SAMPLES


def decode(data: bytes) -> Tensor:
    """Return the image, (C, H, W) float32 in [0, 1]; alpha must be opaque.

    Raises:
        DataError: damaged, transparent, interlaced or too large.
    """
    header = _header(data)
    check_size(header.width, header.height)
    if header.interlace:
        raise DataError("the image is an interlaced PNG of 16 bits, which is not supported")
    step = 2 * _SAMPLES[header.colour]
    length = 1 + header.width * step
    unpacked = zlib.decompressobj()
    body = b"".join(content for name, content in _chunks(data) if name == b"IDAT")
    raw = unpacked.decompress(body, header.height * length)
    if len(raw) < header.height * length:
        raise DataError("the image is damaged or truncated")
    lines = np.frombuffer(raw, dtype=np.uint8).reshape(header.height, length)
    filtered = lines[:, 1:].reshape(header.height, header.width, step)
    samples = _unfiltered(lines[:, 0], filtered).view(">u2")
    if header.colour != 2:
        opaque(samples[..., -1], 65535)
        samples = samples[..., :-1]
    return scaled(samples)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    name = b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        if check != zlib.crc32(name + content):
            raise DataError("the image is damaged or truncated")
        if name == b"tRNS":
            raise DataError("the image has transparent pixels")
        yield name, content
        at += 12 + length


def _unfiltered(kinds: npt.NDArray[np.uint8], filtered: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Undo the filters of all rows together.

    A pixel depends on those to its left, above, and above left, so that all pixels on one
    anti-diagonal can be done at once.

    Args:
        kinds: (H,) filter types 0 to 4.
        filtered: (H, W, bytes a pixel).
    """
    if kinds.max() > 4:
        raise DataError("the image is damaged or truncated")
    height, width, step = filtered.shape
    done = np.zeros((height + 1, width + 1, step), dtype=np.int16)  # a border of zeros
    for diagonal in range(height + width - 1):
        rows = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        columns = diagonal - rows
        left, above = done[rows + 1, columns], done[rows, columns + 1]
        predicted = _predicted(kinds[rows, None], left, above, done[rows, columns])
        done[rows + 1, columns + 1] = (filtered[rows, columns] + predicted) & 255
    return np.ascontiguousarray(done[1:, 1:]).astype(np.uint8)


def _predicted(
    kinds: npt.NDArray[np.uint8],
    left: npt.NDArray[np.int16],
    above: npt.NDArray[np.int16],
    corner: npt.NDArray[np.int16],
) -> npt.NDArray[np.int16]:
    """Return what each filter type predicts: nothing, left, above, their mean, or Paeth's."""
    guess = left + above - corner
    far_left, far_above, far = abs(guess - left), abs(guess - above), abs(guess - corner)
    nearest = np.where(far_above <= far, above, corner)
    paeth = np.where((far_left <= far_above) & (far_left <= far), left, nearest)
    mean = (left + above) // 2
    return np.select(
        [kinds == 1, kinds == 2, kinds == 3, kinds == 4], [left, above, mean, paeth], 0
    )
