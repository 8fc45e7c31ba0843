from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.synth.grey import GreyScale

Voi = Literal["", "LINEAR", "LINEAR_EXACT"]


def shown(stored: npt.NDArray[np.float64], grey: GreyScale) -> npt.NDArray[np.float64]:
    """Undo what a grey scale does, by the formulas of C.11.1.1 and C.11.2.1."""
    values = stored * grey.slope + grey.intercept
    if not grey.voi:
        picture = stored / (2**grey.bits - 1)
    elif grey.voi == "LINEAR":
        centre, width = grey.windows()[0]
        picture = (values - (centre - 0.5)) / (width - 1) + 0.5
    else:
        centre, width = grey.windows()[0]
        picture = (values - centre) / width + 0.5
    clipped: npt.NDArray[np.float64] = np.clip(picture, 0, 1)
    return 1 - clipped if grey.inverted else clipped


@given(
    voi=st.sampled_from(["LINEAR", "LINEAR_EXACT"]),
    inverted=st.booleans(),
    slope=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    intercept=st.integers(-4000, 4000),
    ends=st.tuples(st.integers(0, 1000), st.integers(2000, 4095)),
)
def test_the_window_brings_the_picture_back(
    voi: Voi, inverted: bool, slope: float, intercept: int, ends: tuple[int, int]
) -> None:
    grey = GreyScale(12, *ends, inverted=inverted, slope=slope, intercept=float(intercept), voi=voi)
    picture = np.linspace(0, 1, 257, dtype=np.float32).reshape(1, -1)
    stored = grey.stored(picture)
    assert (stored.min(), stored.max()) == ends
    back = shown(stored.astype(np.float64), grey)
    assert np.abs(back - picture).max() <= grey.step / 2 + 1e-6
    assert back[0, 0] == 0
    assert back[0, -1] == 1


def test_monochrome1_stores_white_as_the_low_value() -> None:
    picture = np.array([[0.0, 1.0]], dtype=np.float32)
    assert GreyScale(12, 100, 4000, inverted=True).stored(picture).tolist() == [[4000, 100]]
    assert GreyScale(12, 100, 4000).stored(picture).tolist() == [[100, 4000]]


@pytest.mark.parametrize(
    ("grey", "kind"),
    [
        (GreyScale(8, 0, 255), "uint8"),
        (GreyScale(12, 0, 4095), "uint16"),
        (GreyScale(16, -30000, 24000, signed=True), "int16"),
    ],
)
def test_values_have_the_type_that_the_header_says(grey: GreyScale, kind: str) -> None:
    assert grey.stored(np.zeros((2, 3), dtype=np.float32)).dtype == kind


def test_the_first_window_is_the_right_one() -> None:
    first, second = GreyScale(16, 0, 60000, second=True).windows()
    assert first == (30000.5, 60001.0)
    assert second[0] == first[0]
    assert second[1] < first[1]
