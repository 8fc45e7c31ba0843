from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from client_app.mending.tiles import tiled
from tests.imputers import imputer

sides = st.integers(1, 70)


def smooth(height: int, width: int) -> Tensor:
    rows, columns = torch.linspace(0, 3, height), torch.linspace(0, 2, width)
    return (0.5 + 0.3 * torch.sin(rows)[:, None] * torch.cos(columns))[None]


@given(sides, sides, st.integers(8, 40), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_a_network_that_changes_nothing_changes_nothing(
    height: int, width: int, side: int, share: float
) -> None:
    image = torch.rand(2, height, width, generator=torch.Generator().manual_seed(height))
    made = tiled(lambda tiles: tiles, image, side, int(share * side))
    assert torch.allclose(made, image, atol=1e-6)


@given(sides, sides)
@settings(max_examples=40, deadline=None)
def test_no_tile_is_larger_than_its_side_nor_smaller_than_it_must_be(
    height: int, width: int
) -> None:
    def network(tiles: Tensor) -> Tensor:
        assert tiles.shape[1:] == (1, min(height, 24), min(width, 24))
        return tiles

    tiled(network, torch.zeros(1, height, width), 24, 6)


def test_tiles_agree_with_the_whole_where_the_network_sees_no_farther() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = nn.Conv2d(1, 1, 5, padding=2)
    image = torch.rand(1, 80, 70, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = network(image[None])[0]
        # Seen from its edge a tile lacks two pixels: where it counts least, but it counts.
        near = tiled(network, image, 32, 16)
    assert (near - whole).abs().max() < 0.1
    assert (near - whole).abs().mean() < 0.005


@pytest.mark.parametrize("overlap", [8, 16])
def test_no_seam_shows_where_tiles_answer_differently(overlap: int) -> None:
    """Each tile adds a level of its own: from pixel to pixel only a part of it may show."""
    calls = iter(range(10_000))

    def uneven(tiles: Tensor) -> Tensor:
        return torch.stack([tile + (next(calls) % 2) * 0.1 for tile in tiles])

    image = smooth(100, 120)
    added = tiled(uneven, image, 32, overlap) - image
    assert 0 <= added.min() < 0.01 < 0.09 < added.max() <= 0.1 + 1e-6
    for axis in (-2, -1):
        assert added.diff(dim=axis).abs().max() <= 0.1 / (overlap - 1)


def test_an_imputer_leaves_no_seam_in_a_constant_or_smooth_picture() -> None:
    network = imputer(size=32).build()
    for image in (torch.full((1, 96, 80), 0.4), smooth(96, 80)):
        with torch.inference_mode():
            made = tiled(lambda tiles: network(tiles).image, image, 32, 8)
            alone = network(image[None, :, :32, :32]).image[0]
        for axis in (-2, -1):
            inside = made.narrow(axis, 4, made.shape[axis] - 8)
            # Tiles join no more abruptly than the network's own answer runs.
            assert inside.diff(dim=axis).abs().max() <= 1.5 * alone.diff(dim=axis).abs().max()


def test_an_overlap_must_fit() -> None:
    with pytest.raises(ValueError, match="overlap must be from 0 to half of side = 32; got 17"):
        tiled(lambda tiles: tiles, torch.zeros(1, 4, 4), 32, 17)
