from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from client_app.dicom import untrusted
from client_app.dicom.extended import decode
from client_app.dicom.files import read
from client_app.dicom.stored import stored
from client_app.dicom.untrusted import Untrusted


def _bundled(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def _jpeg(pixels: npt.NDArray[np.uint8], *, blocks: int = 0) -> bytes:
    """Return a JPEG that says it is extended: the two differ in what they may hold."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, restart_marker_blocks=blocks)
    return stream.getvalue().replace(b"\xff\xc0", b"\xff\xc1", 1)


def _picture() -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:45, :67]
    noise = np.random.default_rng(0).integers(0, 60, rows.shape)
    smooth = 96 + 60 * np.sin(rows / 5) * np.cos(columns / 7)
    return np.asarray(smooth + noise, np.uint8)


_GOOD = _jpeg(_picture())


def test_twelve_bits_are_those_of_the_reference_software() -> None:
    # The hash is that of ISO/IEC 10918-7's reference software, by way of pylibjpeg-libjpeg 2.5.0.
    pixels = stored(read(_bundled("JPGExtended.dcm")))
    assert pixels.shape == (1024, 256)
    assert pixels.dtype == np.uint16
    assert pixels.max() == 264
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    assert digest == "b1d76492f77a12c58fab49a831ade73785f46e9247833670cf8a405f3aa5228e"


def test_a_signed_header_extends_the_sign() -> None:
    dataset = read(_bundled("JPGExtended.dcm"))
    unsigned = stored(dataset).astype(int)
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 9, 8
    expected = np.where(unsigned >= 256, unsigned - 512, unsigned)
    assert np.array_equal(stored(dataset), expected)


def test_a_scan_header_of_another_mode_is_refused() -> None:
    with pytest.raises(Untrusted, match=untrusted.UNDECODABLE) as caught:
        stored(read(_bundled("JPEG-lossy.dcm")))
    assert "no scan of one component" in caught.value.local


@pytest.mark.parametrize("blocks", [0, 1, 4])
def test_eight_bits_agree_with_pillow(blocks: int) -> None:
    data = _jpeg(_picture(), blocks=blocks)
    expected = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(decode(data) - expected).max() <= 1


def test_a_frame_cut_anywhere_is_refused() -> None:
    for size in range(0, len(_GOOD) - 4, 5):
        with pytest.raises(ValueError, match=r"."):
            decode(_GOOD[:size])


def test_a_lost_interval_is_refused() -> None:
    data = _jpeg(_picture(), blocks=4)
    start, end = data.index(b"\xff\xd1"), data.index(b"\xff\xd2")
    with pytest.raises(ValueError, match=r"too early|are missing"):
        decode(data[:start] + data[end:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xff\xc1", b"\xff\xc2"),  # progressive
        (b"\xff\xc4", b"\xff\xfe"),  # no Huffman table
        (b"\xff\xdb", b"\xff\xfe"),  # no quantisation table
        (b"\xff\xda", b"\xff\xfe"),  # no scan
    ],
)
def test_what_it_needs_and_has_not_is_named(old: bytes, new: bytes) -> None:
    with pytest.raises(ValueError, match=r"missing|no marker|sequential"):
        decode(_GOOD.replace(old, new))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(at=st.integers(2, len(_GOOD) - 1), change=st.binary(min_size=1, max_size=4))
def test_any_bytes_are_a_frame_or_refused(at: int, change: bytes) -> None:
    broken = _GOOD[:at] + change + _GOOD[at + len(change) :]
    try:
        decode(broken)
    except ValueError:
        return


def test_a_frame_that_claims_more_than_it_has_costs_little() -> None:
    at = _GOOD.index(b"\xff\xc1")
    with pytest.raises(ValueError, match="too early"):
        decode(_GOOD[: at + 5] + b"\x20\0\x20\0" + _GOOD[at + 9 :])


def test_no_codec_reads_what_has_no_frame_header() -> None:
    dataset = read(_bundled("JPGExtended.dcm"))
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(Untrusted, match=untrusted.UNDECODABLE):
        stored(dataset)
