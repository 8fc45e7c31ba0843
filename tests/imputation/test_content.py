from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imputation.content import boxes, contrast, margins


def noise(count: int, height: int, width: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


@given(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5),
    st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1, 3]),
)  # fmt: skip
def test_lines_of_one_value_at_the_border_are_margins(
    above: int, below: int, before: int, behind: int, value: float, channels: int
) -> None:
    images = noise(2, 12, 14, channels)
    framed = torch.full_like(images, value)
    rows, columns = slice(above, 12 - below), slice(before, 14 - behind)
    framed[..., rows, columns] = images[..., rows, columns]
    framed[1] = images[1]
    assert boxes(framed).tolist() == [[above, 12 - below, before, 14 - behind], [0, 12, 0, 14]]
    beside = margins(framed)
    assert not beside[1].any()
    assert beside[0].sum() == 12 * 14 - (12 - above - below) * (14 - before - behind)
    inside = images[0, :, rows, columns]
    assert float(contrast(framed)[0]) == pytest.approx(float(inside.std(correction=0)), rel=1e-4)


def test_an_image_of_one_value_is_all_margin() -> None:
    images = torch.full((1, 3, 8, 9), 0.3)
    top, bottom, left, right = boxes(images)[0].tolist()
    assert (top, left) == (bottom, right)
    assert margins(images).all()
    assert contrast(images).tolist() == [0.0]


def test_a_constant_line_within_the_picture_is_none() -> None:
    images = noise(1, 10, 10)
    images[..., 4, :] = 0.0
    images[..., :, 6] = 1.0
    assert not margins(images).any()


def test_margins_of_another_colour_end_where_it_changes() -> None:
    images = noise(1, 10, 10)
    images[..., 0, :], images[..., 1, :] = 0.0, 0.5
    assert boxes(images).tolist() == [[1, 10, 0, 10]]


def test_nothing_in_nothing_out() -> None:
    assert boxes(torch.zeros(0, 1, 8, 8)).shape == (0, 4)
    assert margins(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)
