from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from client_app.fit import fit
from client_app.mending.mender import Mender, Scale, Seen, unfitted
from fedmend import plugins
from fedmend.errors import DataError
from imputation.denoisers.base import Restored
from imputation.noise import mixture
from tests.imputers import mender

CLEAN = Seen(0.0, full=False, model=False)


class Darker(nn.Module):
    """Takes a tenth away."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Restored:
        self.sizes.append(tuple(images.shape))
        one = torch.ones_like(images[:, :1])
        return Restored(images - 0.1, -one, one)


def darker(scale: Scale, channels: int = 1) -> tuple[Mender, Darker]:
    network = Darker()
    detector = plugins.DETECTORS.build("residual()")
    return Mender(network, channels, 16, detector, scale), network


def noise(height: int, width: int, colours: int = 1) -> Tensor:
    return torch.rand(colours, height, width, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", ["full", "model"])
def test_every_imputer_mends_every_colour_model(scale: Scale, channels: int, colours: int) -> None:
    made, network = darker(scale, channels)
    image = torch.full((colours, 40, 24), 0.5)
    answer = made.mended(image, CLEAN)
    assert answer.shape == image.shape
    assert {size[1] for size in network.sizes} == {channels}
    inside = answer[:, 4:-4, 4:-4]
    assert torch.allclose(inside, torch.tensor(0.4), atol=1e-3)


def test_both_scales_together_do_not_mend_twice() -> None:
    """The coarse scale is set to what the imputer makes of it, whatever the tiles did."""
    made, _ = darker("both")
    answer = made.mended(torch.full((1, 48, 48), 0.5), CLEAN)
    assert torch.allclose(answer, torch.tensor(0.4), atol=1e-6)


def test_each_scale_is_mended_where_it_is_flagged() -> None:
    made, network = darker("both")
    image = torch.full((1, 48, 48), 0.5)
    made.mended(image, Seen(1.0, full=True, model=False))
    assert all(size[0] > 1 for size in network.sizes)  # tiles
    network.sizes.clear()
    made.mended(image, Seen(1.0, full=False, model=True))
    assert set(network.sizes) == {(1, 1, 16, 16)}


def test_fine_noise_is_flagged_in_pixels_and_an_occlusion_at_both_scales() -> None:
    ramp = torch.linspace(0.3, 0.7, 128).expand(1, 128, 128).clone()
    both = mender("both", size=32)
    assert both.seen(ramp) == Seen(both.seen(ramp).score, full=False, model=False)
    generator = torch.Generator().manual_seed(1)
    fine = mixture.from_spec("gaussian(std=0.06)")(ramp, generator).image
    assert both.seen(fine)[1:] == (True, False)
    hidden = ramp.clone()
    hidden[:, 40:90, 40:90] = 0.0
    assert both.seen(hidden)[1:] == (True, True)
    assert mender("full", size=32).seen(hidden)[1:] == (True, False)
    assert mender("model", size=32).seen(hidden)[1:] == (False, True)


def test_the_models_scale_keeps_the_pictures_own_detail() -> None:
    """Never a small picture blown up: only what is smooth is added."""
    made, _ = darker("model")
    image = noise(64, 64).mul(0.5).add(0.25)
    answer = made.mended(image, CLEAN)
    assert torch.allclose(answer, image - 0.1, atol=1e-5)


@given(st.integers(16, 90), st.integers(16, 90), st.sampled_from([16, 33, 64]))
@settings(max_examples=40, deadline=None)
def test_unfitting_undoes_fitting(height: int, width: int, size: int) -> None:
    columns = torch.linspace(0.2, 0.8, width).expand(1, height, width)
    back = unfitted(fit(columns, size, 1), height, width)
    assert back.shape == columns.shape
    # Within the picture, as margins shine in at its borders.
    top, left = height // 4, width // 4
    inside = (slice(None), slice(top, height - top), slice(left, width - left))
    assert torch.allclose(back[inside], columns[inside], atol=0.05)


def test_the_same_picture_is_mended_to_the_same_bits_and_left_alone() -> None:
    image = noise(50, 70)
    before = image.clone()
    first, second = (mender().mended(image, CLEAN) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(image, before)
    assert not torch.equal(first, image)
    assert 0 <= first.min() <= first.max() <= 1


def test_a_strip_is_refused_only_where_it_must_be_fitted() -> None:
    strip = noise(8, 450)
    assert mender("full").seen(strip).full
    with pytest.raises(DataError, match="more than 50 times as long"):
        mender("both").seen(strip)


@pytest.mark.parametrize("detector", ["evidence()", "residual()"])
@pytest.mark.parametrize("sides", [(1, 1), (5, 40), (40, 7), (2, 2)])
def test_a_picture_too_small_for_its_pixels_is_fitted_alone(
    sides: tuple[int, int], detector: str
) -> None:
    small = noise(*sides)
    both, model = (mender(scale, detector=detector) for scale in ("both", "model"))
    seen = both.seen(small)
    assert seen == model.seen(small)
    assert not seen.full
    made = both.mended(small, CLEAN)
    assert made.shape == small.shape
    assert torch.equal(made, model.mended(small, CLEAN))
    with pytest.raises(DataError, match="fewer than 8 pixels a side"):
        mender("full", detector=detector).seen(small)


def test_a_score_that_is_no_number_is_not_lost_among_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _ = darker("both")
    scores = iter([torch.tensor([1.0]), torch.tensor([torch.nan])])
    monkeypatch.setattr(type(made.detector), "score", lambda self, images: next(scores))
    assert math.isnan(made.seen(noise(20, 20)).score)
