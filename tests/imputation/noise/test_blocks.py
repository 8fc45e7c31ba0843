import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lengths(line: torch.Tensor) -> set[int]:
    """Return how long the runs of equal values are, without those at the two ends."""
    ends = line.diff().nonzero().flatten().diff()
    return set(ends.tolist())


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 50, 200)])
def test_covered_share(shape: tuple[int, int, int]) -> None:
    """At least the drawn share, and beyond it by less than the last block."""
    noise: Noise = NOISES.build("blocks(share=0.1..0.3, side=0.1)")
    generator = drawn(0)
    image = torch.rand(shape, generator=generator)
    covered = [float(noise(image, generator).hole.mean()) for _ in range(200)]
    assert min(covered) >= 0.1
    assert max(covered) <= 0.3 + 0.1**2 * 1.2
    assert statistics.mean(covered) == pytest.approx(0.2 + 0.005, abs=0.015)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    share=st.floats(0.001, 1),
    seed=st.integers(0, 2**40),
)
def test_any_size_and_share_works(height: int, width: int, share: float, seed: int) -> None:
    noise: Noise = NOISES.build(f"blocks(share={share}, side=0.02..1)")
    done = noise(torch.rand(1, height, width), drawn(seed))
    assert float(done.hole.double().mean()) >= share - 1e-12


def test_blocks_lie_on_a_grid_and_are_as_large_as_they_should_be() -> None:
    noise: Noise = NOISES.build("blocks(share=0.5, side=0.1)")
    done = noise(torch.rand(1, 100, 100), drawn(3))
    hole = done.hole[0]
    for plane in (hole, hole.T):
        runs = {run for line in plane for run in lengths(line)}
        assert {run % 10 for run in runs} == {0}
        assert 10 in runs


def test_grid_starts_anywhere() -> None:
    noise: Noise = NOISES.build("blocks(share=0.5, side=0.1)")
    generator = drawn(0)
    image = torch.rand(1, 100, 100)
    origins = set()
    for _ in range(150):
        hole = noise(image, generator).hole[0]
        origins |= {int(place + 1) % 10 for place in hole[50].diff().nonzero()[:1]}
    assert origins == set(range(10))


def test_height_and_width_are_drawn_from_the_range() -> None:
    noise: Noise = NOISES.build("blocks(share=1e-6, side=0.1..0.3)")  # a single block
    generator = drawn(0)
    tall, wide = set(), set()
    for _ in range(150):
        hole = noise(torch.rand(1, 100, 100), generator).hole[0]
        tall.add(int(hole.any(1).sum()))
        wide.add(int(hole.any(0).sum()))
    assert max(tall) <= 30
    assert max(wide) <= 30
    assert len(tall) > 15
    assert len(wide) > 15


def test_every_place_is_lost_equally_often() -> None:
    noise: Noise = NOISES.build("blocks(share=0.2, side=0.2)")
    generator = drawn(0)
    image = torch.rand(1, 24, 24)
    often = torch.stack([noise(image, generator).hole[0] for _ in range(1500)]).mean(0)
    assert float((often - often.mean()).abs().max()) < 0.05


def test_fills_all_channels_alike_and_leaves_the_rest() -> None:
    image = torch.rand(3, 50, 70) * 0.8 + 0.1
    for fill in ("zero", "one", "mean", "random"):
        noise: Noise = NOISES.build(f"blocks(fill={fill})")
        done = noise(image, drawn(0))
        lost = done.hole[0] > 0
        levels = [set(channel[lost].tolist()) for channel in done.image]
        assert all(len(level) == 1 for level in levels)
        assert (levels[0] == levels[1]) == (fill != "mean")
        assert torch.equal(done.image[:, ~lost], image[:, ~lost])
        assert not done.sigma.any()


@pytest.mark.parametrize(
    ("name", "value"), [("share", "-0.1"), ("share", "0..2"), ("side", "0..0.1"), ("side", "1.5")]
)
def test_refuses(name: str, value: str) -> None:
    with pytest.raises(SpecError, match=f"{name} must be a number or range"):
        NOISES.build(f"blocks({name}={value})")
