"""PNG of 8 or 16 bits a sample, grey or RGB: Pillow writes no RGB of 16 bits.

W3C, Portable Network Graphics (PNG) Specification, third edition, 2025.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_UP = 2  # the filter type that says: what is above has been subtracted
_EFFORT = 6


def encode(samples: npt.NDArray[Any]) -> bytes:
    """Return a PNG file's bytes, the same for the same samples.

    Args:
        samples: (H, W) or (H, W, 3), uint8 or uint16.
    """
    height, width = samples.shape[:2]
    colour = _GREY if samples.ndim == 2 else _RGB
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, colour, 0, 0, 0)
    lines = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">"))
    raw = lines.view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + raw.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = raw[0]
    filtered[1:, 1:] = raw[1:] - raw[:-1]
    body = zlib.compress(filtered.tobytes(), _EFFORT)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
