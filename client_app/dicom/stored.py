"""Stored values of one frame, exactly as the file has them, or a reason why not.

The header's claims are checked before anything is decoded, and what was decoded is checked
against them afterwards: nothing is padded, cropped or guessed.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array

from client_app.dicom.codestream import checked_frame
from client_app.dicom.isolated import decode
from client_app.dicom.layout import Layout, layout
from client_app.dicom.quiet import quiet
from client_app.dicom.untrusted import INCONSISTENT, SHORT, TOO_LARGE, UNDECODABLE, Untrusted
from fedmend.errors import RunError

Stored = npt.NDArray[Any]


def frames(dataset: Dataset) -> int:
    """Return how many frames the header claims, at least 1.

    Raises:
        Untrusted: the header is broken or over the limits.
    """
    return layout(dataset).frames


def stored(dataset: Dataset, frame: int = 0) -> Stored:
    """Return the stored values of one frame, before any LUT.

    Args:
        dataset: as :func:`client_app.dicom.files.read` gives it.
        frame: counted from 0.

    Returns:
        (H, W), or (H, W, 3) as RGB; integers of BitsAllocated (8 to 64) with the bits beyond
        BitsStored removed and the sign extended, in the file's byte order; 0 and 1 where one bit
        is allocated; or floats. A palette's indices stay indices. They are what pydicom's
        ``pixel_array`` gives for that frame.

    Raises:
        Untrusted: the pixels are too short, too many, contradictory or undecodable.
        IndexError: there is no such frame.
        RunError: the process that decodes compressed frames cannot be started.
    """
    return checked(dataset, layout(dataset), frame)


def checked(dataset: Dataset, claimed: Layout, frame: int) -> Stored:
    """Return what :func:`stored` does of a data set whose layout is known."""
    if not 0 <= frame < claimed.frames:
        raise IndexError(f"frame {frame} of {claimed.frames}")
    with quiet():
        try:
            if claimed.syntax.is_encapsulated:
                pixels = _encapsulated(dataset, claimed, frame)
            else:
                pixels = _native(dataset, claimed, frame)
        except (Untrusted, RunError):
            raise
        except MemoryError:
            raise Untrusted(TOO_LARGE, local="no memory to decode it") from None
        except Exception as error:  # noqa: BLE001 (codecs raise nearly anything over garbage)
            raise Untrusted(UNDECODABLE, local=f"{type(error).__name__}: {error}") from None
    _check(pixels, claimed)
    return pixels


def _encapsulated(dataset: Dataset, claimed: Layout, frame: int) -> Stored:
    codestream = checked_frame(dataset, claimed, frame)
    header = {
        "TransferSyntaxUID": str(claimed.syntax),
        "Rows": claimed.rows,
        "Columns": claimed.columns,
        "SamplesPerPixel": claimed.samples,
        "PhotometricInterpretation": claimed.photometric,
        "BitsAllocated": claimed.allocated,
        "BitsStored": claimed.stored,
        "HighBit": claimed.stored - 1,
        "PixelRepresentation": int(claimed.signed),
        "PlanarConfiguration": claimed.planar,
    }
    return decode(header, codestream)


def _native(dataset: Dataset, claimed: Layout, frame: int) -> Stored:
    data = cast("bytes", dataset[claimed.keyword].value)
    missing = claimed.native_bytes - len(data)
    if missing > 0:
        raise Untrusted(SHORT, local=f"{missing} of {claimed.native_bytes} bytes are missing")
    _check_excess(data, claimed)
    count = claimed.rows * claimed.columns
    if _is_direct(claimed):
        kind = np.dtype(f"<{'i' if claimed.signed else 'u'}{claimed.allocated // 8}")
        there = np.frombuffer(data, kind, count, frame * count * kind.itemsize)
        unused = claimed.allocated - claimed.stored
        return (there << unused >> unused).reshape(claimed.rows, claimed.columns)
    if claimed.allocated > 1:
        return pixel_array(dataset, index=frame)
    # Frames of single bits follow one another without padding, and may begin within a byte.
    first = frame * count
    part = np.frombuffer(data, np.uint8)[first // 8 : (first + count + 7) // 8]
    bits = np.unpackbits(part, bitorder="little")[first % 8 : first % 8 + count]
    return bits.reshape(claimed.rows, claimed.columns)


def _is_direct(claimed: Layout) -> bool:
    """Say whether stored values are little endian integers one after another."""
    grey = claimed.samples == 1 and not claimed.floating
    return grey and claimed.allocated in (8, 16, 32) and claimed.syntax.is_little_endian


def _check_excess(data: bytes, claimed: Layout) -> None:
    """Refuse more pixels than the header says there are: which of them are the picture?

    A byte more makes the length even. Some zeros more are padding, which exists, as long as they
    cannot be a row or a column that the header leaves out: with one that is missing, all that comes
    after it would be shown aslant.
    """
    excess = len(data) - claimed.native_bytes
    if excess <= 1:
        return
    picture = claimed.native_bytes / claimed.frames
    if claimed.photometric == "YBR_FULL_422":
        picture /= 2  # that much more, and every pixel has its own chroma samples after all
    line = picture / max(claimed.rows, claimed.columns)
    padding = excess < max(line, _PADDING + 1) and not any(data[claimed.native_bytes :])
    if excess >= picture or not padding:
        expected = claimed.native_bytes
        raise Untrusted(INCONSISTENT, local=f"{len(data)} bytes, {expected} are expected")


_PADDING = 128
"""Zeros after the pixels that are taken for padding, even where a row has as many."""


def _check(pixels: Stored, claimed: Layout) -> None:
    """Refuse decoded pixels that are not what the header promised."""
    shape = (claimed.rows, claimed.columns) + ((3,) if claimed.samples == 3 else ())
    if pixels.shape != shape:
        raise Untrusted(INCONSISTENT, local=f"decoded {pixels.shape}, header says {shape}")
    if claimed.floating or claimed.stored == pixels.dtype.itemsize * 8:
        return
    low = -(2 ** (claimed.stored - 1)) if claimed.signed else 0
    high = low + 2**claimed.stored - 1
    if pixels.size and (pixels.min() < low or pixels.max() > high):
        raise Untrusted(INCONSISTENT, local=f"decoded values beyond {claimed.stored} bits")
