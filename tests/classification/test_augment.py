from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from classification import augment

Change = Callable[[Tensor, torch.Generator], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 8, channels: int = 1, height: int = 32, width: int = 48) -> Tensor:
    return torch.rand(count, channels, height, width, generator=seeded(9))


@pytest.fixture(params=[augment.shift, augment.jitter, augment.augment])
def change(request: pytest.FixtureRequest) -> Change:
    chosen: Change = request.param
    return chosen


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_dtype_and_range_hold(change: Change, count: int, channels: int) -> None:
    given = images(count, channels)
    kept = given.clone()
    changed = change(given, seeded())
    assert changed.shape == given.shape
    assert changed.dtype == torch.float32
    assert torch.equal(given, kept)
    assert bool(((changed >= 0) & (changed <= 1)).all())


def test_same_seed_same_change_and_no_global_draw(change: Change) -> None:
    before = torch.random.get_rng_state()
    assert torch.equal(change(images(), seeded(1)), change(images(), seeded(1)))
    assert not torch.equal(change(images(), seeded(1)), change(images(), seeded(2)))
    assert torch.equal(before, torch.random.get_rng_state())


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """Move one image by whole pixels, with numpy-like padding: the slow way."""
    _, height, width = image.shape
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    return image.index_select(1, rows).index_select(2, columns)


def test_each_image_moves_as_a_whole_by_up_to_a_sixteenth() -> None:
    given = images(200, 2)
    shifted = augment.shift(given, seeded())
    seen = set()
    for before, after in zip(given, shifted, strict=True):
        [found] = [
            (down, right)
            for down in range(-3, 4)
            for right in range(-4, 5)
            if torch.equal(moved(before, down, right), after)
        ]
        seen.add(found)
    assert {down for down, _ in seen} == set(range(-2, 3))
    assert {right for _, right in seen} == set(range(-3, 4))


def test_every_shift_is_as_likely_as_another() -> None:
    ramp = torch.arange(64.0).expand(6000, 1, 64, 64) / 63
    centre = augment.shift(ramp, seeded())[:, 0, 32, 32] * 63 - 32
    counts = torch.bincount(centre.round().long() + 4, minlength=9)
    assert len(counts) == 9
    assert int(counts.min()) > 560  # 667 are expected, give or take 24
    assert int(counts.max()) < 780


def test_small_images_stay_where_they_are() -> None:
    given = images(4, height=15, width=15)
    assert torch.equal(augment.shift(given, seeded()), given)


def test_jitter_draws_gain_and_offset_from_their_ranges() -> None:
    levels = torch.tensor([0.2, 0.6]).expand(4000, 1, 1, 2)
    low, high = augment.jitter(levels, seeded())[:, 0, 0].double().unbind(1)
    gain = (high - low) / 0.4
    offset = low - 0.2 * gain
    assert 0.9 - 1e-5 <= float(gain.min()) < 0.905
    assert 1.095 < float(gain.max()) <= 1.1 + 1e-5
    assert -0.05 - 1e-5 <= float(offset.min()) < -0.0475
    assert 0.0475 < float(offset.max()) <= 0.05 + 1e-5


def test_what_is_drawn_does_not_depend_on_the_images() -> None:
    first, second = seeded(3), seeded(3)
    augment.augment(torch.zeros(5, 1, 16, 16), first)
    augment.augment(images(5, 3, 64, 64), second)
    assert torch.equal(first.get_state(), second.get_state())
