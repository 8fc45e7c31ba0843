"""How large a picture may be before it is decoded: a header's claim must cost nothing."""

from __future__ import annotations

from client_app.dicom.untrusted import TOO_LARGE, Untrusted

MAX_PIXELS = 64 * 2**20
"""Pixels of one frame: 8,192 x 8,192. The largest mammograms have 20 million."""
MAX_FRAMES = 2**16
"""Frames of one file."""
MAX_INFLATED = 256 * 2**20
"""Bytes of a data set after inflating (deflated transfer syntax)."""


def check_size(rows: int, columns: int, frames: int, most: int = MAX_PIXELS) -> None:
    """Refuse what a header claims if it is over the limits.

    Raises:
        Untrusted: too many pixels in a frame, or too many frames.
    """
    if rows * columns > most or frames > MAX_FRAMES:
        raise Untrusted(TOO_LARGE, local=f"{frames} x {rows} x {columns} pixels")
