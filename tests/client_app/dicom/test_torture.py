"""Files that stress a DICOM reader, and files broken at random."""

from __future__ import annotations

import csv
import hashlib
import random
import time
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file

from client_app.dicom import untrusted
from client_app.dicom.display import Window, image
from client_app.dicom.files import read
from client_app.dicom.stored import frames, stored
from client_app.dicom.untrusted import Untrusted

_REASONS = {
    "emri_small_jpeg_2k_lossless_too_short.dcm": untrusted.TRUNCATED,
    "liver_deflate.dcm": untrusted.UNKNOWN_SYNTAX,
    "sr_document.dcm": untrusted.NOT_IMAGE,
    "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": untrusted.UNKNOWN_SYNTAX,
    "Issue1097_FailToOpenDeflatedFileWithSQ.dcm": untrusted.NOT_IMAGE,
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": untrusted.TRUNCATED,
    "09_no_photometric.dcm": untrusted.INCONSISTENT,
    "10_no_bitsstored.dcm": untrusted.INCONSISTENT,
    "11_rows_too_big.dcm": untrusted.SHORT,
    "14_empty_pixeldata.dcm": untrusted.NO_PIXELS,
    "16_truncated_half.dcm": untrusted.TRUNCATED,
    "17_header_only_132.dcm": untrusted.EMPTY,
    "20_trailing_junk.dcm": untrusted.TRAILING,
    "42_png_named.dcm": untrusted.NOT_DICOM,
}


@pytest.fixture
def torture(real_data: Path) -> Path:
    folder = real_data / "dicom-torture"
    if not folder.is_dir():
        pytest.skip("no torture set here")
    return folder


def _all_frames(path: Path) -> bytes:
    dataset = read(path.read_bytes())
    return b"".join(stored(dataset, at).tobytes() for at in range(frames(dataset)))


@pytest.mark.data
def test_every_file_is_read_exactly_or_refused_for_its_reason(torture: Path) -> None:
    with (torture / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 50
    for row in rows:
        path = torture / row["file"]
        if row["decode"] == "ok":
            found = hashlib.sha256(_all_frames(path)).hexdigest()
            assert found == row["pixel_sha256"], path.name
            assert 0 <= image(read(path.read_bytes())).min() <= 1, path.name
        else:
            with pytest.raises(Untrusted) as caught:
                _all_frames(path)
            assert caught.value.reason == _REASONS[path.name], path.name


@pytest.mark.data
def test_an_inverted_file_shows_the_same_picture(torture: Path) -> None:
    # Its pixels were inverted about their own range, its window was not: PS3.3 applies a window
    # before it inverts, so the two agree where the range decides, or the window is mirrored too.
    good, inverted = (
        read((torture / "mutants" / name).read_bytes())
        for name in ("00_good.dcm", "08_monochrome1_inverted.dcm")
    )
    window = Window.parse("range")
    assert torch.allclose(image(good, 0, window), image(inverted, 0, window), atol=1e-6)
    pixels = stored(good)
    mirror = int(pixels.min()) + int(pixels.max()) - 2 * 1024
    shown = image(inverted, 0, Window.parse(f"{mirror - 40}/400"))
    assert torch.allclose(image(good, 0, Window.parse("40/400")), shown, atol=1e-6)


def test_pydicoms_own_files_are_read_exactly() -> None:
    names = "CT_small MR_small JPEG2000 SC_rgb_jpeg SC_rgb_rle_16bit examples_palette liver_1frame"
    names += " SC_rgb_jpeg_gdcm MR_small_jpeg_ls_lossless SC_ybr_full_422_uncompressed"
    names += " MR_small_bigendian image_dfl SC_rgb_rle_32bit_2frame 693_J2KI rtdose_expb"
    for name in names.split():
        path = Path(str(get_testdata_file(f"{name}.dcm", download=False)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = pydicom.dcmread(path).pixel_array.tobytes()
        assert _all_frames(path) == expected, name


_BASES = (
    "CT_small",
    "MR_small_RLE",
    "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless",
    "SC_rgb_dcmtk_+eb+cy+np",
    "SC_ybr_full_422_uncompressed",
    "examples_palette",
    "image_dfl",
)


def _mutated(data: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    pixels = max(0, data.find(b"\xe0\x7f\x10\x00"))
    for _ in range(rng.choice((1, 2, 4, 16, 64))):
        header = rng.randrange(128, max(pixels, 129))
        start = pixels + rng.randrange(400)
        at = min(rng.choice((header, start, rng.randrange(len(data)))), len(data) - 1)
        broken[at] = rng.choice((rng.randrange(256), 0, 255, broken[at] ^ 1 << rng.randrange(8)))
    if rng.random() < 0.1:
        del broken[rng.randrange(len(broken)) :]
    elif rng.random() < 0.1:
        at = rng.randrange(len(broken))
        broken[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    return bytes(broken)


def test_files_broken_at_random_give_a_picture_or_a_reason(
    capfd: pytest.CaptureFixture[str],
) -> None:
    found = [Path(str(get_testdata_file(f"{name}.dcm", download=False))) for name in _BASES]
    bases = [path.read_bytes() for path in found]
    rng = random.Random(0)
    pictures, refused = 0, set[str]()
    for _ in range(400):
        data = _mutated(rng.choice(bases), rng)
        window = Window.parse(rng.choice(("file", "file:2", "range", "40/400")))
        start = time.monotonic()
        try:
            dataset = read(data)
            shown = image(dataset, frames(dataset) - 1, window)
            assert np.isfinite(shown.numpy()).all()
            pictures += 1
        except Untrusted as error:
            refused.add(error.reason)
        assert time.monotonic() - start < 5
    assert 50 < pictures < 350
    assert len(refused) >= 5
    assert capfd.readouterr() == ("", "")
