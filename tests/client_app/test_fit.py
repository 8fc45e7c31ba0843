from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from client_app.fit import fit
from fedmend.errors import DataError


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_fits_already_stays_bit_for_bit(channels: int) -> None:
    image = noise(channels, 9, 9)
    assert torch.equal(fit(image, 9, channels), image)


def test_margins_are_black_and_centred() -> None:
    fitted = fit(torch.ones(1, 4, 8), 8, 1)
    expected = torch.zeros(1, 8, 8)
    expected[:, 2:6] = 1
    assert torch.allclose(fitted, expected)
    assert torch.allclose(fit(torch.ones(1, 8, 4), 8, 1), expected.transpose(1, 2))


def test_an_odd_margin_is_larger_at_the_end() -> None:
    fitted = fit(torch.ones(1, 3, 6), 6, 1)
    assert fitted[0, :, 0].tolist() == pytest.approx([0, 1, 1, 1, 0, 0])


def test_a_large_image_is_averaged_not_picked_from() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]).remainder(2)[None].float()
    fitted = fit(board, 16, 1)
    assert torch.allclose(fitted, torch.full((1, 16, 16), 0.5), atol=0.02)


def test_a_wide_image_is_what_its_padded_square_is() -> None:
    image = noise(1, 30, 70)
    square = torch.nn.functional.pad(image, (0, 0, 20, 20))
    assert torch.allclose(fit(image, 16, 1), fit(square, 16, 1), atol=1e-6)


def test_grey_becomes_colour_by_repetition() -> None:
    image = noise(1, 5, 5)
    assert torch.equal(fit(image, 5, 3), image.repeat(3, 1, 1))


@pytest.mark.parametrize(("channel", "weight"), [(0, 0.299), (1, 0.587), (2, 0.114)])
def test_colour_becomes_grey_by_its_luma(channel: int, weight: float) -> None:
    image = torch.zeros(3, 5, 5)
    image[channel] = 1
    assert torch.allclose(fit(image, 5, 1), torch.full((1, 5, 5), weight))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(16, 40))
@settings(max_examples=60, deadline=None)
def test_any_shape_ends_in_range_and_keeps_the_other(
    height: int, width: int, channels: int, size: int
) -> None:
    image = noise(channels, height, width)
    before = image.clone()
    for wanted in (1, 3):
        fitted = fit(image, size, wanted)
        assert fitted.shape == (wanted, size, size)
        assert 0 <= float(fitted.min()) <= float(fitted.max()) <= 1
    assert torch.equal(image, before)


def test_a_strip_is_refused() -> None:
    with pytest.raises(DataError, match="50 times"):
        fit(torch.ones(1, 1, 51), 16, 1)
    assert fit(torch.ones(1, 2000, 40), 16, 1).shape == (1, 16, 16)
