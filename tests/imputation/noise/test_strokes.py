import statistics
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise
from imputation.noise.mixture import from_spec


def shares(spec: str, side: int, count: int) -> list[float]:
    noise: Noise = NOISES.build(spec)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, side, side, generator=generator)
    return [float(noise(image, generator).hole.mean()) for _ in range(count)]


@pytest.mark.parametrize("side", [64, 200])
@pytest.mark.parametrize(
    ("size", "low", "high"), [("thin", 0.02, 0.1), ("medium", 0.1, 0.25), ("thick", 0.25, 0.4)]
)
def test_covered_share(size: str, low: float, high: float, side: int) -> None:
    """At least the drawn share, and beyond it by less than the last segment."""
    covered = shares(f"strokes(size={size})", side, 150)
    middle = (low + high) / 2
    assert min(covered) >= low
    assert middle - 0.02 <= statistics.mean(covered) <= middle + 0.04
    assert max(covered) <= high + 0.08


def test_severity_scales_the_share_up_to_nine_tenths() -> None:
    once = statistics.mean(shares("strokes()", 64, 80))
    twice = statistics.mean(shares("strokes(severity=2)", 64, 80))
    assert twice == pytest.approx(2 * once, rel=0.1)
    assert all(0.9 <= share <= 0.97 for share in shares("strokes(severity=100)", 64, 5))


@pytest.mark.parametrize(("fill", "value"), [("zero", 0.0), ("one", 1.0)])
def test_fills_with_a_constant(fill: str, value: float) -> None:
    noise: Noise = NOISES.build(f"strokes(fill={fill})")
    done = noise(torch.full((3, 40, 40), 0.5), torch.Generator().manual_seed(0))
    hole = done.hole.expand_as(done.image) > 0
    assert set(done.image[hole].tolist()) == {value}
    assert set(done.image[~hole].tolist()) == {0.5}


def test_fills_with_each_channels_mean() -> None:
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(1))
    noise: Noise = NOISES.build("strokes(fill=mean)")
    done = noise(image, torch.Generator().manual_seed(0))
    for channel in range(3):
        hidden = done.image[channel][done.hole[0] > 0]
        assert torch.allclose(hidden, image[channel].mean())


def test_fills_with_a_level_drawn_per_image() -> None:
    noise: Noise = NOISES.build("strokes(fill=random)")
    generator = torch.Generator().manual_seed(0)
    levels = set()
    for _ in range(20):
        done = noise(torch.full((3, 40, 40), 2.0), generator)
        (level,) = set(done.image[done.hole.expand_as(done.image) > 0].tolist())
        assert 0 <= level <= 1
        levels.add(level)
    assert len(levels) == 20


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**40))
def test_any_size_works(height: int, width: int, seed: int) -> None:
    noise: Noise = NOISES.build("strokes(size=thick)")
    done = noise(torch.rand(1, height, width), torch.Generator().manual_seed(seed))
    assert float(done.hole.mean()) >= 0.25


@pytest.mark.parametrize("severity", ["-1", "-0.001"])
def test_refuses(severity: str) -> None:
    with pytest.raises(SpecError, match="severity"):
        NOISES.build(f"strokes(severity={severity})")
    with pytest.raises(SpecError, match="size must be one of thin, medium, thick"):
        NOISES.build("strokes(size=huge)")


def test_costs_little() -> None:
    """Below 1 ms at 64 pixels on an idle core; the bound leaves room for a busy one."""
    noise = from_spec("strokes(size=medium)+gaussian(std=0.1..0.5)")
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 64, 64)
    best = float("inf")
    for _ in range(50):
        start = time.perf_counter()
        noise(image, generator)
        best = min(best, time.perf_counter() - start)
    assert best < 2e-3
