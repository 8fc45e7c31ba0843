from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jpeg_ls
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from client_app.dicom import isolated, untrusted
from client_app.dicom.files import read
from client_app.dicom.stored import frames, stored
from client_app.dicom.untrusted import Untrusted
from fedmend.errors import RunError

Make = Callable[..., Dataset]
AsFile = Callable[[Dataset], bytes]


def _reason(dataset: Dataset) -> str:
    with pytest.raises(Untrusted) as caught:
        stored(dataset)
    return caught.value.reason


def _bundled(name: str) -> Dataset:
    with open(str(get_testdata_file(name)), "rb") as file:  # noqa: PTH123
        return read(file.read())


@given(bits=st.integers(1, 16), signed=st.booleans(), word=st.integers(0, 65535))
def test_bits_beyond_bits_stored_are_no_part_of_a_value(bits: int, signed: bool, word: int) -> None:
    made = Dataset()
    made.update(_HEADER)
    made.file_meta = _HEADER.file_meta
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, int(signed)
    made.PixelData = word.to_bytes(2, "little")
    value = word % 2**bits
    expected = value - 2**bits if signed and value >= 2 ** (bits - 1) else value
    assert int(stored(made)[0, 0]) == expected


def _header() -> Dataset:
    from pydicom.dataset import FileMetaDataset

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.Rows = made.Columns = made.SamplesPerPixel = 1
    made.PhotometricInterpretation, made.BitsAllocated = "MONOCHROME2", 16
    return made


_HEADER = _header()


@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"])
def test_integers_of_every_width_come_back(make: Make, kind: str) -> None:
    info = np.iinfo(kind)
    pixels = np.array([[info.min, 0, 1], [5, info.max - 1, info.max]], kind)
    assert np.array_equal(stored(make(pixels)), pixels)


@pytest.mark.parametrize(
    ("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_floats_come_back(make: Make, keyword: str, kind: str) -> None:
    pixels = np.array([[0.5, -1e30], [np.inf, 2]], kind)
    dataset = make(
        pixels.view("<u4").reshape(-1)[:4].reshape(2, 2), BitsAllocated=pixels.itemsize * 8
    )
    for element in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, element)
    setattr(dataset, keyword, pixels.tobytes())
    assert np.array_equal(stored(dataset), pixels)


def test_planes_become_pixels(make: Make) -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    planes = make(pixels, PlanarConfiguration=1, PixelData=np.moveaxis(pixels, -1, 0).tobytes())
    assert np.array_equal(stored(planes), pixels)
    assert np.array_equal(stored(make(pixels)), pixels)


def test_ybr_becomes_rgb(make: Make) -> None:
    ybr = np.full((2, 2, 3), 128, np.uint8)
    ybr[0, 0] = 76, 85, 255  # pure red, ITU-R BT.601
    rgb = stored(make(ybr, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(rgb[0, 0].astype(int) - [254, 0, 0]).max() <= 1
    assert rgb[1, 1].tolist() == [128, 128, 128]


def test_single_bits_of_later_frames_begin_within_a_byte(make: Make) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (5, 3, 5), dtype=np.uint8)
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    dataset = make(bits[0], BitsAllocated=1, BitsStored=1, NumberOfFrames=5, PixelData=data)
    assert frames(dataset) == 5
    assert all(np.array_equal(stored(dataset, at), bits[at]) for at in range(5))
    with pytest.raises(IndexError, match="frame 5 of 5"):
        stored(dataset, 5)


def test_big_endian_values_are_the_same(make: Make) -> None:
    pixels = np.arange(6, dtype=">u2").reshape(2, 3)
    assert np.array_equal(stored(make(pixels, ExplicitVRBigEndian)), pixels)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"Rows": 9}, untrusted.SHORT),
        ({"NumberOfFrames": 2}, untrusted.SHORT),
        ({"Rows": None}, untrusted.INCONSISTENT),
        ({"Columns": 0}, untrusted.INCONSISTENT),
        ({"SamplesPerPixel": 3}, untrusted.INCONSISTENT),
        ({"SamplesPerPixel": 2}, untrusted.INCONSISTENT),
        ({"PhotometricInterpretation": "RGB"}, untrusted.INCONSISTENT),
        ({"PhotometricInterpretation": ""}, untrusted.INCONSISTENT),
        ({"PhotometricInterpretation": "HSV"}, untrusted.INCONSISTENT),
        ({"BitsAllocated": 12}, untrusted.INCONSISTENT),
        ({"BitsStored": 17}, untrusted.INCONSISTENT),
        ({"BitsStored": None}, untrusted.INCONSISTENT),
        ({"PixelRepresentation": 2}, untrusted.INCONSISTENT),
        ({"Rows": 60000, "Columns": 60000}, untrusted.TOO_LARGE),
        ({"NumberOfFrames": 2**30}, untrusted.TOO_LARGE),
    ],
)
def test_a_header_that_contradicts_its_pixels_is_refused(
    make: Make, header: dict[str, Any], reason: str
) -> None:
    dataset = make(np.arange(64, dtype=np.uint16).reshape(8, 8))
    stored(dataset)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    assert _reason(dataset) == reason


@pytest.mark.parametrize(
    ("more", "refused"), [(0, False), (2, False), (126, False), (128, True), (1000, True)]
)
def test_pixels_for_more_frames_than_the_header_says_are_refused(
    make: Make, more: int, refused: bool
) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    dataset = make(pixels, PixelData=pixels.tobytes() + bytes(more))
    if refused:
        assert _reason(dataset) == untrusted.INCONSISTENT
    else:
        assert np.array_equal(stored(dataset), pixels)


@pytest.mark.parametrize("missing", [{"Columns": 100}, {"Columns": 127}, {"Rows": 127}])
@pytest.mark.parametrize("kind", ["u1", "<u2"])
def test_a_header_that_leaves_out_columns_is_not_shown_aslant(
    make: Make, missing: dict[str, int], kind: str
) -> None:
    pixels = (np.arange(128 * 128) % 251 + 1).astype(kind).reshape(128, 128)
    assert _reason(make(pixels, **missing)) == untrusted.INCONSISTENT


@pytest.mark.parametrize(
    ("more", "good"),
    [
        (b"\1", True),  # to an even length
        (bytes(64), True),
        (bytes(1022), True),
        (bytes(1024), False),  # a row of background, or a column
        (bytes(10) + b"\1", False),
    ],
)
def test_few_zeros_after_the_pixels_are_padding(make: Make, more: bytes, good: bool) -> None:
    pixels = np.ones((512, 512), np.uint16)
    dataset = make(pixels, PixelData=pixels.tobytes() + more)
    if good:
        assert np.array_equal(stored(dataset), pixels)
    else:
        assert _reason(dataset) == untrusted.INCONSISTENT


def test_a_file_with_padded_pixels_is_read() -> None:
    padded = _bundled("MR_small_padded.dcm")
    assert len(padded.PixelData) == 64 * 64 * 2 + 128
    assert np.array_equal(stored(padded), stored(_bundled("MR_small.dcm")))


def test_chroma_for_every_pixel_where_pairs_should_share_it_is_refused(make: Make) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert _reason(make(pixels, PhotometricInterpretation="YBR_FULL_422")) == "inconsistent header"


def test_bits_that_do_not_begin_at_the_lowest_are_refused(make: Make) -> None:
    dataset = make(np.zeros((2, 2), np.uint16), BitsStored=12)
    dataset.HighBit = 15
    assert _reason(dataset) == untrusted.INCONSISTENT


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg.dcm"])
def test_a_codestream_that_claims_another_size_is_not_decoded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = _bundled(name)
    assert stored(dataset).shape[:2] == (dataset.Rows, dataset.Columns)
    monkeypatch.setattr("client_app.dicom.stored.decode", lambda *_: pytest.fail("decoded"))
    dataset.Rows += 1
    assert _reason(dataset) == untrusted.INCONSISTENT
    dataset.Rows = dataset.Columns = 60000
    start = time.perf_counter()
    assert _reason(dataset) == untrusted.TOO_LARGE
    assert time.perf_counter() - start < 1


def test_a_codestream_that_is_cut_off_is_refused() -> None:
    dataset = _bundled("MR_small_jp2klossless.dcm")
    whole = dataset.PixelData
    frame = whole[whole.index(b"\xff\x4f\xff\x51") : whole.rindex(b"\xff\xd9")]
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    dataset["PixelData"].is_undefined_length = True
    assert _reason(dataset) == untrusted.TRUNCATED


@pytest.mark.parametrize("first", [1, 2, 4, 2**31])
def test_an_rle_header_with_other_segments_is_refused(make: Make, first: int) -> None:
    dataset = make(np.zeros((2, 2), np.uint32), RLELossless)
    frame = first.to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(60)
    dataset.PixelData = encapsulate([frame])
    assert _reason(dataset) == untrusted.INCONSISTENT


def test_a_codec_that_died_between_frames_is_replaced() -> None:
    dataset = _bundled("MR_small_RLE.dcm")
    good = stored(dataset)
    os.kill(isolated._idle[-1].process.pid, signal.SIGKILL)
    assert np.array_equal(stored(dataset), good)


def test_a_frame_that_kills_its_codec_is_refused_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = _bundled("MR_small_RLE.dcm")
    good = stored(dataset)
    monkeypatch.setattr(isolated._Codec, "ask", _dies)
    assert _reason(dataset) == untrusted.UNDECODABLE
    monkeypatch.undo()
    assert np.array_equal(stored(dataset), good)


def _dies(codec: isolated._Codec, *_: Any) -> Any:
    codec.process.kill()
    raise OSError("it ended")


def test_a_codec_that_takes_too_long_is_stopped() -> None:
    dataset = _bundled("MR_small_RLE.dcm")
    good = stored(dataset)
    os.kill(isolated._idle[-1].process.pid, signal.SIGSTOP)
    start = time.perf_counter()
    with pytest.raises(Untrusted, match=untrusted.UNDECODABLE) as caught:
        isolated.decode({"Rows": 1, "Columns": 1, "SamplesPerPixel": 1}, bytes(9), seconds=0.3)
    assert "stopped after 0.3 s" in caught.value.local
    assert 0.2 < time.perf_counter() - start < 5
    assert np.array_equal(stored(dataset), good)


@pytest.mark.parametrize("bits", [6, 7])
def test_few_bits_of_jpeg_ls_are_read(make: Make, bits: int) -> None:
    # pydicom does not let GDCM decode them: CharLS does.
    pixels = (np.arange(64, dtype=np.uint8).reshape(8, 8) * 5) % 2**bits
    dataset = make(pixels, JPEGLSLossless, BitsStored=bits)
    codestream = jpeg_ls.encode_pixel_data(
        pixels.tobytes(),
        rows=8,
        columns=8,
        samples_per_pixel=1,
        bits_stored=bits,
    )
    dataset.PixelData = encapsulate([bytes(codestream)])
    dataset["PixelData"].is_undefined_length = True
    assert np.array_equal(stored(dataset), pixels)


def test_garbage_between_good_markers_is_refused(make: Make) -> None:
    siz = b"\xff\x4f\xff\x51" + (41).to_bytes(2, "big") + bytes(2)
    siz += b"".join(n.to_bytes(4, "big") for n in (8, 8, 0, 0, 8, 8, 0, 0)) + b"\0\1\x0f\1\1"
    dataset = make(np.zeros((8, 8), np.uint16), JPEG2000Lossless)
    dataset.PixelData = encapsulate([siz + bytes(range(256)) + b"\xff\xd9"])
    assert _reason(dataset) == untrusted.UNDECODABLE


def test_a_machine_that_cannot_start_codecs_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "codec.py"
    broken.write_text("raise SystemExit(3)")
    isolated.close()
    monkeypatch.setattr(isolated, "_SCRIPT", broken)
    with pytest.raises(RunError, match="cannot be started"):
        stored(_bundled("MR_small_RLE.dcm"))
