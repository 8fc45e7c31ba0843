from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from client_app.fit import fit
from client_app.mending.mender import Mender, Scale, Seen, unfitted
from fedmend.errors import DataError
from imputation.denoisers.base import Restored
from imputation.detectors.residual import Residual
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


class Bright(Residual):
    """Holds pictures to be the noisier the brighter they are."""

    def score(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3)) * 100


def darker(scale: Scale, channels: int = 1) -> tuple[Mender, Darker]:
    network = Darker()
    return Mender(network, channels, 16, Bright(1000.0), scale), network


def ramp(height: int, width: int, colours: int = 1) -> Tensor:
    """Return what is no margin anywhere, and has some contrast."""
    rows, columns = torch.linspace(0, 0.3, height)[:, None], torch.linspace(0.3, 0.6, width)
    return (rows + columns).expand(colours, -1, -1).contiguous()


def answer(made: Mender, image: Tensor, seen: Seen = CLEAN) -> Tensor:
    mended = made.mended(image, seen._replace(score=made.seen(image).score))
    assert mended is not None
    return mended


def noise(height: int, width: int, colours: int = 1) -> Tensor:
    return torch.rand(colours, height, width, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", ["full", "model"])
def test_every_imputer_mends_every_colour_model(scale: Scale, channels: int, colours: int) -> None:
    made, network = darker(scale, channels)
    image = ramp(40, 24, colours)
    mended = answer(made, image)
    assert mended.shape == image.shape
    assert {size[1] for size in network.sizes} == {channels}
    inside = (mended - image)[:, 8:-8, 8:-8]
    assert torch.allclose(inside, torch.tensor(-0.1), atol=0.02)


def test_both_scales_together_do_not_mend_twice() -> None:
    """The coarse scale is set to what the imputer makes of it, whatever the tiles did."""
    made, _ = darker("both")
    image = ramp(48, 48)
    assert torch.allclose(answer(made, image), image - 0.1, atol=1e-5)


def test_each_scale_is_mended_where_it_is_flagged() -> None:
    made, network = darker("both")
    image = ramp(48, 48)
    answer(made, image, Seen(1.0, full=True, model=False))
    assert all(size[0] > 1 for size in network.sizes)  # tiles
    network.sizes.clear()
    answer(made, image, Seen(1.0, full=False, model=True))
    assert set(network.sizes) == {(1, 1, 16, 16)}


def test_fine_noise_is_flagged_in_pixels_and_an_occlusion_at_both_scales() -> None:
    plain = torch.linspace(0.3, 0.7, 128).expand(1, 128, 128).clone()
    both = mender("both", size=32)
    assert both.seen(plain) == Seen(both.seen(plain).score, full=False, model=False)
    generator = torch.Generator().manual_seed(1)
    fine = mixture.from_spec("gaussian(std=0.06)")(plain, generator).image
    assert both.seen(fine)[1:] == (True, False)
    hidden = plain.clone()
    hidden[:, 40:90, 40:90] = 0.0
    assert both.seen(hidden)[1:] == (True, True)
    assert mender("full", size=32).seen(hidden)[1:] == (True, False)
    assert mender("model", size=32).seen(hidden)[1:] == (False, True)


def test_the_models_scale_keeps_the_pictures_own_detail() -> None:
    """Never a small picture blown up: only what is smooth is added."""
    made, _ = darker("model")
    image = noise(64, 64).mul(0.2) + ramp(64, 64).mul(0.5) + 0.2
    assert torch.allclose(answer(made, image), image - 0.1, atol=1e-5)


@given(st.integers(16, 90), st.integers(16, 90), st.sampled_from([16, 33, 64]))
@settings(max_examples=40, deadline=None)
def test_unfitting_undoes_fitting(height: int, width: int, size: int) -> None:
    # Of a picture that is fewer pixels high, margins shine in everywhere.
    assume(min(height, width) * size >= 4 * max(height, width))
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
    first, second = (answer(darker("both")[0], image) for _ in range(2))
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
    known = CLEAN._replace(score=100.0)
    mended = [darker(scale)[0].mended(small, known) for scale in ("both", "model")]
    found = [each for each in mended if each is not None]
    assert len(found) in (0, 2)
    assert all(torch.equal(each, found[0]) for each in found)
    with pytest.raises(DataError, match="fewer than 8 pixels a side"):
        mender("full", detector=detector).seen(small)


def test_a_score_that_is_no_number_is_not_lost_among_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _ = darker("both")
    scores = iter([torch.tensor([1.0]), torch.tensor([torch.nan])])
    monkeypatch.setattr(Bright, "score", lambda self, images: next(scores))
    assert math.isnan(made.seen(noise(20, 20)).score)
