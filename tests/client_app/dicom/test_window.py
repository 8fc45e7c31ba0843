from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing

from client_app.dicom.window import FUNCTIONS, Sigmoid, Window, linear, linear_exact

_CENTERS = st.floats(-3000, 3000)
_WIDTHS = st.floats(1.01, 5000)
_VALUES = np.linspace(-4000, 4000, 1601)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("file", Window(1)),
        ("file:3", Window(3)),
        (" range ", Window(0)),
        ("40/400", Window(0, 40.0, 400.0)),
        ("-600/1.5e3", Window(0, -600.0, 1500.0)),
    ],
)
def test_every_form_is_read(text: str, window: Window) -> None:
    assert Window.parse(text) == window


@pytest.mark.parametrize(
    "text",
    ["", "file:", "file:0", "file:-1", "File", "40", "40/0", "40/-1", "nan/1", "1/inf", "1/2/3"],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="center/width such as 40/400; got"):
        Window.parse(text)


@given(center=_CENTERS, width=_WIDTHS)
def test_linear_is_the_standards_pseudo_code(center: float, width: float) -> None:
    for value in (-4000.0, center - width / 2, center, center + width / 2, 4000.0):
        if value <= center - 0.5 - (width - 1) / 2:
            expected = 0.0
        elif value > center - 0.5 + (width - 1) / 2:
            expected = 1.0
        else:
            expected = (value - (center - 0.5)) / (width - 1) + 0.5
        shown = float(linear(center, width)(np.array([value]))[0])
        assert shown == pytest.approx(expected, abs=1e-6)


@given(center=_CENTERS, width=_WIDTHS, name=st.sampled_from(sorted(FUNCTIONS)))
def test_functions_agree_with_pydicom(center: float, width: float, name: str) -> None:
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.VOILUTFunction = "MONOCHROME2", name
    dataset.BitsStored, dataset.PixelRepresentation = 8, 0
    dataset.add_new("WindowCenter", "DS", f"{center:.6g}")
    dataset.add_new("WindowWidth", "DS", f"{width:.6g}")
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    with np.errstate(over="ignore"):
        expected = apply_windowing(_VALUES, dataset) / 255
    assert np.allclose(FUNCTIONS[name](center, width)(_VALUES), expected, atol=1e-9)


@given(center=_CENTERS, width=_WIDTHS, name=st.sampled_from(sorted(FUNCTIONS)))
def test_functions_rise_from_0_to_1(center: float, width: float, name: str) -> None:
    shown = FUNCTIONS[name](center, width)(_VALUES)
    assert (np.diff(shown) >= 0).all()
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_a_width_of_one_is_a_threshold() -> None:
    values = np.array([39.0, 39.5, 40.0])
    assert linear(40, 1)(values).tolist() == [0, 0, 1]


def test_known_values() -> None:
    assert linear_exact(40, 400)(np.array([-160.0, 40, 240])).tolist() == [0, 0.5, 1]
    assert float(Sigmoid(40, 400)(np.array([140.0]))[0]) == pytest.approx(1 / (1 + math.exp(-1)))
