"""The noise level that filters go by, and what each of them makes of it."""

import pytest
import torch
from torch import Tensor, nn

from fedmend.errors import SpecError
from fedmend.plugins import FILTERS
from imputation import quality
from imputation.filters.base import Filter
from imputation.filters.level import level

by_level = pytest.mark.parametrize("name", ["nlm", "tv", "wavelet"])


def pair(std: float, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Return a picture of smooth parts and an edge, and the same under Gaussian noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = 0.3 + 0.3 * torch.rand(1, channels, 5, 5, generator=generator)
    clean = nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic")[0]
    clean[:, 20:44, 30:] += 0.3
    return clean, (clean + std * torch.randn(clean.shape, generator=generator)).clamp(0, 1)


def psnr(image: Tensor, clean: Tensor) -> float:
    return float(quality.psnr(image[None], clean[None]))


@pytest.mark.parametrize("std", [0.03, 0.1])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_level_is_estimated_where_it_is_not_given(std: float, channels: int) -> None:
    _, noisy = pair(std, channels)
    assert level(noisy, 0.0) == pytest.approx(std, rel=0.15)
    assert level(noisy, 0.2) == 0.2


@by_level
@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_gains_several_decibel_at_any_level_without_being_told(
    name: str, std: float, channels: int
) -> None:
    clean, noisy = pair(std, channels)
    blind: Filter = FILTERS.build(name)
    told: Filter = FILTERS.build(f"{name}(std={std})")
    reached = psnr(blind(noisy), clean)
    assert reached > psnr(noisy, clean) + 5
    assert reached > psnr(told(noisy), clean) - 0.7


@by_level
def test_a_higher_level_smooths_more(name: str) -> None:
    _, noisy = pair(0.1)
    made = []
    for std in (0.03, 0.1, 0.3):
        smooth: Filter = FILTERS.build(f"{name}(std={std})")
        made.append(float((smooth(noisy) - noisy).square().mean()))
    assert made == sorted(made)
    assert made[0] < 0.8 * made[1]


@by_level
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 23), (1, 28, 28), (1, 8, 8)])
def test_small_images_are_taken(name: str, shape: tuple[int, int, int]) -> None:
    smooth: Filter = FILTERS.build(name)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    done = smooth(image)
    assert done.shape == shape
    assert bool(done.isfinite().all())


@by_level
def test_no_strength_below_nothing(name: str) -> None:
    with pytest.raises(SpecError, match="strength must be a finite number of at least 0; got -1"):
        FILTERS.build(f"{name}(strength=-1)")


def test_visushrink_removes_more_than_bayesshrink() -> None:
    _, noisy = pair(0.1)
    bayes: Filter = FILTERS.build("wavelet")
    visu: Filter = FILTERS.build("wavelet(method=visu)")
    rough = [float(each(noisy).diff(dim=2).abs().mean()) for each in (bayes, visu)]
    assert rough[1] < rough[0]


def test_cycle_spinning_removes_the_grids_artefacts() -> None:
    clean, noisy = pair(0.1)
    spun: Filter = FILTERS.build("wavelet")
    once: Filter = FILTERS.build("wavelet(shifts=1)")
    assert psnr(spun(noisy), clean) > psnr(once(noisy), clean) + 0.5


def test_cycle_spinning_joins_no_opposite_borders() -> None:
    image = torch.zeros(1, 32, 32)
    image[..., 24:] = 1
    smooth: Filter = FILTERS.build("wavelet(std=0.1)")
    assert float(smooth(image)[..., :8].abs().max()) < 0.02


def test_total_variation_keeps_a_strong_edge() -> None:
    clean, noisy = pair(0.05)
    smooth: Filter = FILTERS.build("tv")
    blurs: Filter = FILTERS.build("gaussian(sigma=2)")
    step = [each(noisy)[0, 20:44, 30] - each(noisy)[0, 20:44, 29] for each in (smooth, blurs)]
    assert float(step[0].mean()) > 1.5 * float(step[1].mean())
    assert float(clean[0, 30, 30] - clean[0, 30, 29]) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nlm(size=4)", "size must be an odd number"),
        ("nlm(distance=0)", "distance must be at least 1 pixel; got 0"),
        ("wavelet(shifts=0)", "shifts must be at least 1; got 0"),
        ("wavelet(method=sure)", "method must be one of bayes, visu"),
    ],
)
def test_refuses(spec: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        FILTERS.build(spec)
