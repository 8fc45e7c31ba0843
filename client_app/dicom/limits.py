"""How large a picture may be before it is decoded: a header's claim must cost nothing."""

from __future__ import annotations

from client_app.dicom.untrusted import TOO_LARGE, Untrusted

MAX_SAMPLES = 64 * 2**20
"""Samples of one frame: a grey picture of 8,192 x 8,192. The largest mammograms have 20 million.
A colour pixel has three; a sample of more than 16 bits counts four times, since it is shown by
way of 64-bit numbers."""
MAX_FRAMES = 2**16
"""Frames of one file."""
MAX_INFLATED = 256 * 2**20
"""Bytes of a data set after inflating (deflated transfer syntax)."""

MAX_HEADER = 128 * 2**20
"""Bytes before the pixel data. An enhanced file has 1 to 3 KiB for each frame."""
MAX_OUTERMOST = 2**15
"""Elements outside of sequences. Large headers have some thousand, most of them private."""
MAX_ELEMENTS = 2**20
"""Elements and items of all depths: a hundred for each of 10,000 frames. Parsing so many takes
some seconds and half a gibibyte."""


def check_size(rows: int, columns: int, samples: int, allocated: int, frames: int) -> None:
    """Refuse what a header claims if it is over the limits.

    Args:
        rows: of a frame.
        columns: of a frame.
        samples: of a pixel.
        allocated: bits of a sample.
        frames: of the file.

    Raises:
        Untrusted: too many samples in a frame, or too many frames.
    """
    counted = rows * columns * samples * (4 if allocated > 16 else 1)
    if counted > MAX_SAMPLES or frames > MAX_FRAMES:
        raise Untrusted(TOO_LARGE, local=f"{frames} x {rows} x {columns} x {samples} samples")
