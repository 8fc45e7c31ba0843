from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian

from client_app.dicom import untrusted
from client_app.dicom.display import Window, aspect, image
from client_app.dicom.files import read
from client_app.dicom.grey import scale
from client_app.dicom.layout import layout
from client_app.dicom.untrusted import Untrusted
from tests.dicom_files import encoded

Make = Callable[..., Dataset]
Words = npt.NDArray[np.uint16]
RANGE = Window.parse("range")


def _table(entries: Words, first: int, bits: int, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", vr, entries.tolist() if vr == "US" else entries.astype("<u2").tobytes())
    return item


def test_without_a_window_the_whole_range_is_shown(make: Make) -> None:
    pixels = np.array([[100, 200], [150, 300]], np.uint16)
    shown = image(make(pixels))
    assert shown.shape == (1, 2, 2)
    assert shown.dtype == torch.float32
    assert torch.allclose(shown[0], torch.tensor([[0, 0.5], [0.25, 1]]))


def test_eight_bits_without_a_window_are_shown_as_they_are(make: Make) -> None:
    pixels = np.array([[0, 51], [102, 102]], np.uint8)
    assert torch.allclose(image(make(pixels))[0], torch.tensor([[0, 0.2], [0.4, 0.4]]))
    assert image(make(pixels), window=RANGE).max() == 1


def test_slope_and_intercept_come_before_the_window(make: Make) -> None:
    hu = np.array([[-1000, -160], [40, 240]])
    ct = make((hu + 1024).astype(np.uint16), RescaleSlope=1, RescaleIntercept=-1024)
    shown = image(ct, window=Window.parse("40/400"))
    assert torch.allclose(shown[0], torch.tensor([[0, 0], [0.5, 1]]), atol=1e-6)


def test_the_files_windows_are_taken_by_number(make: Make, ramp: Words) -> None:
    made = make(ramp, WindowCenter=[50, 200], WindowWidth=[101, 11])
    first, second, third = (image(made, window=Window(view)) for view in (1, 2, 3))
    assert first[0].reshape(-1)[[0, 50, 100]].tolist() == pytest.approx([0.005, 0.505, 1])
    assert second[0].reshape(-1)[190] == 0
    assert second[0].reshape(-1)[210] == 1
    assert torch.equal(third, second)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_function_is_the_files(make: Make, ramp: Words, function: str) -> None:
    header = {"WindowCenter": 100.3, "WindowWidth": 77.7, "VOILUTFunction": function}
    made = make(ramp, **header, RescaleSlope=2, RescaleIntercept=-30, BitsStored=8)
    shown = apply_voi_lut(apply_modality_lut(ramp, made), made)
    low, high = -30, 255 * 2 - 30
    expected = torch.from_numpy((shown - low) / (high - low)).float()
    assert torch.allclose(image(made)[0], expected, atol=1e-6)


@pytest.mark.parametrize("header", [{"WindowWidth": 0}, {"WindowWidth": -4}, {"WindowWidth": "x"}])
def test_a_window_that_cannot_be_is_passed_over(
    make: Make, ramp: Words, header: dict[str, Any]
) -> None:
    made = make(ramp, WindowCenter=40)
    made.add_new(
        "WindowWidth", "DS" if header["WindowWidth"] != "x" else "LO", header["WindowWidth"]
    )
    assert torch.equal(image(made), image(make(ramp), window=RANGE))


def test_a_slope_of_zero_is_no_slope_and_leaves_the_units_unknown(make: Make, ramp: Words) -> None:
    made = make(ramp, RescaleSlope=0, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=4)
    assert torch.equal(image(made), image(make(ramp), window=RANGE))
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT):
        image(made, window=Window.parse("40/400"))


@pytest.mark.parametrize("window", ["file", "range", "128/100", "file:2"])
def test_monochrome1_is_the_negative(make: Make, ramp: Words, window: str) -> None:
    header = {"WindowCenter": [100, 30], "WindowWidth": [50, 20]}
    one, two = (
        image(
            make(ramp, PhotometricInterpretation=f"MONOCHROME{n}", **header),
            0,
            Window.parse(window),
        )
        for n in (1, 2)
    )
    assert torch.allclose(one, 1 - two, atol=1e-7)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_an_inverse_presentation_lut_inverts_once(
    make: Make, ramp: Words, photometric: str
) -> None:
    made = make(ramp, PhotometricInterpretation=photometric, PresentationLUTShape="INVERSE")
    assert torch.allclose(image(made), 1 - image(make(ramp)), atol=1e-7)


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("first", [0, 10])
def test_lut_sequences_agree_with_pydicom(make: Make, ramp: Words, vr: str, first: int) -> None:
    entries = (np.arange(200, dtype=np.uint16) ** 2 % 1021).astype(np.uint16)
    voi = np.linspace(1023, 0, 1021).astype(np.uint16)
    made = make(ramp)
    made.ModalityLUTSequence = Sequence([_table(entries, first, 16, vr)])
    made.VOILUTSequence = Sequence([_table(voi, 0, 10, vr)])
    expected = apply_voi_lut(apply_modality_lut(ramp, made), made) / 1023
    assert torch.allclose(image(made)[0], torch.from_numpy(expected).float())


def test_a_lut_may_begin_below_zero(make: Make) -> None:
    pixels = np.array([[-5, -2], [0, 3]], np.int16)
    made = make(pixels)
    made.VOILUTSequence = Sequence([_table(np.array([0, 100, 200, 255], np.uint16), -2, 8)])
    assert torch.allclose(image(made)[0] * 255, torch.tensor([[0.0, 0], [200, 255]]))


def test_voi_luts_come_before_windows_in_the_count(make: Make, ramp: Words) -> None:
    made = make(ramp, WindowCenter=100, WindowWidth=51)
    plain = image(made)
    made.VOILUTSequence = Sequence([_table(np.arange(256, dtype=np.uint16), 0, 8)])
    assert torch.allclose(image(made)[0], torch.from_numpy(ramp / 255).float())
    assert torch.equal(image(made, window=Window(2)), plain)


def test_a_lut_shorter_than_it_says_is_refused(make: Make, ramp: Words) -> None:
    made = make(ramp)
    made.VOILUTSequence = Sequence([_table(np.arange(9, dtype=np.uint16), 0, 8)])
    made.VOILUTSequence[0].LUTDescriptor = [10, 0, 8]
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT):
        image(made)


@pytest.mark.parametrize("kind", ["u2", "i2", "u4"])
def test_padding_is_background_and_counts_for_nothing(make: Make, kind: str) -> None:
    pixels = np.array([[100, 60000 if kind[0] == "u" else -2000], [200, 300]], kind)
    pad = int(pixels[0, 1])
    made = make(pixels, PhotometricInterpretation="MONOCHROME1")
    made.add_new("PixelPaddingValue", "SL", pad)
    assert torch.allclose(image(made)[0], torch.tensor([[1, 0], [0.5, 0]]))
    made.add_new("PixelPaddingRangeLimit", "SL", pad - 5 if pad > 0 else pad + 5)
    assert torch.allclose(image(made)[0], torch.tensor([[1, 0], [0.5, 0]]))


def test_padding_of_the_wrong_sign_is_recognised(make: Make) -> None:
    pixels = np.array([[-2000, 0], [50, 100]], np.int16)
    made = make(pixels)
    made.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert torch.allclose(image(made)[0], torch.tensor([[0, 0], [0.5, 1]]))


def test_a_picture_of_padding_alone_is_background(make: Make) -> None:
    made = make(np.full((3, 3), 7, np.uint16), PixelPaddingValue=7)
    assert image(made).abs().max() == 0


def test_floats_are_shown_over_their_finite_range(make: Make) -> None:
    pixels = np.array([[0.25, np.nan], [0.75, np.inf]], np.float32)
    made = make(pixels.view(np.uint32), FloatPixelData=pixels.tobytes())
    del made.PixelData
    assert torch.allclose(image(made)[0], torch.tensor([[0.0, 0], [1, 0]]))
    made.FloatPixelPaddingValue = 0.25
    assert image(made, window=Window.parse("0.5/1"))[0].tolist() == [[0, 0], [0.75, 0]]


def test_wide_integers_keep_their_differences(make: Make) -> None:
    pixels = np.array([[2**31, 2**31 + 1], [2**31 + 2, 2**31 + 4]], np.uint32)
    assert torch.allclose(image(make(pixels))[0], torch.tensor([[0, 0.25], [0.5, 1]]))


def test_a_sixteen_bit_colour_is_scaled_by_its_bits(make: Make) -> None:
    pixels = np.zeros((2, 2, 3), np.uint16)
    pixels[0, 0] = 0, 2047, 4095
    shown = image(make(pixels, BitsStored=12))
    assert shown.shape == (3, 2, 2)
    assert torch.allclose(shown[:, 0, 0], torch.tensor([0, 2047 / 4095, 1]))


def _palette(made: Dataset, entries: Words, first: int, bits: int) -> Dataset:
    made.PhotometricInterpretation = "PALETTE COLOR"
    for shift, colour in enumerate(("Red", "Green", "Blue")):
        name = f"{colour}PaletteColorLookupTable"
        made.add_new(f"{name}Descriptor", "US", [len(entries) % 65536, first, bits])
        rolled = np.roll(entries, shift).astype("<u2" if bits == 16 else "u1")
        made.add_new(f"{name}Data", "OW", rolled.tobytes())
    return made


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_agree_with_pydicom(make: Make, bits: int) -> None:
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    entries = np.linspace(0, 2**bits - 1, 64).astype(np.uint16)
    made = _palette(make(pixels), entries, 5, bits)
    expected = apply_color_lut(pixels, made) / (2**bits - 1)
    assert torch.allclose(image(made), torch.from_numpy(expected).float().permute(2, 0, 1))


def test_indices_past_a_palette_take_its_last_colour(make: Make) -> None:
    made = _palette(
        make(np.array([[0, 300], [1000, 63]], np.uint16)), np.arange(64, dtype="u2"), 0, 8
    )
    last = image(made)[:, 1, 1]
    assert torch.equal(image(made)[:, 0, 1], last)
    assert torch.equal(image(made)[:, 1, 0], last)


def test_eight_bit_colours_in_sixteen_bit_tables_are_not_black(make: Make) -> None:
    made = _palette(make(np.array([[0, 255]], np.uint8)), np.arange(256, dtype="u2"), 0, 16)
    assert image(made)[0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_segmented_palette_is_expanded(make: Make, bits: int) -> None:
    # Two values, a line of 4 steps to 80, and the line again, from a byte's offset on.
    words = [0, 2, 10, 40, 1, 4, 80, 2, 1, *((4, 0, 0, 0) if bits == 8 else (8, 0))]
    indices = np.arange(10, dtype=np.uint8).reshape(2, 5)
    made = make(indices, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        data = np.array(words, "u1" if bits == 8 else "<u2").tobytes()
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [10, 0, bits])
        made.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", data)
    expected = [10, 40, 50, 60, 70, 80, 80, 80, 80, 80]
    assert (image(made)[0] * 255).round().reshape(-1).tolist() == expected
    if bits == 8:  # pydicom 3.0.2 takes the offset for one of words
        assert apply_color_lut(indices, made)[..., 0].reshape(-1).tolist() == expected


@pytest.mark.parametrize("words", [[0, 2, 10], [3, 1, 0], [1, 4, 80], [2, 9, 0, 0], [0, 60000, 1]])
def test_a_broken_segmented_palette_is_refused(make: Make, words: list[int]) -> None:
    made = make(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [10, 0, 16])
        data = np.array(words, "<u2").tobytes()
        made.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", data)
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT):
        image(made)


def _segmented(made: Dataset, words: list[int], count: int) -> Dataset:
    made.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [count % 65536, 0, 16])
        data = np.array(words, "<u2").tobytes()
        made.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", data)
    return made


def test_empty_palette_segments_cannot_be_repeated_without_end(make: Make) -> None:
    # Each of the second half repeats the first half, from offset 0, and adds nothing.
    words = [0, 0] * 34_000 + [2, 34_000, 0, 0] * 17_000
    made = _segmented(make(np.zeros((2, 2), np.uint8)), words, 256)
    start = time.perf_counter()
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT) as caught:
        image(made)
    assert "palette segments" in caught.value.local
    assert time.perf_counter() - start < 3


def test_a_segmented_palette_that_no_table_needs_is_refused(make: Make) -> None:
    made = _segmented(make(np.zeros((2, 2), np.uint8)), [0, 0] * 600_000, 256)
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT) as caught:
        image(made)
    assert "2400000 bytes" in caught.value.local


def test_the_most_segments_that_a_palette_can_need_are_expanded(make: Make) -> None:
    words = [part for entry in range(2**16) for part in (0, 1, entry)]
    pixels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    made = _segmented(make(pixels), words, 2**16)
    assert (image(made)[0] * 65535).round().reshape(-1).tolist() == list(range(2**16))


def test_a_palette_that_is_missing_is_refused(make: Make) -> None:
    made = make(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT):
        image(made)


def test_an_enhanced_file_has_a_window_per_frame(make: Make, ramp: Words) -> None:
    def group(intercept: int, center: int) -> Dataset:
        rescale, voi, item = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, intercept
        voi.WindowCenter, voi.WindowWidth = center, 100
        item.PixelValueTransformationSequence = Sequence([rescale])
        item.FrameVOILUTSequence = Sequence([voi])
        return item

    both = ramp.tobytes() * 2
    made = make(ramp, NumberOfFrames=2, PixelData=both, WindowCenter=1, WindowWidth=2)
    made.PerFrameFunctionalGroupsSequence = Sequence([group(0, 50), group(1000, 1200)])
    for frame, header in enumerate(
        ({"WindowCenter": 50}, {"WindowCenter": 1200, "RescaleSlope": 1, "RescaleIntercept": 1000})
    ):
        assert torch.equal(image(made, frame), image(make(ramp, WindowWidth=100, **header)))


@pytest.mark.parametrize(
    ("header", "ratio"),
    [
        ({}, 1.0),
        ({"PixelSpacing": [1.0, 0.5]}, 2.0),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"PixelAspectRatio": [4, 3], "PixelSpacing": [1, 1]}, 4 / 3),
        ({"PixelSpacing": [0, 1]}, 1.0),
    ],
)
def test_the_shape_of_a_pixel_is_told(make: Make, header: dict[str, Any], ratio: float) -> None:
    assert aspect(make(np.zeros((2, 2), np.uint8), **header)) == pytest.approx(ratio)


def test_big_endian_files_show_the_same(make: Make, ramp: Words) -> None:
    assert torch.equal(image(make(ramp.astype(">u2"), ExplicitVRBigEndian)), image(make(ramp)))


@given(slope=st.floats(-1e300, 1e300), intercept=st.floats(-1e300, 1e300))
def test_any_rescale_gives_a_picture_or_a_reason(slope: float, intercept: float) -> None:
    with open(str(get_testdata_file("CT_small.dcm")), "rb") as file:  # noqa: PTH123
        made = read(file.read())
    made.add_new("RescaleSlope", "FD", slope)
    made.add_new("RescaleIntercept", "FD", intercept)
    with contextlib.suppress(Untrusted):
        shown = image(made)
        assert 0 <= shown.min() <= shown.max() <= 1


@given(
    seed=st.integers(0, 2**32 - 1),
    signed=st.booleans(),
    inverse=st.booleans(),
    slope=st.sampled_from([1.0, 0.25, -2.0]),
    window=st.sampled_from(["range", "file", "100/3", "-20/40000", "31000.3/7.7"]),
)
def test_a_straight_line_is_shown_as_exactly_as_by_double_precision(
    seed: int, signed: bool, inverse: bool, slope: float, window: str
) -> None:
    rng = np.random.default_rng(seed)
    low = -32768 if signed else 0
    values = rng.integers(low, low + 65536, (9, 7)).astype("<i2" if signed else "<u2")
    dataset = read(
        encoded(
            1, shape=(9, 7), PixelData=values.tobytes(), PixelRepresentation=int(signed),
            BitsStored=16, HighBit=15, RescaleSlope=str(slope), RescaleIntercept="-7.5",
            PhotometricInterpretation="MONOCHROME1" if inverse else "MONOCHROME2",
            WindowCenter="900.25", WindowWidth="12001",
        )
    )  # fmt: skip
    asked = Window.parse(window)
    units = values * slope - 7.5
    middle, width = {
        "range": (units.min() / 2 + units.max() / 2, units.max() - units.min()),
        "file": (900.25 - 0.5, 12000.0),
    }.get(window) or tuple(float(part) for part in window.split("/"))
    expected = np.clip((units - middle) / width + 0.5, 0, 1)
    expected = 1 - expected if inverse else expected
    shown = image(dataset, 0, asked)[0].numpy()
    assert np.allclose(shown, expected, atol=1e-6)
    everywhere = np.ones(values.shape, bool)
    assert np.array_equal(shown, scale(dataset, 0, values, everywhere, layout(dataset), asked))
