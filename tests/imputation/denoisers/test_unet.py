"""What the U-Net's first level sees: single pixels, wherever they lie."""

import pytest
import torch
from torch import Tensor, nn

from imputation.denoisers.unet import UNet, unet


def images(count: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator)


def first_level_alone() -> UNet:
    """Return a model cut off from its lower levels and from the roughness, a map of 2 x 2 cells."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = UNet(1, 8, 16, 2)
    back = model.back[1]
    assert isinstance(back, nn.Conv2d)
    assert back.bias is not None
    with torch.no_grad():
        back.weight.zero_()
        back.bias.zero_()
        model.first.weight[:, -1] = 0
    return model


def test_the_first_level_has_the_resolution_of_the_image() -> None:
    model = unet(3, first=5)
    assert isinstance(model, UNet)
    seen: list[torch.Size] = []
    model.first.register_forward_hook(lambda _layer, _given, answer: seen.append(answer.shape))
    model(images(2, 3, 48, 40))
    assert seen == [(2, 5, 48, 40)]


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1), (3, 2)])
def test_the_first_level_treats_every_pixel_alike(shift: tuple[int, int]) -> None:
    """Shifted by single pixels, as no level of 2 x 2 cells can, though it could by (2, 2)."""
    model = first_level_alone()
    noisy = images(1, 1, 32, 32)
    with torch.no_grad():
        here = model(noisy).hole
        there = model(noisy.roll(shift, (2, 3))).hole
    inside = (..., slice(8, -8), slice(8, -8))
    assert torch.allclose(there[inside], here.roll(shift, (2, 3))[inside], atol=1e-6)
    assert not torch.allclose(there[inside], here[inside], atol=1e-3)


@pytest.mark.parametrize("row", [16, 17])
@pytest.mark.parametrize("column", [16, 17])
def test_a_single_pixel_reaches_its_neighbourhood_by_the_first_level(row: int, column: int) -> None:
    model = first_level_alone()
    plain = torch.full((1, 1, 32, 32), 0.5)
    dotted = plain.clone()
    dotted[0, 0, row, column] = 1
    with torch.no_grad():
        moved = (model(dotted).hole - model(plain).hole)[0, 0].abs() > 1e-7
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[row - 2 : row + 3, column - 2 : column + 3] = True  # two 3 x 3 convolutions
    assert torch.equal(moved, expected)
