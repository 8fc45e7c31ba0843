from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from torch import Tensor

from client_app.dicom import display, files
from client_app.dicom.stored import stored
from client_app.dicom.window import Window
from client_app.mending.derived import Made
from client_app.mending.dicom import Changed
from client_app.mending.unmendable import NOT_MONOTONE, OVERLAY, PALETTE, SINGLE_BITS, Unmendable
from tests.dicom_files import encoded, pixels

MADE = Made("f" * 64, "detector residual(), scale both")
FILE = Window()
WINDOWS = ("file", "file:2", "range", "2000/3000")
PLAIN: dict[str, dict[str, Any]] = {
    "plain": {},
    "narrow window": {"WindowCenter": "1500", "WindowWidth": "700"},
    "sigmoid": {"VOILUTFunction": "SIGMOID"},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "presentation": {"PresentationLUTShape": "INVERSE"},
    "rescaled": {"RescaleSlope": "0.5", "RescaleIntercept": "-100", "WindowCenter": "900"},
    "falling": {"RescaleSlope": "-1", "RescaleIntercept": "4095"},
    "no window": {"WindowCenter": None, "WindowWidth": None},
    "two windows": {"WindowCenter": ["2048", "1000"], "WindowWidth": ["4096", "500"]},
    "padding": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 40},
}


def again(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def blurred(image: Tensor) -> Tensor:
    """Stand in for an imputer: change every pixel."""
    return (image * 0.5 + image.mean() * 0.5).clamp(0, 1)


def mended(data: bytes, window: Window = FILE, frames: tuple[int, ...] = (0,)) -> bytes:
    changed = Changed(data, window)
    assert all(changed.mend(frame, blurred(changed.shown(frame))) for frame in frames)
    return changed.encoded(MADE)


def ramp(low: int, high: int, kind: str) -> bytes:
    return np.linspace(low, high, 48).astype(kind).tobytes()


@pytest.mark.parametrize("name", PLAIN)
def test_the_derived_file_shows_the_mended_picture(name: str) -> None:
    data = encoded(1, **PLAIN[name])
    before = display.image(files.read(data))
    after = display.image(files.read(mended(data)))
    shown = torch.unique(before)
    inside = before[0] != 0 if name == "padding" else torch.ones(before[0].shape, dtype=torch.bool)
    wanted = blurred(before)
    step = 1 / 4095 if "window" not in name else 1 / 690
    if name == "rescaled":
        step = 0.5 / 4096
    assert len(shown) > 2
    assert ((after - wanted).abs()[0][inside]).max() <= step / 2 + 1e-6


def test_what_the_header_says_of_the_grey_scale_is_kept() -> None:
    data = encoded(1, **PLAIN["inverted"], **PLAIN["two windows"])
    source, derived = again(data), again(mended(data))
    for keyword in (
        "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "Rows", "Columns",
        "PhotometricInterpretation", "WindowCenter", "WindowWidth",
    ):  # fmt: skip
        assert derived[keyword].value == source[keyword].value
    assert "VOILUTFunction" not in derived


def test_a_picture_shown_from_its_smallest_to_its_largest_value_keeps_its_brightness() -> None:
    """Mended it has other extremes, so the derived file says which ones are meant."""
    data = encoded(1, **PLAIN["no window"])
    derived = again(mended(data))
    low, high = int(pixels(1).min()), int(pixels(1).max())
    assert derived.WindowCenter == (low + high) / 2
    assert derived.WindowWidth == high - low
    assert derived.VOILUTFunction == "LINEAR_EXACT"


@pytest.mark.parametrize("window", WINDOWS)
def test_every_window_can_be_inverted(window: str) -> None:
    data = encoded(1)
    source = display.image(files.read(data), window=Window.parse(window))
    written = files.read(mended(data, Window.parse(window)))
    low, high = int(pixels(1).min()), int(pixels(1).max())
    held = {"range": f"{(low + high) / 2}/{high - low}"}.get(window, window)
    after = display.image(written, window=Window.parse(held))
    assert (after - blurred(source)).abs().max() <= 1 / 2000


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PLAIN)), st.integers(2, 16))
@settings(max_examples=40, deadline=None)
def test_what_is_not_mended_stays_to_the_bit(seed: int, name: str, bits: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2**bits, (8, 6)).astype("<u2")
    own = PLAIN[name] | {"BitsStored": bits, "HighBit": bits - 1, "PixelData": array.tobytes()}
    changed = Changed(encoded(1, **own), FILE)
    assert not changed.mend(0, changed.shown(0))
    picture = changed.shown(0)
    picture[0, :4] = blurred(picture)[0, :4]
    if changed.mend(0, picture):
        after = stored(files.read(changed.encoded(MADE)))
        assert np.array_equal(after[4:], array[4:])


def test_padding_stays() -> None:
    array = np.arange(48, dtype="<u2").reshape(8, 6) * 80
    data = encoded(1, PixelData=array.tobytes(), **PLAIN["padding"])
    changed = Changed(data, FILE)
    assert changed.mend(0, torch.full((1, 8, 6), 0.5))
    after = stored(files.read(changed.encoded(MADE)))
    assert after[0, 0] == 0
    assert set(np.unique(after[array > 40])) <= {2047, 2048}
    changed = Changed(data, FILE)
    assert changed.mend(0, torch.zeros(1, 8, 6))
    assert stored(files.read(changed.encoded(MADE)))[array > 40].min() > 40


def table(entries: list[int], bits: int = 16) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(entries), 0, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = entries
    item["LUTData"].VR = "US"
    return Sequence([item])


def test_tables_are_inverted_if_they_rise_or_fall() -> None:
    falling = [65535 - 8 * number for number in range(4096)]
    tables: list[dict[str, Any]] = [
        {"VOILUTSequence": table(falling)},
        {"ModalityLUTSequence": table(falling)},
    ]
    for own in tables:
        data = encoded(1, **own, WindowCenter=None, WindowWidth=None)
        if "ModalityLUTSequence" in own:
            data = encoded(1, **own, WindowCenter="50000", WindowWidth="40000")
        before = display.image(files.read(data))
        after = display.image(files.read(mended(data)))
        assert (after - blurred(before)).abs().max() <= 8 / 40000
    bent = [abs(2048 - number) * 30 for number in range(4096)]
    changed = Changed(encoded(1, VOILUTSequence=table(bent)), FILE)
    with pytest.raises(Unmendable, match=NOT_MONOTONE):
        changed.mend(0, torch.zeros(1, 8, 6))


def test_signed_values_are_brought_back() -> None:
    own: dict[str, Any] = {
        "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "WindowCenter": "40",
        "WindowWidth": "4000", "PixelData": ramp(-2000, 2000, "<i2"),
    }  # fmt: skip
    data = encoded(1, **own, SmallestImagePixelValue=-2000, LargestImagePixelValue=2000)
    derived = again(mended(data))
    after = stored(files.read(mended(data)))
    assert after.min() < -900
    assert (derived.SmallestImagePixelValue, derived.LargestImagePixelValue) == (
        after.min(),
        after.max(),
    )
    assert derived["SmallestImagePixelValue"].VR == "SS"


@pytest.mark.parametrize(
    ("own", "step"),
    [
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "WindowCenter": "150000",
          "WindowWidth": "300000", "PixelData": ramp(0, 300_000, "<u4")}, 1 / 300_000),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": None, "PixelRepresentation": None,
          "WindowCenter": None, "WindowWidth": None, "PixelData": None,
          "FloatPixelData": ramp(-3, 9, "<f4")}, 1e-6),
    ],
)  # fmt: skip
def test_wide_integers_and_floats_are_brought_back(own: dict[str, Any], step: float) -> None:
    data = encoded(1, **own)
    before = display.image(files.read(data))
    after = display.image(files.read(mended(data)))
    assert (after - blurred(before)).abs().max() <= step + 1e-5


def test_colour_becomes_rgb() -> None:
    array = np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8)
    own: dict[str, Any] = {
        "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": 1,
        "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "WindowCenter": None,
        "WindowWidth": None, "PixelData": np.moveaxis(array, -1, 0).tobytes(),
    }  # fmt: skip
    data = encoded(1, **own)
    before = display.image(files.read(data))
    written = mended(data)
    assert again(written).PhotometricInterpretation == "RGB"
    assert again(written).PlanarConfiguration == 0
    after = display.image(files.read(written))
    assert (after - blurred(before)).abs().max() <= 0.5 / 255 + 1e-6


def palette() -> dict[str, Any]:
    own: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        own[f"{colour}PaletteColorLookupTableDescriptor"] = [4096, 0, 16]
        own[f"{colour}PaletteColorLookupTableData"] = ramp(0, 65535, "<u2") * 86
    return own


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (palette(), PALETTE),
        ({"BitsAllocated": 8, "BitsStored": 1, "HighBit": 0, "PixelData": bytes(24) + b"\1" * 24},
         SINGLE_BITS),
        ({"OverlayRows": 8}, OVERLAY),
    ],
)  # fmt: skip
def test_what_cannot_be_mended_without_guessing_says_why(own: dict[str, Any], reason: str) -> None:
    if "OverlayRows" in own:
        source = again(encoded(1))
        source.add_new((0x6000, 0x0010), "US", 8)
        file = io.BytesIO()
        source.save_as(file)
        data = file.getvalue()
    else:
        data = encoded(1, **own)
    changed = Changed(data, FILE)
    shown = changed.shown(0)
    with pytest.raises(Unmendable, match=reason):
        changed.mend(0, shown)


def test_only_the_frames_that_were_mended_change() -> None:
    data = encoded(1, shape=(4, 8, 6), SOPClassUID=EnhancedCTImageStorage)
    derived = mended(data, frames=(1, 3))
    source = pixels(1, (4, 8, 6))
    after = [stored(files.read(derived), frame) for frame in range(4)]
    assert [np.array_equal(after[frame], source[frame]) for frame in range(4)] == [
        True, False, True, False,
    ]  # fmt: skip
    assert again(derived).SourceImageSequence[0].ReferencedFrameNumber == [2, 4]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_encoding_becomes_the_plainest_one(syntax: Any) -> None:
    array = pixels(1).astype(">u2" if syntax == ExplicitVRBigEndian else "<u2")
    own: dict[str, Any] = {
        "RescaleSlope": "1", "VOILUTSequence": table(list(range(0, 65536, 16))),
        "AcquisitionDateTime": "20200101", "PatientName": "A^B", "DetectorElementSpacing": [1, 2],
    }  # fmt: skip
    if syntax == ExplicitVRBigEndian:
        words = np.arange(0, 65536, 16, dtype=">u2").tobytes()
        own["VOILUTSequence"][0].add_new("LUTData", "OW", words)
    data = encoded(1, syntax=syntax, PixelData=array.tobytes(), **own)
    before = display.image(files.read(data))
    written = mended(data)
    derived = again(written)
    assert derived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (derived.PatientName, derived.DetectorElementSpacing) == ("A^B", [1, 2])
    after = display.image(files.read(written))
    assert (after - blurred(before)).abs().max() <= 0.5 / 4095 + 1e-6


def test_compressed_frames_become_plain_ones() -> None:
    source = again(encoded(1, shape=(2, 16, 16)))
    source.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    file = io.BytesIO()
    source.save_as(file)
    written = mended(file.getvalue(), frames=(1,))
    assert np.array_equal(stored(files.read(written), 0), pixels(1, (2, 16, 16))[0])
    assert "LossyImageCompression" not in again(written)


@pytest.mark.parametrize("orientation", ["F\\L", "H\\L", "R\\H", "F\\R", "L\\F", "R\\F"])
def test_a_radiograph_is_mended_as_it_hangs_and_stored_as_it_was(orientation: str) -> None:
    own: dict[str, Any] = {"Modality": "DX", "PatientOrientation": orientation.split("\\")}
    data = encoded(1, **own)
    changed = Changed(data, FILE)
    hung = changed.shown(0)
    assert hung.shape[1:] == ((6, 8) if changed.turn.transposed else (8, 6))
    assert not changed.mend(0, hung)
    hung[:, 0] = 0.5  # the top row, as it hangs
    assert changed.mend(0, hung)
    written = changed.encoded(MADE)
    again = Changed(written, FILE)
    assert again.turn == changed.turn
    assert torch.allclose(again.shown(0), hung, atol=0.51 / 4095)
    assert stored(files.read(written)).shape == (8, 6)
