"""What a header claims about its pixels (PS3.3 C.7.6.3), checked before any are touched."""

from __future__ import annotations

import math
from typing import NamedTuple

from pydicom import Dataset
from pydicom.uid import UID

from client_app.dicom.files import PIXELS, why_no_pixels
from client_app.dicom.limits import check_size
from client_app.dicom.untrusted import INCONSISTENT, Untrusted
from client_app.dicom.values import numbers, text

_DEPTHS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


class Layout(NamedTuple):
    """The Image Pixel module of one file."""

    rows: int
    columns: int
    frames: int
    samples: int
    """1 (grey or palette) or 3."""
    photometric: str
    allocated: int
    """Bits of a sample as stored: 1, 8, 16, 32 or 64."""
    stored: int
    """Bits of a sample that mean something."""
    signed: bool
    planar: int
    """Of colour pixels: 0 sample by sample, 1 plane by plane."""
    keyword: str
    """The element that holds the pixels."""
    syntax: UID

    @property
    def floating(self) -> bool:
        """Say whether the pixels are floating point numbers."""
        return self.keyword != "PixelData"

    @property
    def native_bytes(self) -> int:
        """Return how long uncompressed pixel data must be, without padding to an even length."""
        bits = self.rows * self.columns * self.samples * self.allocated * self.frames
        if self.photometric == "YBR_FULL_422":
            bits = bits // 3 * 2  # two pixels share a pair of chroma samples
        return math.ceil(bits / 8)


def layout(dataset: Dataset) -> Layout:
    """Read and check what a header says.

    Raises:
        Untrusted: an element is missing, broken, contradicts another, or is over the limits.
    """
    keyword = next((name for name in PIXELS if name in dataset), "")
    if not keyword:
        raise Untrusted(why_no_pixels(dataset))
    floating = keyword != "PixelData"
    samples = _whole(dataset, "SamplesPerPixel", most=3)
    read = Layout(
        rows=_whole(dataset, "Rows"),
        columns=_whole(dataset, "Columns"),
        frames=_frames(dataset),
        samples=samples,
        photometric=text(dataset, "PhotometricInterpretation"),
        allocated=_whole(dataset, "BitsAllocated"),
        stored=_DEPTHS[keyword] if floating else _whole(dataset, "BitsStored"),
        signed=floating or _whole(dataset, "PixelRepresentation", least=0) == 1,
        planar=_whole(dataset, "PlanarConfiguration", least=0, most=1) if samples == 3 else 0,
        keyword=keyword,
        syntax=UID(text(dataset.file_meta, "TransferSyntaxUID")),
    )
    _check_bits(read, dataset)
    _check_colour(read)
    check_size(read.rows, read.columns, read.samples, read.allocated, read.frames)
    return read


def _whole(dataset: Dataset, keyword: str, *, least: int = 1, most: int = 65535) -> int:
    found = numbers(dataset, keyword)
    if len(found) != 1 or found[0] != int(found[0]) or not least <= found[0] <= most:
        raise Untrusted(INCONSISTENT, local=f"{keyword} is missing or not {least} to {most}")
    return int(found[0])


def _frames(dataset: Dataset) -> int:
    """Return NumberOfFrames; absent, empty or 0 (some modalities write it) means one."""
    if not text(dataset, "NumberOfFrames"):
        return 1
    return max(1, _whole(dataset, "NumberOfFrames", least=0, most=2**31 - 1))


def _check_bits(read: Layout, dataset: Dataset) -> None:
    depths = (_DEPTHS[read.keyword],) if read.floating else (1, 8, 16, 32, 64)
    if read.allocated not in depths or read.stored > read.allocated:
        reason = f"BitsStored {read.stored} of BitsAllocated {read.allocated}"
        raise Untrusted(INCONSISTENT, local=reason)
    if not read.floating:
        _whole(dataset, "PixelRepresentation", least=0, most=1)
        high = numbers(dataset, "HighBit")
        if high and high != (read.stored - 1,):
            # Retired since 1998; which bits are the picture's would be a guess.
            raise Untrusted(INCONSISTENT, local=f"HighBit {high[0]}, BitsStored {read.stored}")


def _check_colour(read: Layout) -> None:
    allowed: dict[int, tuple[str, ...]] = {1: _GREY, 3: _COLOUR}
    if read.photometric not in allowed.get(read.samples, ()):
        said = f"{read.samples} samples of {read.photometric or 'no photometric interpretation'}"
        raise Untrusted(INCONSISTENT, local=said)
    if read.photometric == "PALETTE COLOR" and read.allocated not in (8, 16):
        raise Untrusted(INCONSISTENT, local=f"palette indices of {read.allocated} bits")
    if read.samples == 3 and (read.floating or read.signed):
        raise Untrusted(INCONSISTENT, local="colour samples are signed or floating point")
